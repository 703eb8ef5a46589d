"""Coded concepts of the answers: sites, sides and what a finding says.

The codes of the sites are those that DICOM gives for the defined terms of Body Part Examined.

References
----------
DICOM PS3.16 Annex L (Body Part Examined), CID 4031, CID 244 (Laterality), CID 240; codes 121052, 121059 and
111012 of Annex D.
"""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

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

FRACTURE = Code("125605004", "SCT", "Fracture of bone")
PRESENCE = Code("121052", "DCM", "Presence of property")
CERTAINTY = Code("111012", "DCM", "Certainty of Finding")
COMMENT = Code("121106", "DCM", "Comment")
PERCENT = Code("%", "UCUM", "Percent")
PLAIN_RADIOGRAPHY = Code("168537006", "SCT", "Plain radiography")
SOURCE_IMAGE = Code("121322", "DCM", "Source image for image processing operation")


def code_item(code: Code) -> Dataset:
    """Item of a code sequence (DICOM PS3.3 section 8.8)."""
    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme_designator
    item.CodeMeaning = code.meaning
    return item
