"""The result of a study as coded content: an SR of template TID 1500, preliminary and unverified.

Each region is one planar ROI group. There are no image-level groups, because viewers then draw nothing of the report:
answers for whole radiographs, and reasons why one was not analysed, are Qualitative Evaluations, inferred from the
image. highdicom builds the content; the header comes from `patient_study`, because highdicom needs a source without
gaps.

The same content is sent as Comprehensive 3D SR, or as Comprehensive SR to an archive that does not take the former.

References
----------
DICOM PS3.16 TID 1500, TID 1600, TID 1410, TID 4019, TID 1004; PS3.3 A.35.3, A.35.13, C.17.2, C.18.6; IHE AI Results.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    FindingSite,
    GraphicTypeValues,
    ImageContentItem,
    ImageRegion,
    LanguageOfContentItemAndDescendants,
    Measurement,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForRegion,
    TextContentItem,
    TrackingIdentifier,
)
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID, Comprehensive3DSRStorage

from appliance.dicom.part10 import with_file_meta
from appliance.dicom.reading.attributes import text
from appliance.domain import codes
from appliance.domain.codes import Concept
from appliance.domain.finding import Answer, Box
from appliance.domain.result import SECOND_READER, Result
from appliance.domain.study import StudyResult

from .codes import MODALITIES, coded_concept
from .document import InstanceReference, evidence, observer, reference, requests
from .patient_study import patient_study
from .report_class import report_uid
from .series import MANUFACTURER, document_series_uid, stamp
from .tracking import Tracked, tracked

CONTAINS = RelationshipTypeValues.CONTAINS


def structured_report(
    study: StudyResult, sources: Mapping[str, Dataset], sop_class: str = Comprehensive3DSRStorage
) -> Dataset:
    """Make the SR for `study`, with the patient, study and order of `sources`; `part10_bytes` writes it.

    Parameters
    ----------
    sources
        The radiographs of `study.results`, by SOP Instance UID.
    sop_class
        One of `REPORT_CLASSES`; the report is another instance of the same series in each class.
    """
    images = {r.sop_instance_uid: reference(sources[r.sop_instance_uid]) for r in study.results}
    newest = sources[study.results[-1].sop_instance_uid]
    ds = patient_study(newest)
    stamp(ds, newest, study, "sr", "report")
    ds.SOPClassUID = sop_class
    ds.SOPInstanceUID = report_uid(study.uid("sr"), sop_class)
    ds.StudyInstanceUID = study.study_instance_uid
    ds.Modality = "SR"
    ds.CompletionFlag = "COMPLETE"
    ds.VerificationFlag = "UNVERIFIED"
    ds.PreliminaryFlag = "PRELIMINARY"
    ds.PerformedProcedureCodeSequence = []
    ds.ReferencedPerformedProcedureStepSequence = []
    ds.CurrentRequestedProcedureEvidenceSequence = evidence(study.study_instance_uid, images.values())
    if referenced := requests(study, sources):
        ds.ReferencedRequestSequence = referenced
    if before := study.predecessor_uid("sr"):
        earlier = InstanceReference(
            sop_class_uid=sop_class,
            series_instance_uid=document_series_uid(before),
            sop_instance_uid=report_uid(before, sop_class),
        )
        ds.PredecessorDocumentsSequence = evidence(study.study_instance_uid, [earlier])
    ds.update(_content(study, sources, images))
    return with_file_meta(ds)


def _content(
    study: StudyResult, sources: Mapping[str, Dataset], images: Mapping[str, InstanceReference]
) -> ContainerContentItem:
    """Return the root container (TID 1500)."""
    root = ContainerContentItem(name=coded_concept(codes.IMAGING_MEASUREMENT_REPORT), template_id="1500")
    procedure = CodeContentItem(
        name=coded_concept(codes.PROCEDURE_REPORTED),
        value=coded_concept(codes.PLAIN_RADIOGRAPHY),
        relationship_type=RelationshipTypeValues.HAS_CONCEPT_MOD,
    )
    language = LanguageOfContentItemAndDescendants(coded_concept(codes.ENGLISH))
    context = [*language, *observer(study.provenance), procedure]
    root.ContentSequence = ContentSequence([*context, _library(images.values())])
    groups = [
        _group(sources[result.sop_instance_uid], images[result.sop_instance_uid], result, region)
        for result in study.results
        for region in tracked(result)
    ]
    if groups:
        measured = (item for group in groups for item in group)
        root.ContentSequence.append(_container(codes.IMAGING_MEASUREMENTS, measured))
    root.ContentSequence.append(_container(codes.QUALITATIVE_EVALUATIONS, _evaluations(study, images)))
    return root


def _container(name: Concept, items: Iterable[ContentItem]) -> ContainerContentItem:
    container = ContainerContentItem(name=coded_concept(name), relationship_type=CONTAINS)
    container.ContentSequence = ContentSequence(items)
    return container


def _library(images: Iterable[InstanceReference]) -> ContainerContentItem:
    """Return the Image Library (TID 1600) with every radiograph of the study, analysed or not."""
    entries = []
    for image in images:
        entry = _image(image, CONTAINS)
        if image.sop_class_uid in MODALITIES:
            modality = CodeContentItem(
                name=coded_concept(codes.MODALITY),
                value=coded_concept(MODALITIES[image.sop_class_uid]),
                relationship_type=RelationshipTypeValues.HAS_ACQ_CONTEXT,
            )
            entry.ContentSequence = ContentSequence([modality])
        entries.append(entry)
    return _container(codes.IMAGE_LIBRARY, [_container(codes.IMAGE_LIBRARY_GROUP, entries)])


def _image(image: InstanceReference, relationship: RelationshipTypeValues) -> ImageContentItem:
    return ImageContentItem(
        name=coded_concept(codes.SOURCE_IMAGE),
        referenced_sop_class_uid=image.sop_class_uid,
        referenced_sop_instance_uid=image.sop_instance_uid,
        relationship_type=relationship,
    )


def _group(
    source: Dataset, image: InstanceReference, result: Result, region: Tracked
) -> PlanarROIMeasurementsAndQualitativeEvaluations:
    """Return the planar ROI group of one finding (TID 1410)."""
    p = result.provenance
    finding = region.finding
    algorithm = AlgorithmIdentification(
        name=p.pack_name + (" (SYNTHETIC)" if p.pack_is_synthetic else ""),
        version=p.pack_version,
        manufacturer=MANUFACTURER,
        parameters=[
            f"pack sha256 {p.pack_digest}",
            f"software {p.software_version}",
            f"computed on {p.compute}",
            f"doubt >= {finding.doubt:g}, suspected >= {finding.positive:g}",
            f"focus {finding.focus:.2f}",
        ],
    )
    rows, columns = (int(text(source, keyword) or 0) for keyword in ("Rows", "Columns"))
    side = coded_concept(codes.SIDES[finding.laterality]) if finding.laterality in codes.SIDES else None
    certainty = Measurement(
        name=coded_concept(codes.CERTAINTY),
        value=round(100 * finding.probability, 1),
        unit=coded_concept(codes.PERCENT),
    )
    presence = QualitativeEvaluation(
        name=coded_concept(codes.PRESENCE), value=coded_concept(codes.PRESENCES[finding.answer])
    )
    return PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=UID(region.uid), identifier=region.identifier),
        referenced_region=ImageRegion(
            graphic_type=GraphicTypeValues.POLYLINE,
            graphic_data=_outline(finding.box, rows, columns),
            source_image=SourceImageForRegion(image.sop_class_uid, image.sop_instance_uid),
        ),
        finding_type=coded_concept(codes.FRACTURE),
        algorithm_id=algorithm,
        finding_sites=[FindingSite(coded_concept(codes.SITES[finding.site]), laterality=side)],
        measurements=[certainty],
        qualitative_evaluations=[presence],
    )


def _outline(box: Box, rows: int, columns: int) -> NDArray[np.float64]:
    """Return (5, 2) float64, column and row: closed, inside the image, from (0, 0) (DICOM PS3.3 C.18.6.1.2)."""
    x0, y0, x1, y1 = box.as_tuple()
    if rows and columns:
        x0, x1 = min(x0, columns), min(x1, columns)
        y0, y1 = min(y0, rows), min(y1, rows)
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]], np.float64)


def _evaluations(study: StudyResult, images: Mapping[str, InstanceReference]) -> Iterator[ContentItem]:
    """Yield the answer for the study, the answer for each radiograph, then each sentence with its images."""
    if study.answer is not Answer.NOT_ANALYSED:
        yield _presence(study.answer)
    for result in study.results:
        if result.answer is not Answer.NOT_ANALYSED:
            yield _inferred(_presence(result.answer), [images[result.sop_instance_uid]])
    yield _comment(SECOND_READER)
    images_by_sentence: dict[str, list[InstanceReference]] = {}
    for result in study.results:
        for sentence in _sentences(result):
            images_by_sentence.setdefault(sentence, []).append(images[result.sop_instance_uid])
    for sentence, its_images in images_by_sentence.items():
        yield _inferred(_comment(sentence), its_images)


def _presence(answer: Answer) -> CodeContentItem:
    return CodeContentItem(
        name=coded_concept(codes.FRACTURE), value=coded_concept(codes.PRESENCES[answer]), relationship_type=CONTAINS
    )


def _comment(sentence: str) -> TextContentItem:
    return TextContentItem(name=coded_concept(codes.COMMENT), value=sentence, relationship_type=CONTAINS)


def _inferred(item: ContentItem, images: Iterable[InstanceReference]) -> ContentItem:
    item.ContentSequence = ContentSequence([_image(image, RelationshipTypeValues.INFERRED_FROM) for image in images])
    return item


def _sentences(result: Result) -> Iterator[str]:
    """Yield the reason why the radiograph was not analysed, unread regions, caveats and the model."""
    if result.not_analysed is not None:
        yield f"Not analysed: {result.not_analysed.reason} [{result.not_analysed.code}]"
    yield from dict.fromkeys(f"Region located but not analysed: {r.site.label}" for r in result.unread_regions)
    yield from result.caveats
    yield f"Model {result.provenance.model}, software {result.provenance.software_version}"
