"""The answer as coded content: a Comprehensive 3D SR of template TID 1500, preliminary and unverified.

One planar ROI group per finding of each radiograph; where nothing could be analysed, the reason as text.
highdicom builds the content tree; the header comes from `patient_study`, because highdicom wants a source without
gaps.

References
----------
DICOM PS3.16 TID 1500, TID 1410, TID 4019, TID 1004; PS3.3 A.35.13, C.17.2 (SR Document General), C.18.6.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    CodedConcept,
    Comprehensive3DSR,
    ContainerContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    GraphicTypeValues,
    ImageContentItem,
    ImageRegion,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForRegion,
    TextContentItem,
    TrackingIdentifier,
)
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import UID, ComputedRadiographyImageStorage

from appliance.domain.finding import Answer, Box, Finding
from appliance.domain.identifiers import derived_uid
from appliance.domain.result import SECOND_READER, Result
from appliance.domain.study import StudyResult

from . import codes
from .part10 import with_file_meta
from .patient_study import TYPE_2, copied, patient_study, text
from .series import MANUFACTURER, MODEL_NAME, series_instance_uid, series_number, stamp

QUALITATIVE_EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")  # TID 1500 row 12
DEVICE = Code("121007", "DCM", "Device")
IMAGING_MEASUREMENT_REPORT = Code("126000", "DCM", "Imaging Measurement Report")

ORDER = (
    "AccessionNumber", "IssuerOfAccessionNumberSequence", "PlacerOrderNumberImagingServiceRequest",
    "FillerOrderNumberImagingServiceRequest", "RequestedProcedureID", "RequestedProcedureDescription",
    "RequestedProcedureCodeSequence",
)  # fmt: skip


def structured_report(study: StudyResult, sources: Mapping[str, Dataset]) -> Dataset:
    """SR for `study`, with the patient, study and order of the newest of `sources`; `part10_bytes` writes it.

    Parameters
    ----------
    sources
        The radiographs' data sets without pixels, by SOP Instance UID; one for each result of `study`.
    """
    evidence = {r.sop_instance_uid: _evidence(sources[r.sop_instance_uid], r) for r in study.results}
    source = sources[study.results[-1].sop_instance_uid]
    report = Comprehensive3DSR(
        evidence=list(evidence.values()),
        content=_content(evidence, study),
        series_instance_uid=series_instance_uid(source, study, "sr"),
        series_number=series_number(source, "sr"),
        sop_instance_uid=study.uid("sr"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_final=False,
        is_verified=False,
    )
    ds = Dataset()
    ds.update(report)
    del ds.ContributingEquipmentSequence  # highdicom on itself, with the time of day
    ds.update(patient_study(source))
    stamp(ds, source, study, "sr", "report")
    ds.InstanceNumber = study.revision
    ds.StudyInstanceUID = study.study_instance_uid
    requests = _requests(source, study)
    if requests:
        ds.ReferencedRequestSequence = requests
    return with_file_meta(ds)


def _evidence(source: Dataset, result: Result) -> Dataset:
    """What highdicom needs of the source, with nothing missing."""
    ds = Dataset()
    for keyword in TYPE_2:
        setattr(ds, keyword, "")
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = UID(text(source, "SOPClassUID") or ComputedRadiographyImageStorage)
    ds.SOPInstanceUID = UID(result.sop_instance_uid)
    ds.StudyInstanceUID = UID(result.study_instance_uid)
    ds.SeriesInstanceUID = UID(
        text(source, "SeriesInstanceUID") or derived_uid(result.sop_instance_uid, "unknown series")
    )
    ds.Rows, ds.Columns = (int(text(source, k) or 0) for k in ("Rows", "Columns"))
    return ds


def _content(evidence: Mapping[str, Dataset], study: StudyResult) -> Dataset:
    groups = [
        _group(evidence[r.sop_instance_uid], r, number, finding)
        for r in study.results
        for number, finding in enumerate(r.findings, 1)
    ]
    nothing = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=UID(study.uid("nothing")), identifier="-")
    )
    report = MeasurementReport(
        observation_context=_observer(study),
        procedure_reported=codes.PLAIN_RADIOGRAPHY,
        imaging_measurements=groups or [nothing],
        title=IMAGING_MEASUREMENT_REPORT,
    )
    root: Dataset = report[0]
    if not groups:  # TID 1500 is content with Qualitative Evaluations alone, highdicom is not
        root.ContentSequence.pop()
    root.ContentSequence.append(_evaluations(evidence, study))
    return root


def _observer(study: StudyResult) -> ObservationContext:
    device = DeviceObserverIdentifyingAttributes(
        uid=derived_uid("device", study.provenance.pack_digest),
        name=MODEL_NAME,
        manufacturer_name=MANUFACTURER,
        model_name=MODEL_NAME,
        serial_number=study.provenance.pack_digest[:16],
    )
    return ObservationContext(
        observer_device_context=ObserverContext(observer_type=_concept(DEVICE), observer_identifying_attributes=device)
    )


def _group(
    evidence: Dataset, result: Result, number: int, finding: Finding
) -> PlanarROIMeasurementsAndQualitativeEvaluations:
    """TID 1410 for one finding."""
    p = result.provenance
    algorithm = AlgorithmIdentification(
        name=p.pack_name + (" (SYNTHETIC)" if p.pack_is_synthetic else ""),
        version=p.pack_version,
        manufacturer=MANUFACTURER,
        parameters=[
            f"pack sha256 {p.pack_digest}",
            f"software {p.software_version}",
            f"computed on {p.compute}",
            f"doubt >= {finding.doubt:g}, suspected >= {finding.positive:g}",
        ],
    )
    return PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=UID(result.uid(f"finding {number}")),
            identifier=f"{number} {finding.laterality.label} {finding.site.label}".replace("  ", " "),
        ),
        referenced_region=ImageRegion(
            graphic_type=GraphicTypeValues.POLYLINE,
            graphic_data=_outline(finding.box, evidence.Rows, evidence.Columns),
            source_image=SourceImageForRegion(evidence.SOPClassUID, evidence.SOPInstanceUID),
        ),
        finding_type=codes.FRACTURE,
        algorithm_id=algorithm,
        finding_sites=[FindingSite(codes.SITES[finding.site], laterality=codes.SIDES.get(finding.laterality))],
        measurements=[Measurement(name=codes.CERTAINTY, value=round(100 * finding.probability, 1), unit=codes.PERCENT)],
        qualitative_evaluations=[QualitativeEvaluation(name=codes.PRESENCE, value=codes.PRESENCES[finding.answer])],
    )


def _outline(box: Box, rows: int, columns: int) -> NDArray[np.float64]:
    """(5, 2) column, row: closed, inside the image; (0, 0) is its corner (DICOM PS3.3 C.18.6.1.2)."""
    x0, y0, x1, y1 = box.as_tuple()
    if rows and columns:
        x0, x1 = min(x0, columns), min(x1, columns)
        y0, y1 = min(y0, rows), min(y1, rows)
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]], np.float64)


def _evaluations(evidence: Mapping[str, Dataset], study: StudyResult) -> ContainerContentItem:
    """The answer for the study and its sentences (TID 1500 rows 12 to 14)."""
    container = ContainerContentItem(
        name=_concept(QUALITATIVE_EVALUATIONS), relationship_type=RelationshipTypeValues.CONTAINS
    )
    container.ContentSequence = ContentSequence()
    if study.answer is not Answer.NOT_ANALYSED:
        container.ContentSequence.append(
            CodeContentItem(
                name=_concept(codes.FRACTURE),
                value=_concept(codes.PRESENCES[study.answer]),
                relationship_type=RelationshipTypeValues.CONTAINS,
            )
        )
    for sentence in _sentences(study):
        container.ContentSequence.append(
            TextContentItem(
                name=_concept(codes.COMMENT),
                value=sentence,
                relationship_type=RelationshipTypeValues.CONTAINS,
            )
        )
    for result in study.results:
        if not result.findings:  # else the regions refer to the image
            image = evidence[result.sop_instance_uid]
            container.ContentSequence.append(
                ImageContentItem(
                    name=_concept(codes.SOURCE_IMAGE),
                    referenced_sop_class_uid=image.SOPClassUID,
                    referenced_sop_instance_uid=image.SOPInstanceUID,
                    relationship_type=RelationshipTypeValues.CONTAINS,
                )
            )
    return container


def _sentences(study: StudyResult) -> list[str]:
    said = [SECOND_READER]
    for result in study.results:
        if result.not_analysed is not None:
            said.append(f"Not analysed: {result.not_analysed.reason} [{result.not_analysed.code}]")
        said += [f"Region located but not analysed: {r.site.label}" for r in result.unread_regions]
    said += study.caveats
    p = study.provenance
    return [*dict.fromkeys(said), f"Model {p.model}, software {p.software_version}"]


def _concept(code: Code) -> CodedConcept:
    return CodedConcept.from_code(code)


def _requests(source: Dataset, study: StudyResult) -> list[Dataset]:
    """Referenced Request Sequence from the source's Request Attributes (DICOM PS3.3 C.17.2)."""
    items = copied(source, ("RequestAttributesSequence",)).get("RequestAttributesSequence") or []
    order = copied(source, ORDER[:4])
    made = []
    for item in items:
        request = copied(item, ORDER)
        for element in order:
            request.setdefault(element.tag, element)
        for keyword in ORDER:
            if keyword not in request and keyword != "IssuerOfAccessionNumberSequence":
                setattr(request, keyword, [] if keyword.endswith("Sequence") else "")
        request.StudyInstanceUID = study.study_instance_uid
        request.ReferencedStudySequence = []
        made.append(request)
    return made
