"""Shoulder, antero-posterior: the arm on the viewer's left for a right shoulder, the chest wall on the right."""

from .shapes import Anatomy, Bone, Tissue, curve, ellipse, tube

HUMERUS = Bone(
    name="humerus",
    outline=curve([
        (-50, -38), (-40, -42), (-28, -40), (-18, -31), (-14, -18), (-17, -5), (-26, 5), (-36, 12), (-41, 24),
        (-44, 45), (-47, 75), (-49, 130), (-73, 130), (-72, 75), (-70, 45), (-69, 20), (-69, -2), (-68, -18),
        (-62, -30), (-56, -33),
    ]),
    radius_mm=14,
    shaft=((-44, -14), (-60, 80)),
    cortex_mm=(1.5, 4.6),
    breaks=(0.25, 0.85),
)  # fmt: skip
SCAPULA = Bone(
    name="scapula",
    outline=curve([
        (-11, -34), (-4, -37), (6, -37), (18, -44), (34, -52), (52, -55), (58, -48), (56, -20), (52, 15), (46, 55),
        (41, 88), (35, 94), (29, 86), (21, 55), (11, 25), (2, 12), (-6, 7), (-10, -2), (-8, -16),
    ]),
    radius_mm=3.2,
    shaft=((2, -16), (40, 60)),
    cortex_mm=(1.3, 0.9),
    breaks=(0.1, 0.4),
)  # fmt: skip
GLENOID = Bone(
    name="glenoid",
    outline=ellipse(-6.5, -14, 5.2, 20, 4),
    radius_mm=5.5,
    shaft=((-6, -28), (-6, 2)),
    cortex_mm=(1.2, 1.2),
    density=0.8,
)
CORACOID = Bone(
    name="coracoid",
    outline=curve([(12, -40), (16, -47), (8, -52), (-4, -50), (-12, -42), (-14, -34), (-9, -31), (-2, -37), (5, -38)]),
    radius_mm=5,
    shaft=((10, -46), (-10, -36)),
    cortex_mm=(1.1, 1.1),
    density=0.9,
)
ACROMION = Bone(
    name="acromion",
    outline=curve([
        (54, -33), (52, -40), (30, -48), (8, -58), (-16, -63), (-36, -61), (-52, -53), (-60, -46), (-56, -42),
        (-44, -45.5), (-28, -50), (-10, -50), (8, -45), (30, -37),
    ]),
    radius_mm=4.8,
    shaft=((40, -41), (-50, -49)),
    cortex_mm=(1.2, 1.2),
    breaks=(0.5, 0.85),
    density=0.75,
)  # fmt: skip
CLAVICLE = Bone(
    name="clavicle",
    outline=tube([(-30, -68, 6.5), (-20, -68.5, 6.8), (-5, -71, 6.2), (15, -74, 5.8), (40, -73, 5.6), (65, -67, 5.8),
                  (90, -61, 6.6), (110, -58, 8.5), (140, -57, 10)]),
    radius_mm=6,
    shaft=((-25, -68), (90, -61)),
    cortex_mm=(1.6, 2.6),
    breaks=(0.2, 0.78),
)  # fmt: skip


def _rib(number: int) -> Bone:
    y = -48 + 29 * number
    x = 62 - 5 * number
    stations = [
        (150, y - 24, 4.8), (125, y - 21, 4.8), (102, y - 14, 4.8), (84, y - 3, 5.0), (x + 8, y + 14, 5.2),
        (x, y + 30, 5.4),
        (x + 4, y + 44, 5.6), (x + 18, y + 56, 5.6), (x + 40, y + 66, 5.4), (x + 75, y + 76, 5.2),
    ]  # fmt: skip
    return Bone(
        name=f"rib {number + 2}",
        outline=tube(stations),
        radius_mm=4,
        shaft=((84, y - 3), (x, y + 30)),
        cortex_mm=(1.0, 1.0),
        density=0.55,
    )


SHOULDER = Anatomy(
    image_mm=(228, 190),
    spacing_mm=0.175,
    region_mm=(-84, -84, 64, 70),
    bones=(*(_rib(n) for n in range(4)), SCAPULA, GLENOID, HUMERUS, ACROMION, CORACOID, CLAVICLE),
    tissues=(
        Tissue(
            outline=curve([
                (-92, 140), (-95, 80), (-96, 30), (-93, -15), (-82, -50), (-60, -74), (-25, -86), (20, -92),
                (60, -108),
                (80, -150), (190, -160), (190, 150), (60, 160), (10, 150), (-10, 120), (-22, 92), (-32, 105),
                (-36, 145),
            ]),
            radius_mm=48,
        ),
        Tissue(
            outline=curve([
                (150, -52), (118, -50), (92, -35), (76, -8), (66, 25), (62, 65), (62, 110), (68, 170), (160, 170),
                (170, 60),
            ]),
            radius_mm=38,
            density=-0.62,
        ),
    ),
    view_position="AP",
)  # fmt: skip
