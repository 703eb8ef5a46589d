"""What the source says of the order that it was made for.

References
----------
DICOM PS3.3 table 10-9 (Request Attributes), C.7.2.1 (General Study); IHE Radiology TF-2 RAD-8.
"""

from __future__ import annotations

from pydicom.dataset import Dataset

from appliance.dicom.objects.patient_study import copied, text

PLACER = "PlacerOrderNumberImagingServiceRequest"
FILLER = "FillerOrderNumberImagingServiceRequest"


def requests(source: Dataset) -> list[Dataset]:
    """The requests, then the data set itself, which holds the same attributes in older objects."""
    return [*copied(source, ("RequestAttributesSequence",)).get("RequestAttributesSequence", []), source]


def requested(source: Dataset, keyword: str) -> str:
    """The first value that there is."""
    return next((value for place in requests(source) if (value := text(place, keyword).strip())), "")


def procedure(source: Dataset) -> tuple[str, str, str]:
    """Code, meaning and scheme of the requested procedure; where it is not coded, the description alone."""
    for keyword in ("RequestedProcedureCodeSequence", "ProcedureCodeSequence"):
        for place in requests(source):
            for item in copied(place, (keyword,)).get(keyword, []):
                return text(item, "CodeValue"), text(item, "CodeMeaning"), text(item, "CodingSchemeDesignator")
    return (
        "",
        requested(source, "RequestedProcedureDescription") or text(source, "StudyDescription") or "Radiograph",
        "",
    )
