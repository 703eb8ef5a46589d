"""Wrist, postero-anterior: fingers up, thumb to the left, as one looks at the back of a right hand."""

from .shapes import Anatomy, Bone, Tissue, Xy, curve, ellipse, tube


def _carpal(name: str, points: list[Xy], breaks: tuple[Xy, Xy] | None = None) -> Bone:
    return Bone(
        name=name,
        outline=curve(points),
        radius_mm=7.0,
        shaft=breaks or ((points[0]), (points[2])),
        cortex_mm=(1.1, 1.1),
        breaks=(0.3, 0.7) if breaks else None,
    )


def _ray(name: str, base: Xy, head: Xy, half: float, breaks: tuple[float, float] | None = (0.3, 0.75)) -> Bone:
    (x0, y0), (x1, y1) = base, head
    widths = ((0.0, 1.45), (0.12, 1.35), (0.3, 0.95), (0.5, 0.85), (0.7, 0.95), (0.87, 1.35), (1.0, 1.25))
    return Bone(
        name=name,
        outline=tube([(x0 + (x1 - x0) * t, y0 + (y1 - y0) * t, half * w) for t, w in widths]),
        radius_mm=half * 0.95,
        shaft=(base, head),
        cortex_mm=(1.6, 1.3),
        breaks=breaks,
    )


RADIUS = Bone(
    name="radius",
    outline=curve([
        (-26, 0), (-22.5, 3.5), (-17, 8.5), (-8, 11.5), (1, 12), (6, 11.5), (8, 13.5), (7, 20), (3.5, 32), (0, 48),
        (-1.5, 80), (-1.5, 125), (-17, 125), (-17, 80), (-18.5, 50), (-23.5, 31), (-27.5, 17), (-28.5, 7),
    ]),
    radius_mm=8.5,
    shaft=((-10, 14), (-9, 78)),
    cortex_mm=(1.2, 3.4),
    breaks=(0.06, 0.8),
)  # fmt: skip
ULNA = Bone(
    name="ulna",
    outline=curve([
        (11, 22), (11.5, 17.5), (15, 15.5), (20, 16), (23, 13), (25, 9.5), (27, 10), (27.3, 15), (26, 24), (23, 36),
        (21, 55), (21, 85), (21, 125), (8.5, 125), (8.5, 85), (9.5, 55), (11.5, 36),
    ]),
    radius_mm=6.5,
    shaft=((18, 18), (15, 78)),
    cortex_mm=(1.1, 3.0),
    breaks=(0.15, 0.8),
)  # fmt: skip

BONES = (
    RADIUS,
    ULNA,
    _carpal("scaphoid", [(-24.5, -8), (-20, -11.5), (-14.5, -7), (-9.5, -3), (-8.5, 4.5), (-13.5, 7), (-19, 4),
    (-22, -1)],
            ((-21, -8), (-12, 5))),
    _carpal("lunate", [(-8, 0), (-2.5, -3), (3, -1), (5.5, 4), (3.5, 9), (-2, 9.5), (-6.5, 8)]),
    _carpal("triquetrum", [(6, -3), (11, -6), (17, -4), (19, 2), (15, 7), (9, 7.5), (6, 3)]),
    Bone(name="pisiform", outline=ellipse(13.5, 2.5, 4.6, 5.4), radius_mm=4, shaft=((13, 0), (13, 5)),
         cortex_mm=(0.8, 0.8), density=0.8),
    _carpal("trapezium", [(-31, -15), (-28, -21), (-21.5, -22), (-18, -17), (-19.5, -12), (-25, -10)]),
    _carpal("trapezoid", [(-18, -22), (-12.5, -24.5), (-9, -20), (-10.5, -13.5), (-15, -11.5), (-18, -15.5)]),
    _carpal("capitate", [(-9, -24), (-4, -26.5), (1.5, -25.5), (3.5, -18), (3, -9), (-1, -4.5), (-6, -6), (-9, -14)]),
    _carpal("hamate", [(3.5, -25), (10, -25), (17, -22.5), (17, -15), (13, -8), (8, -7), (4.5, -11)]),
    _ray("first metacarpal", (-30, -24), (-50, -58), 5.6),
    _ray("first proximal phalanx", (-52, -64), (-61, -92), 4.6, None),
    _ray("second metacarpal", (-15, -29), (-25, -86), 5.2),
    _ray("third metacarpal", (-3, -31), (-6, -90), 5.2),
    _ray("fourth metacarpal", (7, -30), (13, -84), 4.6),
    _ray("fifth metacarpal", (16.5, -27), (31, -76), 4.6),
    _ray("second proximal phalanx", (-26, -95), (-31, -135), 4.6, None),
    _ray("third proximal phalanx", (-6.5, -99), (-7, -140), 4.8, None),
    _ray("fourth proximal phalanx", (14, -93), (20, -132), 4.5, None),
    _ray("fifth proximal phalanx", (33, -84), (44, -115), 4.0, None),
)  # fmt: skip

WRIST = Anatomy(
    image_mm=(150, 192),
    spacing_mm=0.15,
    region_mm=(-44, -58, 40, 62),
    bones=BONES,
    tissues=(
        Tissue(
            outline=curve([
                (-33, 130), (-33, 60), (-36, 20), (-40, -8), (-54, -34), (-66, -62), (-73, -92), (-63, -100),
                (-54, -88),
                (-44, -68), (-38, -78), (-40, -110), (-40, -150), (0, -155), (54, -140), (52, -100), (43, -70),
                (34, -30),
                (33, 0), (34, 30), (32, 70), (31, 130),
            ]),
            radius_mm=17,
        ),
    ),
    view_position="PA",
    limb=True,
)  # fmt: skip
