"""Pelvis, antero-posterior: one half is drawn and mirror about the symphysis, the sacrum lies between."""

from .shapes import Anatomy, Bone, Tissue, curve, ellipse, mirror_bone, tube

ILIUM = Bone(
    name="ilium",
    outline=curve([
        (-46, -62), (-42, -86), (-40, -104), (-50, -120), (-70, -131), (-96, -130), (-118, -118), (-133, -97),
        (-139, -74), (-134, -62), (-124, -50), (-120, -36), (-123, -26), (-118, -16), (-112, -8), (-100, -18),
        (-88, -16), (-77, -6), (-72, 8), (-66, 10), (-64, -4), (-58, -22), (-50, -42),
    ]),
    radius_mm=7.5,
    shaft=((-88, -28), (-96, -112)),
    cortex_mm=(2.6, 2.0),
    breaks=(0.15, 0.6),
)  # fmt: skip
ISCHIOPUBIS = Bone(
    name="ischium and pubis",
    outline=curve([
        (-76, -6), (-66, -4), (-56, 8), (-40, 17), (-22, 24), (-10, 29), (-4, 36), (-4, 56), (-8, 64), (-17, 66),
        (-28, 72), (-42, 84), (-56, 94), (-70, 93), (-80, 82), (-83, 66), (-79, 52), (-76, 40), (-84, 32),
        (-82, 12),
    ]),
    radius_mm=9,
    shaft=((-66, 10), (-14, 38)),
    cortex_mm=(2.0, 1.6),
    breaks=(0.45, 0.85),
    holes=(
        curve([
            (-60, 32), (-46, 29), (-32, 34), (-25, 44), (-28, 55), (-39, 66), (-52, 74), (-62, 70), (-65, 55),
            (-64, 42),
        ]),
    ),
)  # fmt: skip
FEMUR = Bone(
    name="femur",
    outline=curve([
        (-94, -14), (-82, -11), (-73, -2), (-71, 11), (-75, 23), (-86, 32), (-98, 36), (-106, 44), (-107, 52),
        (-113, 60), (-116, 75), (-118, 110), (-120, 170), (-150, 170), (-149, 110), (-149, 75), (-151, 55),
        (-153, 38), (-150, 22), (-143, 10), (-134, 8), (-126, 14), (-118, 11), (-110, -1), (-104, -10),
    ]),
    radius_mm=16,
    shaft=((-94, 10), (-134, 38)),
    cortex_mm=(1.8, 3.4),
    breaks=(0.5, 0.95),
)  # fmt: skip
SACRUM = Bone(
    name="sacrum",
    outline=curve([
        (-24, -112), (0, -108), (24, -112), (38, -108), (50, -98), (51, -82), (45, -62), (36, -44), (25, -28),
        (14, -14), (7, 2), (3, 13), (0, 17), (-3, 13), (-7, 2), (-14, -14), (-25, -28), (-36, -44), (-45, -62),
        (-51, -82), (-50, -98), (-38, -108),
    ]),
    radius_mm=14,
    shaft=((0, -100), (0, -20)),
    cortex_mm=(1.8, 1.5),
    density=0.8,
    holes=tuple(
        ellipse(side * x, y, 4.2, 3.0, side * 20)
        for x, y in ((22, -84), (19, -66), (15, -49), (11, -33))
        for side in (-1, 1)
    ),
)  # fmt: skip
FIFTH_LUMBAR = Bone(
    name="fifth lumbar vertebra",
    outline=curve(
        [(-27, -150), (-24, -132), (-26, -119), (0, -116), (26, -119), (24, -132), (27, -150), (26, -170), (-26, -170)]
    ),
    radius_mm=15,
    shaft=((0, -150), (0, -120)),
    cortex_mm=(1.6, 1.6),
    density=0.7,
)
TRANSVERSE = Bone(
    name="transverse process",
    outline=tube([(-22, -141, 6), (-36, -143, 5), (-52, -148, 4)]),
    radius_mm=4,
    shaft=((-22, -141), (-52, -148)),
    cortex_mm=(1.2, 1.2),
    density=0.7,
)  # fmt: skip
_RIGHT = (TRANSVERSE, ILIUM, ISCHIOPUBIS, FEMUR)

PELVIS = Anatomy(
    image_mm=(390, 318),
    spacing_mm=0.29,
    region_mm=(-166, -140, 166, 108),
    bones=(FIFTH_LUMBAR, SACRUM, *_RIGHT, *(mirror_bone(b) for b in _RIGHT)),
    tissues=(
        Tissue(
            outline=curve([
                (-150, -200), (-152, -140), (-165, -90), (-182, -40), (-190, 20), (-190, 90), (-182, 200),
                (-34, 210), (-20, 130),
                (0, 108), (20, 130), (34, 210), (182, 200), (190, 90), (190, 20), (182, -40), (165, -90),
                (152, -140), (150, -200),
            ]),
            radius_mm=95,
        ),
    ),
    view_position="AP",
    paired=False,
    bowel_mm=(-70, -140, 70, 10),
)  # fmt: skip
