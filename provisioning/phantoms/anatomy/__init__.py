"""The six sites, drawn in millimetres; `ANATOMIES` is the table of them."""

from .ankle import ANKLE
from .knee import KNEE
from .pelvis import PELVIS
from .shapes import Anatomy, Bone, Points, Tissue
from .shoulder import SHOULDER
from .spine import SPINE
from .wrist import WRIST

ANATOMIES: dict[str, Anatomy] = {
    "ankle": ANKLE,
    "wrist": WRIST,
    "knee": KNEE,
    "shoulder": SHOULDER,
    "pelvis": PELVIS,
    "spine": SPINE,
}

__all__ = ["ANATOMIES", "Anatomy", "Bone", "Points", "Tissue"]
