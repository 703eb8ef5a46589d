"""Sites, sides, and UIDs that are checked or derived, never trusted or drawn at random.

Our UIDs are functions of the things that they name: rendering a thing twice gives the same object.
"""

from __future__ import annotations

import re
import uuid
from enum import StrEnum

from .sentence import Sentence

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:osteon")
_UID = re.compile(r"(?=.*[0-9])[0-9.]{1,64}")


class Site(StrEnum):
    """Anatomical regions that the localiser can name.

    A pack supports the sites for which it has an engine.
    """

    ANKLE = "ankle"
    WRIST = "wrist"
    KNEE = "knee"
    SHOULDER = "shoulder"
    PELVIS = "pelvis"
    SPINE = "spine"
    ELBOW = "elbow"
    FOREARM = "forearm"
    LOWER_LEG = "lower_leg"
    FEMUR = "femur"
    HUMERUS = "humerus"
    HAND = "hand"
    FOOT = "foot"

    @property
    def label(self) -> Sentence:
        """Name for people, for example ``lower leg``."""
        return place(self, Laterality.UNKNOWN)


class Laterality(StrEnum):
    """Side of a paired body part (DICOM PS3.3 C.7.3.1, Laterality (0020,0060))."""

    LEFT = "L"
    RIGHT = "R"
    UNKNOWN = ""


def place(site: Site, laterality: Laterality) -> Sentence:
    """Return side and site as people read them, for example ``left wrist``; the site alone where no side is known.

    A radiograph of the pelvis shows the hips of both sides, too. Each place is one template, since its words depend on
    each other in other languages.
    """
    name = "pelvis and hip" if site is Site.PELVIS else site.value.replace("_", " ")
    if site is Site.PELVIS and laterality is not Laterality.UNKNOWN:
        side = "left" if laterality is Laterality.LEFT else "right"
        return Sentence(template=f"{side} side of the {name}")
    side = {Laterality.LEFT: "left ", Laterality.RIGHT: "right ", Laterality.UNKNOWN: ""}[laterality]
    return Sentence(template=f"{side}{name}")


def is_valid_uid(uid: str) -> bool:
    """Return whether `uid` can be kept as the UID of another device: digits and dots, at most 64 characters.

    DICOM PS3.5 9.1 also forbids leading zeros and empty components. Devices write them, and nothing here depends on it.
    """
    return _UID.fullmatch(uid) is not None


def derived_uid(*parts: str | int) -> str:
    """Return a UID under the root 2.25 (DICOM PS3.5 B.2) that is a function of `parts`."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, '/'.join(map(str, parts))).int}"


def derived_uuid(*parts: str | int) -> str:
    """Return a UUID that is a function of `parts`, for FHIR `urn:uuid:` references."""
    return str(uuid.uuid5(_NAMESPACE, "/".join(map(str, parts))))
