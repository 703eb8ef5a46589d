"""Wrist, lateral: fingers up, the palm on the viewer's left for a right wrist; carpals and metacarpals superposed."""

from dataclasses import replace

from .shapes import Anatomy, Bone, Points, Tissue, Xy, curve, ellipse, tube
from .wrist import WRIST

_OUTLINES: dict[str, Points] = {
    "radius": curve([
        (-10, 14), (-8, 9.5), (0, 7), (8, 3.5), (10, 6), (10, 14), (8, 26), (7, 48), (7, 80), (7, 125), (-7, 125),
        (-7, 80), (-8, 48), (-9, 28), (-11, 19),
    ]),
    "ulna": curve([
        (-2, 18), (1, 13), (6, 11), (10, 10), (12, 14), (12, 22), (11, 36), (11, 85), (11, 125), (-1, 125), (-1, 85),
        (-2, 36),
    ]),
    "scaphoid": ellipse(-5, -1, 6, 10.5, 30),
    "lunate": curve([(-7, 3), (-5, -3), (0, -4), (6, -4.5), (8, 0), (5, 6), (-3, 7.5)]),
    "triquetrum": ellipse(5, 0, 6, 7),
    "pisiform": ellipse(-10, 2, 4.5, 5.5),
    "capitate": ellipse(1, -15, 6.5, 11),
    "hamate": ellipse(1, -16, 8, 9.5),
    "trapezium": ellipse(-9, -16, 6, 7),
    "trapezoid": ellipse(0, -19, 6, 6.5),
}  # fmt: skip
_RAYS: dict[str, tuple[Xy, Xy]] = {
    "first metacarpal": ((-12, -24), (-33, -58)),
    "first proximal phalanx": ((-35, -64), (-44, -92)),
    "second metacarpal": ((3, -29), (8, -86)),
    "third metacarpal": ((2, -31), (5, -90)),
    "fourth metacarpal": ((-1, -30), (2, -84)),
    "fifth metacarpal": ((-4, -27), (-2, -76)),
    "second proximal phalanx": ((8, -95), (2, -135)),
    "third proximal phalanx": ((5, -99), (-4, -140)),
    "fourth proximal phalanx": ((2, -93), (-8, -132)),
    "fifth proximal phalanx": ((-3, -84), (-14, -115)),
}
_SHAFTS: dict[str, tuple[Xy, Xy]] = {
    "radius": ((0, 14), (0, 78)),
    "ulna": ((5, 18), (5, 78)),
    "scaphoid": ((-1, -7), (-9, 5)),
}


def _lateral_bone(bone: Bone) -> Bone:
    if bone.name not in _RAYS:
        return replace(bone, outline=_OUTLINES[bone.name], shaft=_SHAFTS.get(bone.name, bone.shaft))
    (x0, y0), (x1, y1) = _RAYS[bone.name]
    stations = [(0.0, 1.35), (0.12, 1.3), (0.3, 0.95), (0.5, 0.85), (0.7, 0.95), (0.87, 1.3), (1.0, 1.2)]
    outline = tube([(x0 + (x1 - x0) * t, y0 + (y1 - y0) * t, bone.radius_mm * w) for t, w in stations])
    return replace(bone, outline=outline, shaft=_RAYS[bone.name])


WRIST_LATERAL = Anatomy(
    image_mm=(130, 192),
    spacing_mm=0.14,
    region_mm=(-38, -58, 30, 62),
    bones=tuple(map(_lateral_bone, WRIST.bones)),
    tissues=(
        Tissue(
            outline=curve([
                (-22, 130), (-23, 60), (-22, 20), (-24, -5), (-36, -30), (-48, -62), (-56, -92), (-46, -100),
                (-34, -80), (-22, -72), (-26, -110), (-34, -150), (14, -155), (20, -100), (19, -60), (17, -25),
                (18, 10), (21, 60), (21, 130),
            ]),
            radius_mm=30,
        ),
    ),
    view_position="RL",
    limb=True,
)  # fmt: skip
