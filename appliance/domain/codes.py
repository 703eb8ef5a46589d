"""Coded concepts of the outputs: sites, sides, presence of a fracture, and titles of documents.

The code of a site is the one that DICOM gives for the defined term of Body Part Examined.

References
----------
DICOM PS3.16 Annex L (Body Part Examined), CID 4031, CID 244 (Laterality), CID 240, CID 7010 and 7011 (titles of key
object selections); Annex D for the codes of DCM.
"""

from __future__ import annotations

from dataclasses import dataclass

from .finding import Answer, Verdict
from .identifiers import Laterality, Site


@dataclass(frozen=True, slots=True)
class Concept:
    """A code of a coding scheme with its meaning (DICOM PS3.3 section 8.8).

    Attributes
    ----------
    scheme
        Coding Scheme Designator (DICOM PS3.16 table 8-1), for example ``SCT`` for SNOMED CT.
    meaning
        Words for people, at most 64 characters (VR LO).

    Raises
    ------
    ValueError
        If a part is missing or the meaning is too long.
    """

    code: str
    scheme: str
    meaning: str

    def __post_init__(self) -> None:
        if not (self.code and self.scheme and 0 < len(self.meaning) <= 64):
            raise ValueError(f"not a coded concept: {self.code!r}, {self.scheme!r}, {self.meaning!r}")


SITES: dict[Site, Concept] = {
    Site.ANKLE: Concept("70258002", "SCT", "Ankle joint"),
    Site.WRIST: Concept("74670003", "SCT", "Wrist joint"),
    Site.KNEE: Concept("72696002", "SCT", "Knee"),
    Site.SHOULDER: Concept("16982005", "SCT", "Shoulder"),
    Site.PELVIS: Concept("12921003", "SCT", "Pelvis"),
    Site.SPINE: Concept("421060004", "SCT", "Spine"),
    Site.ELBOW: Concept("16953009", "SCT", "Elbow joint"),
    Site.FOREARM: Concept("14975008", "SCT", "Forearm"),
    Site.LOWER_LEG: Concept("30021000", "SCT", "Lower leg"),
    Site.FEMUR: Concept("71341001", "SCT", "Femur"),
    Site.HUMERUS: Concept("85050009", "SCT", "Humerus"),
    Site.HAND: Concept("85562004", "SCT", "Hand"),
    Site.FOOT: Concept("56459004", "SCT", "Foot"),
}

HIP_JOINT = Concept("24136001", "SCT", "Hip joint")

BODY_STRUCTURE = Concept("123037004", "SCT", "Body structure")
"""The examined area where the site is uncertain."""


def site_concepts(site: Site) -> tuple[Concept, ...]:
    """Return the concepts of `site`: one, except for pelvis and hip."""
    return (SITES[site], HIP_JOINT) if site is Site.PELVIS else (SITES[site],)


SIDES: dict[Laterality, Concept] = {
    Laterality.LEFT: Concept("7771000", "SCT", "Left"),
    Laterality.RIGHT: Concept("24028007", "SCT", "Right"),
}
"""An unknown side has no entry: outputs leave it out and never guess."""

PRESENCES: dict[Answer | Verdict, Concept] = {
    Answer.POSITIVE: Concept("415684004", "SCT", "Suspected"),
    Answer.DOUBT: Concept("121059", "DCM", "Presence Undetermined"),
    Verdict.NOT_CLEARED: Concept("121059", "DCM", "Presence Undetermined"),
    Answer.NEGATIVE: Concept("272519000", "SCT", "Absent"),
}
"""A second reader suspects; it never codes a fracture as present. What is incomplete or not cleared has no code."""

FRACTURE = Concept("125605004", "SCT", "Fracture of bone")
PRESENCE = Concept("121052", "DCM", "Presence of property")
PROBABILITY = Concept("PROBABILITY", "99OSTEON", "Probability of a fracture")
"""The calibrated probability: DICOM's certainty of a finding would be that of the absence, where it is absent."""

COMMENT = Concept("121106", "DCM", "Comment")
NO_UNITS = Concept("1", "UCUM", "no units")
PLAIN_RADIOGRAPHY = Concept("168537006", "SCT", "Plain radiography")
SOURCE_IMAGE = Concept("121322", "DCM", "Source image for image processing operation")
ACQUISITION_EQUIPMENT = Concept("109101", "DCM", "Acquisition Equipment")
PROCESSING_ALGORITHM = Concept("Newcode1", "99IHE", "Processing Algorithm")
"""Purpose of equipment that holds an algorithm (IHE AI Results 6.5.3); CID 7005 of 2024-03-24 has no code for it."""

MODALITY = Concept("121139", "DCM", "Modality")
TARGET_REGION = Concept("123014", "DCM", "Target Region")
IMAGE_LATERALITY = Concept("111027", "DCM", "Image Laterality")
IMAGE_VIEW = Concept("111031", "DCM", "Image View")

VIEW_CODES: dict[str, Concept] = {
    "AP": Concept("399348003", "SCT", "antero-posterior"),
    "PA": Concept("272479007", "SCT", "postero-anterior"),
    "LL": Concept("399173006", "SCT", "left lateral"),
    "RL": Concept("399198007", "SCT", "right lateral"),
    "LPO": Concept("399006002", "SCT", "left posterior oblique"),
    "RPO": Concept("399038007", "SCT", "right posterior oblique"),
    "LAO": Concept("399135007", "SCT", "left anterior oblique"),
    "RAO": Concept("399356000", "SCT", "right anterior oblique"),
}
"""Views by View Position (0018,5101); an unknown view is left out (DICOM PS3.16 CID 4010)."""

DEVICE = Concept("121007", "DCM", "Device")
SOURCE = Concept("260753009", "SCT", "Source")
PROCEDURE_REPORTED = Concept("121058", "DCM", "Procedure reported")

IMAGING_MEASUREMENT_REPORT = Concept("126000", "DCM", "Imaging Measurement Report")
IMAGE_LIBRARY = Concept("111028", "DCM", "Image Library")
IMAGE_LIBRARY_GROUP = Concept("126200", "DCM", "Image Library Group")
IMAGING_MEASUREMENTS = Concept("126010", "DCM", "Imaging Measurements")
QUALITATIVE_EVALUATIONS = Concept("C0034375", "UMLS", "Qualitative Evaluations")
"""Headings of the report (DICOM PS3.16 TID 1500, 1600, 1601)."""

OF_INTEREST = Concept("113000", "DCM", "Of Interest")
KEY_IMAGES = Concept("121180", "DCM", "Key Images")
ILLUSTRATION = Concept("121200", "DCM", "Illustration of ROI")
"""Purpose of a reference from the report to a picture with the findings (DICOM PS3.16 CID 7003)."""

KEY_OBJECT_DESCRIPTION = Concept("113012", "DCM", "Key Object Description")
REJECTED_FOR_QUALITY = Concept("113001", "DCM", "Rejected for Quality Reasons")
REJECTED_FOR_PATIENT_SAFETY = Concept("113037", "DCM", "Rejected for Patient Safety Reasons")
INCORRECT_WORKLIST_ENTRY = Concept("113038", "DCM", "Incorrect Modality Worklist Entry")
DATA_RETENTION_EXPIRED = Concept("113039", "DCM", "Data Retention Policy Expired")

REJECTIONS = (REJECTED_FOR_QUALITY, REJECTED_FOR_PATIENT_SAFETY, INCORRECT_WORKLIST_ENTRY, DATA_RETENTION_EXPIRED)
"""Titles that make a key object selection a rejection note (IHE Imaging Object Change Management)."""
