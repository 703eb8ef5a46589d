"""Lumbar spine, lateral: the belly on the viewer's left; the column is bent as it is in life."""

from dataclasses import replace

import numpy as np

from .shapes import Anatomy, Bone, Points, Tissue, Xy, curve, ellipse, tube
from .spine import BODY_MM, PITCH_MM, SPINE

_LEVELS = ("T11", "T12", "L1", "L2", "L3", "L4", "L5")
_FRONT_BACK_MM = (8.0, 4.0, -1.0, -6.0, -8.0, -5.0, 3.0)
"""x of the middle of each body: the column is bent."""

_TILT_DEG = (8.0, 6.0, 4.0, 1.0, -4.0, -9.0, -16.0)
"""Tilt of each body."""

_SACRUM = curve([(-14, 131), (-2, 125), (18, 119), (28, 128), (40, 150), (54, 182), (52, 208), (40, 206), (24, 178),
                 (4, 156)])  # fmt: skip
_ILIUM = curve([(-36, 150), (-18, 122), (14, 106), (48, 112), (58, 132), (44, 170), (20, 210), (-20, 210)])


def _lateral_shape(bone: Bone) -> tuple[Points, tuple[Xy, Xy]]:
    """Return outline and shaft as seen from the side."""
    name, _, part = bone.name.removeprefix("left ").partition(" ")
    if name == "sacrum":
        return _SACRUM, ((8, 128), (38, 185))
    if name == "ilium":
        return _ILIUM, ((10, 180), (20, 110))
    level = _LEVELS.index(name)
    x, y, h = _FRONT_BACK_MM[level], -112.0 + PITCH_MM * level, BODY_MM / 2
    d = 15.5 + 0.5 * level
    parts: dict[str, Points] = {
        "body": curve([
            (-d, y - h), (0, y - h + 1.6), (d, y - h), (d + 0.6, y - h + 3.5), (d * 0.92, y), (d + 0.6, y + h - 3.5),
            (d, y + h), (0, y + h - 1.6), (-d, y + h), (-d - 0.6, y + h - 3.5), (-d * 0.9, y), (-d - 0.6, y - h + 3.5),
        ]),
        "pedicle": tube([(d - 2, y - 5, 5), (d + 9, y - 4, 4)]),
        "lamina and joint": curve([
            (d + 6, y - 8), (d + 10, y - 20), (d + 15, y - 17), (d + 14, y - 4), (d + 18, y + 8), (d + 12, y + 19),
            (d + 8, y + 6),
        ]),
        "spinous process": curve([
            (d + 14, y - 2), (d + 30, y + 2), (d + 36, y + 9), (d + 33, y + 19), (d + 22, y + 15), (d + 14, y + 9),
        ]),
        "transverse process": ellipse(d + 9, y - 4, 4, 4.5),
        "rib": tube([(d + 6, y - 6, 5), (d + 18, y + 4, 4.8), (d + 14, y + 30, 4.6), (d - 12, y + 62, 3.6)]),
    }  # fmt: skip
    shaft: tuple[Xy, Xy] = ((0, y - h), (0, y + h)) if part == "body" else ((d, y - 4), (d + 30, y + 6))
    turned = [_place(p, level, x, y) for p in (parts[part], np.asarray(shaft, np.float32))]
    (x0, y0), (x1, y1) = turned[1].tolist()
    return turned[0], ((x0, y0), (x1, y1))


def _place(points: Points, level: int, x: float, y: float) -> Points:
    """Tilt the points about the middle of their vertebra and move them by `x`."""
    a = np.deg2rad(_TILT_DEG[level])
    centre = np.array([0, y], np.float32)
    rotation = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]], np.float32)
    return np.asarray((points - centre) @ rotation + centre + np.array([x, 0], np.float32), np.float32)


def _lateral_bone(bone: Bone) -> Bone:
    outline, shaft = _lateral_shape(bone)
    wide = bone.name.endswith("body") or bone.name == "sacrum"
    return replace(bone, outline=outline, shaft=shaft, radius_mm=20.0 if wide else bone.radius_mm)


SPINE_LATERAL = Anatomy(
    image_mm=(212, 308),
    spacing_mm=0.225,
    region_mm=(-42, -128, 66, 140),
    bones=tuple(map(_lateral_bone, SPINE.bones)),
    tissues=(
        Tissue(
            outline=curve([
                (-122, -200), (-132, -60), (-138, 40), (-128, 140), (-120, 220), (92, 220), (86, 120), (70, 20),
                (80, -80), (88, -200),
            ]),
            radius_mm=105,
        ),
        Tissue(
            outline=curve([(-130, -200), (60, -200), (58, -130), (20, -112), (-50, -128), (-110, -150)]),
            radius_mm=45,
            density=-0.7,
        ),
    ),
    view_position="RL",
    paired=False,
    bowel_mm=(-120, -40, -40, 130),
)  # fmt: skip
