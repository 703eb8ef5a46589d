"""Knee, antero-posterior: the fibula is lateral, on the viewer's left for a right knee."""

from .shapes import Anatomy, Bone, Tissue, curve, tube

FEMUR = Bone(
    name="femur",
    outline=curve([
        (-15, -140), (-15, -100), (-17, -75), (-23, -55), (-33, -40), (-41, -27), (-42, -13), (-36, -3),
        (-25, -0.5), (-14, -3), (-7.5, -11), (-4, -19), (0, -21.5), (4, -19), (8, -11), (14, -2.5), (25, 1),
        (36, -2), (41.5, -12), (42, -26), (35, -40), (25, -54), (18, -74), (15, -100), (15, -140),
    ]),
    radius_mm=17,
    shaft=((0, -22), (0, -100)),
    cortex_mm=(1.6, 5.2),
    breaks=(0.3, 0.85),
)  # fmt: skip
TIBIA = Bone(
    name="tibia",
    outline=curve([
        (-39, 9), (-37, 5.5), (-24, 6.5), (-12, 6), (-7.5, 3), (-5, -3), (-2.5, 2), (2, 2), (5, -4), (8, 3),
        (13, 6.5), (25, 7.5), (37, 6.5), (40, 10), (38, 20), (30, 33), (21, 50), (17, 72), (15, 100), (15, 145),
        (-13, 145), (-13, 100), (-15, 72), (-19, 50), (-27, 34), (-36, 22),
    ]),
    radius_mm=16,
    shaft=((0, 10), (1, 95)),
    cortex_mm=(1.5, 4.8),
    breaks=(0.12, 0.85),
)  # fmt: skip
FIBULA = Bone(
    name="fibula",
    outline=tube(
        [(-40, 20, 4), (-38.5, 26, 8.2), (-36, 34, 7.5), (-33.5, 44, 5), (-31.5, 60, 5), (-30, 85, 5.8), (-30, 145, 6)]
    ),
    radius_mm=5.5,
    shaft=((-37, 30), (-30, 95)),
    cortex_mm=(1.0, 2.8),
    breaks=(0.2, 0.85),
)
PATELLA = Bone(
    name="patella",
    outline=curve([(-4, -57), (8, -56), (18, -48), (20, -37), (14, -25), (4, -15), (0, -13), (-7, -18), (-18, -29),
        (-21, -41),
                   (-15, -52)]),
    radius_mm=9,
    shaft=((-1, -52), (0, -20)),
    cortex_mm=(1.2, 1.2),
    breaks=(0.3, 0.7),
    density=0.75,
)  # fmt: skip

KNEE = Anatomy(
    image_mm=(158, 205),
    spacing_mm=0.16,
    region_mm=(-51, -70, 51, 70),
    bones=(FEMUR, TIBIA, FIBULA, PATELLA),
    tissues=(
        Tissue(
            outline=curve([
                (-58, -150), (-56, -90), (-52, -50), (-54, -10), (-52, 15), (-54, 45), (-55, 80), (-50, 150),
                (40, 150),
                (48, 85), (49, 45), (50, 15), (54, -10), (53, -45), (58, -90), (64, -150),
            ]),
            radius_mm=42,
        ),
    ),
    view_position="AP",
    limb=True,
)  # fmt: skip
