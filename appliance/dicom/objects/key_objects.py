"""Key object selections: the suspicious radiographs of a study, and rejection notes that withdraw our own objects.

Both are the same document with different titles. IHE's Imaging Object Change Management recognises a rejection note
by its title alone.

References
----------
DICOM PS3.3 A.35.4, C.17.6; PS3.16 TID 2010, CID 7010, CID 7011; IHE RAD TF-1 and TF-3 (Imaging Object Change
Management, RAD-66).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from highdicom.sr import (
    CompositeContentItem,
    ContainerContentItem,
    ContentSequence,
    ImageContentItem,
    LanguageOfContentItemAndDescendants,
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
from appliance.domain.sentence import Sentence
from appliance.domain.study import StudyResult
from appliance.words import ENGLISH, Language

from .codes import MODALITIES, coded_concept
from .document import InstanceReference, evidence, observer, reference, requests
from .patient_study import patient_study
from .series import document_series_uid, stamp

KEY_ANSWERS: Final = {"positive": (Answer.POSITIVE,), "suspicious": (Answer.POSITIVE, Answer.DOUBT)}
"""Answers of the radiographs that are key objects, by the `key_objects_of` setting of a destination."""

IMAGES = {*MODALITIES, SecondaryCaptureImageStorage}
"""SOP classes that a document refers to by an IMAGE item; it refers to all others by a COMPOSITE item."""


def key_objects(
    study: StudyResult,
    sources: Mapping[str, Dataset],
    answers: Collection[Answer] = KEY_ANSWERS["positive"],
    language: Language = ENGLISH,
) -> Dataset:
    """Make the KO that selects the radiographs of `study` with one of `answers`; `part10_bytes` writes it.

    Raises
    ------
    ValueError
        If no radiograph of `study` has such an answer.
    """
    selected = [result for result in study.results if result.answer in answers]
    if not selected:
        raise ValueError("no radiograph of the study has one of the answers of its key objects")
    told = ", ".join(language.say(a.label) for a in Answer if a in {result.answer for result in selected})
    model = Sentence.of("Model {model}", model=study.provenance.model)
    words = f"{told}. {language.notice}. {language.say(model)}"
    references = [reference(sources[result.sop_instance_uid]) for result in selected]
    uid = key_objects_uid(study, answers, language)
    return _selection(study, sources, uid, codes.OF_INTEREST, words, references, language)


def key_objects_uid(study: StudyResult, answers: Collection[Answer], language: Language = ENGLISH) -> str:
    """Return the SOP Instance UID of the KO for `answers`; empty if no radiograph of `study` has one of them.

    A study in evaluation has none.
    A KO with possible fractures is another object than one of the suspected fractures alone.
    """
    selected = {result.answer for result in study.results} & set(answers)
    if not selected or study.is_evaluation:
        return ""
    uid = study.uid(language.kind("ko"))
    return derived_uid(uid, "suspicious") if Answer.DOUBT in selected else uid


def rejection_note(
    study: StudyResult,
    sources: Mapping[str, Dataset],
    rejected: Sequence[InstanceReference],
    reason: Concept,
    *,
    at: datetime,
    words: str,
    language: Language = ENGLISH,
) -> Dataset:
    """Make the KO that withdraws the instances `rejected` of `study`; `part10_bytes` writes it.

    Parameters
    ----------
    reason
        One of `codes.REJECTIONS`.
    at
        Time of the decision, with a time zone.
    words
        The reason for people, without patient data.

    Raises
    ------
    ValueError
        If `reason` is not a rejection, or `rejected` is empty.
    """
    if reason not in codes.REJECTIONS or not rejected:
        raise ValueError("a rejection note has a title of codes.REJECTIONS and at least one instance")
    uid = rejection_uid(reason, (r.sop_instance_uid for r in rejected))
    return _selection(replace(study, created_at=at), sources, uid, reason, words, rejected, language)


def rejection_uid(reason: Concept, rejected: Iterable[str]) -> str:
    """Return the SOP Instance UID of the note that rejects the instances of these UIDs."""
    return derived_uid("rejection", reason.code, *sorted(rejected))


def _selection(
    study: StudyResult,
    sources: Mapping[str, Dataset],
    sop_instance_uid: str,
    title: Concept,
    words: str,
    selected: Sequence[InstanceReference],
    language: Language,
) -> Dataset:
    newest = sources[study.results[-1].sop_instance_uid]
    ds = patient_study(newest)
    stamp(ds, newest, study, "ko", "rejection" if title in codes.REJECTIONS else "key views", language)
    ds.SOPClassUID = KeyObjectSelectionDocumentStorage
    ds.SOPInstanceUID = sop_instance_uid
    ds.SeriesInstanceUID = document_series_uid(sop_instance_uid)
    ds.StudyInstanceUID = study.study_instance_uid
    ds.Modality = "KO"
    ds.ReferencedPerformedProcedureStepSequence = []
    ds.CurrentRequestedProcedureEvidenceSequence = evidence(study.study_instance_uid, selected)
    if referenced := requests(study, sources):
        ds.ReferencedRequestSequence = referenced
    root = ContainerContentItem(name=coded_concept(title), template_id="2010")
    description = TextContentItem(
        name=coded_concept(codes.KEY_OBJECT_DESCRIPTION), value=words, relationship_type=RelationshipTypeValues.CONTAINS
    )
    items = [_reference_item(each) for each in selected]
    spoken = LanguageOfContentItemAndDescendants(coded_concept(language.concept))
    root.ContentSequence = ContentSequence([*spoken, *observer(study.provenance), description, *items])
    ds.update(root)
    return with_file_meta(ds)


def _reference_item(selected: InstanceReference) -> ImageContentItem | CompositeContentItem:
    item_type = ImageContentItem if selected.sop_class_uid in IMAGES else CompositeContentItem
    return item_type(
        name=coded_concept(codes.SOURCE),
        referenced_sop_class_uid=selected.sop_class_uid,
        referenced_sop_instance_uid=selected.sop_instance_uid,
        relationship_type=RelationshipTypeValues.CONTAINS,
    )
