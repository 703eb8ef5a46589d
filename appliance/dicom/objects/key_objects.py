"""Key object selections: the radiographs to look at first, and the note by which objects of ours are taken back.

Both are the same document under another title, and IHE's Imaging Object Change Management knows a rejection by
its title alone.

References
----------
DICOM PS3.3 A.35.4, C.17.6; PS3.16 TID 2010, CID 7010, CID 7011; IHE RAD TF-1 and TF-3 (Imaging Object Change
Management, RAD-66).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from highdicom.sr import (
    CompositeContentItem,
    ContainerContentItem,
    ContentSequence,
    ImageContentItem,
    RelationshipTypeValues,
    TextContentItem,
)
from pydicom.dataset import Dataset
from pydicom.uid import KeyObjectSelectionDocumentStorage, SecondaryCaptureImageStorage

from appliance.dicom.part10 import with_file_meta
from appliance.domain import codes
from appliance.domain.codes import Concept
from appliance.domain.finding import Answer
from appliance.domain.identifiers import derived_uid
from appliance.domain.result import SECOND_READER
from appliance.domain.study import StudyResult

from .codes import MODALITIES, coded_concept
from .document import InstanceReference, evidence, observer, reference, requests
from .patient_study import patient_study
from .series import document_series_uid, stamp

IMAGES = {*MODALITIES, SecondaryCaptureImageStorage}
"""SOP classes that a document refers to as images; to reports and presentation states as composite objects."""


def key_objects(study: StudyResult, sources: Mapping[str, Dataset]) -> Dataset:
    """KO of the positive radiographs of `study`, of which there is at least one; `part10_bytes` writes it."""
    positive = [reference(sources[r.sop_instance_uid]) for r in study.results if r.answer is Answer.POSITIVE]
    if not positive:
        raise ValueError("no radiograph of the study is positive")
    words = f"{Answer.POSITIVE.label}. {SECOND_READER}. Model {study.provenance.model}"
    return _selection(study, sources, study.uid("ko"), codes.OF_INTEREST, words, positive)


def rejection_note(
    study: StudyResult,
    sources: Mapping[str, Dataset],
    rejected: Sequence[InstanceReference],
    reason: Concept,
    *,
    at: datetime,
    words: str,
) -> Dataset:
    """KO that takes back the instances `rejected`, of this study; `part10_bytes` writes it.

    Parameters
    ----------
    reason
        One of `codes.REJECTIONS`.
    at
        When it was decided, with a time zone.
    words
        Why, for people; without identity.
    """
    if reason not in codes.REJECTIONS or not rejected:
        raise ValueError("a rejection note has a title of codes.REJECTIONS and at least one instance")
    uid = derived_uid("rejection", reason.code, *sorted(r.sop_instance_uid for r in rejected))
    return _selection(replace(study, created_at=at), sources, uid, reason, words, rejected)


def _selection(
    study: StudyResult,
    sources: Mapping[str, Dataset],
    sop_instance_uid: str,
    title: Concept,
    words: str,
    selected: Sequence[InstanceReference],
) -> Dataset:
    newest = sources[study.results[-1].sop_instance_uid]
    ds = patient_study(newest)
    stamp(ds, newest, study, "ko", "rejection" if title in codes.REJECTIONS else "key views")
    ds.SOPClassUID = KeyObjectSelectionDocumentStorage
    ds.SOPInstanceUID = sop_instance_uid
    ds.SeriesInstanceUID = document_series_uid(sop_instance_uid)
    ds.StudyInstanceUID = study.study_instance_uid
    ds.Modality = "KO"
    ds.ReferencedPerformedProcedureStepSequence = []
    ds.CurrentRequestedProcedureEvidenceSequence = evidence(study.study_instance_uid, selected)
    if asked := requests(study, sources):
        ds.ReferencedRequestSequence = asked
    root = ContainerContentItem(name=coded_concept(title), template_id="2010")
    description = TextContentItem(
        name=coded_concept(codes.KEY_OBJECT_DESCRIPTION), value=words, relationship_type=RelationshipTypeValues.CONTAINS
    )
    items = [_item(each) for each in selected]
    root.ContentSequence = ContentSequence([*observer(study.provenance), description, *items])
    ds.update(root)
    return with_file_meta(ds)


def _item(selected: InstanceReference) -> ImageContentItem | CompositeContentItem:
    kind = ImageContentItem if selected.sop_class_uid in IMAGES else CompositeContentItem
    return kind(
        name=coded_concept(codes.SOURCE),
        referenced_sop_class_uid=selected.sop_class_uid,
        referenced_sop_instance_uid=selected.sop_instance_uid,
        relationship_type=RelationshipTypeValues.CONTAINS,
    )
