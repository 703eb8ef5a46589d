"""Knee, lateral: the patella is anterior, on the viewer's left for a right knee."""

from dataclasses import replace

from .knee import KNEE
from .shapes import Anatomy, Points, Tissue, Xy, curve, tube

_OUTLINES: dict[str, Points] = {
    "femur": curve([
        (-14, -140), (-13, -100), (-14, -75), (-18, -52), (-26, -37), (-30, -23), (-28, -9), (-18, -1), (-2, 0),
        (14, -1), (26, -9), (33, -21), (32, -32), (24, -41), (16, -50), (14, -75), (15, -100), (16, -140),
    ]),
    "tibia": curve([
        (-24, 12), (-22, 7), (0, 5.5), (20, 8), (26, 11), (26, 18), (18, 28), (12, 50), (11, 72), (11, 145),
        (-14, 145), (-15, 72), (-18, 47), (-24, 38), (-24, 30), (-21, 22),
    ]),
    "fibula": tube([
        (18, 20, 4), (19, 26, 8), (19, 34, 7), (17, 44, 5), (15, 60, 5), (14, 85, 5.5), (14, 145, 5.5),
    ]),
    "patella": curve([
        (-37, -56), (-44, -53), (-48, -42), (-48, -30), (-44, -20), (-39, -14), (-36.5, -20), (-34, -32), (-33.5, -46),
    ]),
}  # fmt: skip
_SHAFTS: dict[str, tuple[Xy, Xy]] = {
    "femur": ((0, -22), (0, -100)),
    "tibia": ((0, 10), (-2, 95)),
    "fibula": ((19, 30), (14, 95)),
    "patella": ((-41, -52), (-41, -20)),
}
_RADII = {"femur": 19.0, "tibia": 18.0, "fibula": 5.5, "patella": 16.0}

KNEE_LATERAL = Anatomy(
    image_mm=(165, 205),
    spacing_mm=0.16,
    region_mm=(-56, -70, 44, 70),
    bones=tuple(
        replace(bone, outline=_OUTLINES[bone.name], shaft=_SHAFTS[bone.name], radius_mm=_RADII[bone.name])
        for bone in KNEE.bones
    ),
    tissues=(
        Tissue(
            outline=curve([
                (-60, -150), (-55, -85), (-58, -45), (-55, -15), (-42, 10), (-38, 40), (-32, 80), (-30, 150), (58, 150),
                (64, 90), (52, 40), (46, 8), (50, -25), (58, -65), (64, -100), (68, -150),
            ]),
            radius_mm=48,
        ),
    ),
    view_position="RL",
    limb=True,
)  # fmt: skip
