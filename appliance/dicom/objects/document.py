"""The parts that the structured report and the key object selection share: observer, evidence and requests.

References
----------
DICOM PS3.3 C.17.2 (SR Document General), C.17.6.2 (Key Object Document); PS3.16 TID 1002 (Observer Context).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from highdicom.sr import DeviceObserverIdentifyingAttributes, ObserverContext
from pydicom.dataset import Dataset
from pydicom.uid import ComputedRadiographyImageStorage

from appliance.dicom.reading.attributes import copied, text
from appliance.domain.codes import DEVICE
from appliance.domain.identifiers import derived_uid, is_valid_uid
from appliance.domain.result import Provenance
from appliance.domain.study import StudyResult

from .codes import coded_concept
from .contributing_equipment import MANUFACTURER, MODEL_NAME, device_uid

ORDER = (
    "AccessionNumber", "IssuerOfAccessionNumberSequence", "PlacerOrderNumberImagingServiceRequest",
    "FillerOrderNumberImagingServiceRequest", "RequestedProcedureID", "RequestedProcedureDescription",
    "RequestedProcedureCodeSequence",
)  # fmt: skip
"""Attributes of a request; the first four name the order (DICOM PS3.3 table C.17-2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceReference:
    """An instance that a document refers to, by class, series and instance."""

    sop_class_uid: str
    series_instance_uid: str
    sop_instance_uid: str


def reference(ds: Dataset) -> InstanceReference:
    """Return the reference to the instance `ds`.

    An invalid SOP Class UID is replaced by that of CR, and an invalid Series Instance UID by one derived from the
    instance, so that documents can be made for a source with gaps.
    """
    sop_instance_uid = text(ds, "SOPInstanceUID")
    sop_class_uid = text(ds, "SOPClassUID")
    series_instance_uid = text(ds, "SeriesInstanceUID")
    if not is_valid_uid(sop_class_uid):
        sop_class_uid = ComputedRadiographyImageStorage
    if not is_valid_uid(series_instance_uid):
        series_instance_uid = derived_uid(sop_instance_uid, "unknown series")
    return InstanceReference(
        sop_class_uid=sop_class_uid, series_instance_uid=series_instance_uid, sop_instance_uid=sop_instance_uid
    )


def evidence(study_instance_uid: str, references: Iterable[InstanceReference]) -> list[Dataset]:
    """Return the Hierarchical SOP Instance Reference Macro (DICOM PS3.3 table C.17-3) for instances of one study."""
    by_series: dict[str, list[InstanceReference]] = {}
    for each in references:
        by_series.setdefault(each.series_instance_uid, []).append(each)
    study = Dataset()
    study.StudyInstanceUID = study_instance_uid
    study.ReferencedSeriesSequence = []
    for series_instance_uid, instances in by_series.items():
        series = Dataset()
        series.SeriesInstanceUID = series_instance_uid
        series.ReferencedSOPSequence = [sop_reference(each.sop_class_uid, each.sop_instance_uid) for each in instances]
        study.ReferencedSeriesSequence.append(series)
    return [study]


def sop_reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    """Return the SOP Instance Reference Macro (DICOM PS3.3 table 10-11)."""
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    return item


def observer(provenance: Provenance) -> ObserverContext:
    """Return the Observer Context that names the appliance, with its pack, as a device (DICOM PS3.16 TID 1004)."""
    return ObserverContext(
        observer_type=coded_concept(DEVICE),
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=device_uid(provenance),
            name=MODEL_NAME,
            manufacturer_name=MANUFACTURER,
            model_name=MODEL_NAME,
            serial_number=provenance.pack_digest[:16],
        ),
    )


def requests(study: StudyResult, sources: Mapping[str, Dataset]) -> list[Dataset]:
    """Return Referenced Request Sequence from the Request Attributes of the radiographs, each request once."""
    by_content: dict[str, Dataset] = {}
    for result in study.results:
        source = sources[result.sop_instance_uid]
        order = copied(source, ORDER[:4])
        for item in copied(source, ("RequestAttributesSequence",)).get("RequestAttributesSequence", ()):
            request = copied(item, ORDER)
            for element in order:
                request.setdefault(element.tag, element)
            for keyword in ORDER:
                if keyword not in request and keyword != "IssuerOfAccessionNumberSequence":
                    setattr(request, keyword, [] if keyword.endswith("Sequence") else "")
            request.StudyInstanceUID = study.study_instance_uid
            request.ReferencedStudySequence = []
            by_content.setdefault(request.to_json(), request)
    return list(by_content.values())
