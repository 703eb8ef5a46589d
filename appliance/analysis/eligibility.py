"""Is this radiograph for us? Each "no" has its own code and a sentence that a PACS administrator can act on.

Where the image can decide, it does: an absent or unknown body part is left to the localiser.
"""

from __future__ import annotations

from appliance.domain.finding import NotAnalysed
from appliance.domain.identifiers import Site, is_valid_uid
from appliance.domain.radiograph import Header

SMALLEST_SIDE_PX = 128
"""Half of a region's crop: a smaller image holds less than the networks were made to see."""

SITE_BY_BODY_PART = {
    "ANKLE": Site.ANKLE,
    "WRIST": Site.WRIST,
    "KNEE": Site.KNEE,
    "PATELLA": Site.KNEE,
    "SHOULDER": Site.SHOULDER,
    "CLAVICLE": Site.SHOULDER,
    "SCAPULA": Site.SHOULDER,
    "PELVIS": Site.PELVIS,
    "HIP": Site.PELVIS,
    "SSPINE": Site.SPINE,
    "SPINE": Site.SPINE,
    "CSPINE": Site.SPINE,
    "TSPINE": Site.SPINE,
    "LSPINE": Site.SPINE,
    "TLSPINE": Site.SPINE,
    "LSSPINE": Site.SPINE,
    "ELBOW": Site.ELBOW,
    "FOREARM": Site.FOREARM,
    "TIBFIB": Site.LOWER_LEG,
    "LEG": Site.LOWER_LEG,
    "FEMUR": Site.FEMUR,
    "HUMERUS": Site.HUMERUS,
    "HAND": Site.HAND,
    "FOOT": Site.FOOT,
}
"""Body Part Examined (0018,0015), terms of DICOM PS3.16 annex L, and the site that it names."""

OUT_OF_SCOPE = frozenset(
    [
        "ABDOMEN",
        "BREAST",
        "CALCANEUS",
        "CHEST",
        "FINGER",
        "HEAD",
        "HEART",
        "JAW",
        "KUB",
        "LUNG",
        "MANDIBLE",
        "MAXILLA",
        "NECK",
        "ORBIT",
        "RIB",
        "SKULL",
        "STERNUM",
        "TEETH",
        "THORAX",
        "TOE",
        "WHOLEBODY",
    ]
)
"""Body parts that the appliance does not read, whatever the image looks like: a chest shows shoulders and spine."""

MODALITIES = ("CR", "DX")

RADIOGRAPH_CLASSES = frozenset(
    {"1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1.1"}
)
"""CR, DX for presentation, DX for processing (DICOM PS3.4 B.5)."""


def is_radiograph(header: Header) -> bool:
    """Whether the object is a plain radiograph at all; anything else is recorded, and nobody is sent an answer."""
    return header.sop_class_uid in RADIOGRAPH_CLASSES and header.modality in MODALITIES


def why_not(header: Header) -> NotAnalysed | None:
    """The first reason why `header` is not for us, or None."""
    if not is_radiograph(header):
        # quoted only in the form of their kind: a broken header may hold anything there, a name too
        what = f"modality {header.modality}" if header.modality.isalnum() else "an object without a usable modality"
        if header.modality in MODALITIES and is_valid_uid(header.sop_class_uid):
            what = f"storage class {header.sop_class_uid}"
        reason = f"{what} is no plain radiograph: only CR and DX images are analysed, narrow the routing rule"
        return NotAnalysed(code="not_a_radiograph", reason=reason)
    if not header.has_pixels:
        return NotAnalysed(code="no_pixels", reason="the data set has no pixel data: send the image again")
    if header.is_animal:
        return NotAnalysed(code="not_human", reason="the patient is an animal: only human radiographs are analysed")
    if header.number_of_frames > 1 or header.samples_per_pixel != 1:
        return NotAnalysed(
            code="not_a_projection",
            reason=f"{header.number_of_frames} frames, {header.samples_per_pixel} samples per pixel: "
            "only single grey images are analysed",
        )
    if min(header.rows, header.columns) < SMALLEST_SIDE_PX:
        return NotAnalysed(
            code="too_small",
            reason=f"{header.columns} x {header.rows} pixels: at least {SMALLEST_SIDE_PX} a side are needed",
        )
    if header.body_part_examined in OUT_OF_SCOPE:
        return NotAnalysed(
            code="out_of_scope", reason=f"body part {header.body_part_examined} is not one that the appliance reads"
        )
    return None
