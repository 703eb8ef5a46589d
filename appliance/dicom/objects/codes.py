"""Coded concepts of the answers: sites, sides and what a finding says.

The codes of the sites are those that DICOM gives for the defined terms of Body Part Examined.

References
----------
DICOM PS3.16 Annex L (Body Part Examined), CID 4031, CID 244 (Laterality), CID 240, CID 7010 and 7011 (titles of key
object selections), CID 29 (modalities); Annex D for what is of DCM.
"""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
)

from appliance.domain.finding import Answer
from appliance.domain.identifiers import Laterality, Site

SITES: dict[Site, Code] = {
    Site.ANKLE: Code("70258002", "SCT", "Ankle joint"),
    Site.WRIST: Code("74670003", "SCT", "Wrist joint"),
    Site.KNEE: Code("72696002", "SCT", "Knee"),
    Site.SHOULDER: Code("16982005", "SCT", "Shoulder"),
    Site.PELVIS: Code("12921003", "SCT", "Pelvis"),
    Site.SPINE: Code("421060004", "SCT", "Spine"),
    Site.ELBOW: Code("16953009", "SCT", "Elbow joint"),
    Site.FOREARM: Code("14975008", "SCT", "Forearm"),
    Site.LOWER_LEG: Code("30021000", "SCT", "Lower leg"),
    Site.FEMUR: Code("71341001", "SCT", "Femur"),
    Site.HUMERUS: Code("85050009", "SCT", "Humerus"),
    Site.HAND: Code("85562004", "SCT", "Hand"),
    Site.FOOT: Code("56459004", "SCT", "Foot"),
}

BODY_PARTS: dict[Site, str] = {site: site.value.upper() for site in Site} | {Site.LOWER_LEG: "LEG"}
"""Defined terms of Body Part Examined (0018,0015)."""

SIDES: dict[Laterality, Code] = {
    Laterality.LEFT: Code("7771000", "SCT", "Left"),
    Laterality.RIGHT: Code("24028007", "SCT", "Right"),
}
"""No entry for an unknown side: it is left out, never guessed."""

PRESENCES: dict[Answer, Code] = {
    Answer.POSITIVE: Code("415684004", "SCT", "Suspected"),
    Answer.DOUBT: Code("121059", "DCM", "Presence Undetermined"),
    Answer.NEGATIVE: Code("272519000", "SCT", "Absent"),
}
"""A second reader suspects; it never codes a fracture as present."""

MODALITIES: dict[str, Code] = {
    ComputedRadiographyImageStorage: Code("CR", "DCM", "Computed Radiography"),
    DigitalXRayImageStorageForPresentation: Code("DX", "DCM", "Digital Radiography"),
    DigitalXRayImageStorageForProcessing: Code("DX", "DCM", "Digital Radiography"),
}

FRACTURE = Code("125605004", "SCT", "Fracture of bone")
PRESENCE = Code("121052", "DCM", "Presence of property")
CERTAINTY = Code("111012", "DCM", "Certainty of Finding")
COMMENT = Code("121106", "DCM", "Comment")
PERCENT = Code("%", "UCUM", "Percent")
PLAIN_RADIOGRAPHY = Code("168537006", "SCT", "Plain radiography")
SOURCE_IMAGE = Code("121322", "DCM", "Source image for image processing operation")
ACQUISITION_EQUIPMENT = Code("109101", "DCM", "Acquisition Equipment")
MODALITY = Code("121139", "DCM", "Modality")
DEVICE = Code("121007", "DCM", "Device")
SOURCE = Code("260753009", "SCT", "Source")
PROCEDURE_REPORTED = Code("121058", "DCM", "Procedure reported")
ENGLISH = Code("en", "RFC5646", "English")

IMAGING_MEASUREMENT_REPORT = Code("126000", "DCM", "Imaging Measurement Report")
IMAGE_LIBRARY = Code("111028", "DCM", "Image Library")
IMAGE_LIBRARY_GROUP = Code("126200", "DCM", "Image Library Group")
IMAGING_MEASUREMENTS = Code("126010", "DCM", "Imaging Measurements")
QUALITATIVE_EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")
"""Of the report: PS3.16 TID 1500, 1600, 1601."""

OF_INTEREST = Code("113000", "DCM", "Of Interest")
KEY_OBJECT_DESCRIPTION = Code("113012", "DCM", "Key Object Description")
REJECTED_FOR_QUALITY = Code("113001", "DCM", "Rejected for Quality Reasons")
REJECTED_FOR_PATIENT_SAFETY = Code("113037", "DCM", "Rejected for Patient Safety Reasons")
INCORRECT_WORKLIST_ENTRY = Code("113038", "DCM", "Incorrect Modality Worklist Entry")
DATA_RETENTION_EXPIRED = Code("113039", "DCM", "Data Retention Policy Expired")

REJECTIONS = (REJECTED_FOR_QUALITY, REJECTED_FOR_PATIENT_SAFETY, INCORRECT_WORKLIST_ENTRY, DATA_RETENTION_EXPIRED)
"""Titles that make a key object selection a rejection note (IHE Imaging Object Change Management)."""


def code_item(code: Code) -> Dataset:
    """Item of a code sequence (DICOM PS3.3 section 8.8)."""
    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme_designator
    item.CodeMeaning = code.meaning
    return item
