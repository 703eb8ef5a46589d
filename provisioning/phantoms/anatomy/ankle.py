"""Ankle, lateral: the toes point to the left, the heel to the right."""

from .shapes import Anatomy, Bone, Tissue, Xy, curve, tube


def _tarsal(name: str, points: list[Xy]) -> Bone:
    return Bone(name=name, outline=curve(points), radius_mm=10, shaft=(points[0], points[3]), cortex_mm=(1.2, 1.2))


def _metatarsal(name: str, base: Xy, head: Xy, half: float) -> Bone:
    (x0, y0), (x1, y1) = base, head
    widths = ((0.0, 1.5), (0.12, 1.4), (0.3, 1.0), (0.55, 0.9), (0.85, 1.2), (1.0, 1.3))
    return Bone(
        name=name,
        outline=tube([(x0 + (x1 - x0) * t, y0 + (y1 - y0) * t, half * w) for t, w in widths]),
        radius_mm=half,
        shaft=(base, head),
        cortex_mm=(1.6, 1.6),
        density=0.7,
    )


TIBIA = Bone(
    name="tibia",
    outline=curve([
        (-16, -140), (-16, -80), (-17, -50), (-20, -28), (-23, -13), (-22, -6), (-17, -7), (-9, -11), (1, -12.5),
        (10, -10), (16, -4.5), (19, -6), (19, -16), (15, -32), (12, -52), (11, -80), (11, -140),
    ]),
    radius_mm=13.5,
    shaft=((-1, -14), (-2, -85)),
    cortex_mm=(1.3, 4.6),
    breaks=(0.12, 0.8),
)  # fmt: skip
FIBULA = Bone(
    name="fibula",
    outline=tube(
        [(11, -140, 6), (11, -80, 5.6), (9.5, -45, 5.2), (7, -22, 6.2), (4.5, -6, 7.8), (3.5, 5, 7), (4, 12, 4)]
    ),
    radius_mm=6,
    shaft=((4, 8), (10, -70)),
    cortex_mm=(1.2, 2.8),
    breaks=(0.15, 0.75),
    density=0.9,
)
TALUS = Bone(
    name="talus",
    outline=curve([
        (-20, -2), (-10, -7), (0, -8.5), (10, -6), (17, 0.5), (21, 8), (24, 13), (19, 16.5), (9, 16), (1, 20),
        (-8, 24.5), (-17, 24), (-25, 26), (-34, 27), (-40, 22), (-40.5, 13), (-35, 7.5), (-27, 4),
    ]),
    radius_mm=14,
    shaft=((-33, 17), (10, 5)),
    cortex_mm=(1.3, 1.3),
    breaks=(0.2, 0.6),
)  # fmt: skip
CALCANEUS = Bone(
    name="calcaneus",
    outline=curve([
        (-31, 33), (-22, 29.5), (-14, 28.5), (-5, 28), (3, 23.5), (12, 19.5), (19, 20), (30, 22), (43, 21), (55, 22),
        (60, 32), (60, 45), (54, 56), (45, 59), (38, 54), (22, 51), (5, 49), (-12, 49), (-27, 50), (-33, 43),
    ]),
    radius_mm=15,
    shaft=((-18, 40), (44, 38)),
    cortex_mm=(1.5, 1.5),
    breaks=(0.25, 0.8),
)  # fmt: skip

ANKLE = Anatomy(
    image_mm=(186, 186),
    spacing_mm=0.155,
    region_mm=(-48, -62, 66, 64),
    bones=(
        TIBIA,
        FIBULA,
        TALUS,
        CALCANEUS,
        _tarsal("navicular", [(-44, 12), (-48, 13), (-52, 19), (-52, 28), (-47, 32), (-42.5, 27), (-43, 19)]),
        _tarsal("cuboid", [(-36, 36), (-42, 35), (-52, 37), (-57, 43), (-55, 51), (-46, 52), (-36, 51)]),
        _tarsal("cuneiforms", [(-55, 18), (-62, 20), (-70, 26), (-70, 37), (-64, 40), (-56, 34)]),
        _metatarsal("fifth metatarsal", (-58, 50), (-122, 66), 4.8),
        _metatarsal("third metatarsal", (-72, 36), (-130, 58), 5.0),
        _metatarsal("first metatarsal", (-73, 29), (-130, 50), 6.5),
    ),
    tissues=(
        Tissue(
            outline=curve([
                (-34, -145), (-32, -80), (-30, -45), (-34, -20), (-46, -2), (-66, 8), (-90, 18), (-135, 34),
                (-140, 78),
                (-110, 79), (-80, 68), (-50, 63), (-20, 65), (20, 67), (50, 71), (68, 64), (74, 46), (72, 26),
                (58, 4),
                (44, -16), (40, -45), (46, -80), (52, -145),
            ]),
            radius_mm=30,
        ),
    ),
    view_position="RL",
    limb=True,
)  # fmt: skip
