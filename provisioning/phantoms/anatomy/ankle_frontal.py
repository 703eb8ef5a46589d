"""Ankle, antero-posterior: the fibula is lateral, on the viewer's left for a right ankle; the foot is foreshortened."""

from dataclasses import replace

from .ankle import ANKLE
from .shapes import Anatomy, Points, Tissue, Xy, curve, ellipse, tube

_SHORT = {
    "first metatarsal": tube([(13, 40, 8), (16, 56, 6.5), (20, 74, 8)]),
    "third metatarsal": tube([(0, 42, 6), (1, 58, 4.5), (2, 78, 6)]),
    "fifth metatarsal": tube([(-15, 46, 7), (-19, 58, 4.5), (-25, 72, 6)]),
}
_OUTLINES: dict[str, Points] = {
    "tibia": curve([
        (-12, -140), (-12, -80), (-15, -40), (-20, -20), (-21, -10), (-16, -9.5), (0, -10), (12.5, -9), (15.5, -4),
        (17, 3), (21, 4.5), (24.5, -3), (24, -14), (20, -30), (15, -55), (12, -80), (12, -140),
    ]),
    "fibula": tube([
        (-24, -140, 5.5), (-24, -80, 5.5), (-24, -45, 5.5), (-24.5, -22, 6.5), (-25, -6, 8), (-24.5, 5, 7),
        (-23, 13, 4),
    ]),
    "talus": curve([
        (-15, -6), (0, -7), (12, -6), (13.5, 2), (17, 10), (12, 17), (0, 20), (-12, 17), (-16, 9), (-16, 0),
    ]),
    "calcaneus": curve([
        (-14, 20), (0, 18), (14, 20), (18, 36), (16, 50), (8, 59), (-6, 59), (-15, 52), (-18, 38),
    ]),
    "navicular": ellipse(4, 25, 15, 7, 8),
    "cuboid": ellipse(-12, 37, 10, 9),
    "cuneiforms": ellipse(8, 37, 17, 8, 6),
    **_SHORT,
}  # fmt: skip
_SHAFTS: dict[str, tuple[Xy, Xy]] = {
    "tibia": ((1, -14), (0, -85)),
    "fibula": ((-24, 8), (-24, -70)),
    "talus": ((0, -4), (0, 16)),
    "calcaneus": ((0, 22), (0, 57)),
}
_RADII = {"tibia": 14.0, "calcaneus": 30.0, "talus": 20.0}

ANKLE_FRONTAL = Anatomy(
    image_mm=(150, 186),
    spacing_mm=0.155,
    region_mm=(-46, -62, 42, 64),
    bones=tuple(
        replace(
            bone,
            outline=_OUTLINES[bone.name],
            shaft=_SHAFTS.get(bone.name, bone.shaft),
            radius_mm=_RADII.get(bone.name, bone.radius_mm),
        )
        for bone in ANKLE.bones
    ),
    tissues=(
        Tissue(
            outline=curve([
                (-42, -145), (-41, -80), (-37, -40), (-38, -10), (-37, 15), (-39, 45), (-38, 78), (-12, 92), (24, 92),
                (37, 72), (36, 40), (37, 10), (36, -15), (35, -45), (42, -80), (44, -145),
            ]),
            radius_mm=36,
        ),
    ),
    view_position="AP",
    limb=True,
)  # fmt: skip
