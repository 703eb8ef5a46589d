"""The six sites, drawn in millimetres; `ANATOMIES` is the table of them.

A site has one or two views. Two views are two projections of one skeleton: bones have the same names and lengths along
the limb, and a shaft begins and ends at the same heights, so that a share of it is the same place in both views.
"""

from .ankle import ANKLE
from .ankle_frontal import ANKLE_FRONTAL
from .knee import KNEE
from .knee_lateral import KNEE_LATERAL
from .pelvis import PELVIS
from .shapes import Anatomy, Bone, Points, Tissue
from .shoulder import SHOULDER
from .spine import SPINE
from .spine_lateral import SPINE_LATERAL
from .wrist import WRIST
from .wrist_lateral import WRIST_LATERAL

ANATOMIES: dict[str, tuple[Anatomy, ...]] = {
    "ankle": (ANKLE, ANKLE_FRONTAL),
    "wrist": (WRIST, WRIST_LATERAL),
    "knee": (KNEE, KNEE_LATERAL),
    "shoulder": (SHOULDER,),
    "pelvis": (PELVIS,),
    "spine": (SPINE, SPINE_LATERAL),
}

__all__ = ["ANATOMIES", "Anatomy", "Bone", "Points", "Tissue"]
