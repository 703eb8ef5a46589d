"""Lumbar spine, antero-posterior: a column of bodies, each with two pedicles and a spinous process, on the sacrum."""

from .shapes import Anatomy, Bone, Tissue, curve, ellipse, mirror, mirror_bone, tube

PITCH_MM = 36.5
"""Distance from one vertebra to the next."""

BODY_MM = 27.0
"""Height of a vertebra's body."""


def _vertebra(level: int) -> list[Bone]:
    """Return the bones of a vertebra; level 0 is T11, 1 is T12, 2 to 6 are L1 to L5."""
    name = ("T11", "T12", "L1", "L2", "L3", "L4", "L5")[level]
    y = -112.0 + PITCH_MM * level
    half = 18.0 + 1.35 * level
    h = BODY_MM / 2
    body = Bone(
        name=f"{name} body",
        outline=curve([
            (-half, y - h), (-half * 0.5, y - h + 1), (0, y - h + 1.6), (half * 0.5, y - h + 1), (half, y - h),
            (half + 0.8, y - h + 3.5),
            (half * 0.88, y - 2), (half * 0.88, y + 2), (half + 0.8, y + h - 3.5), (half, y + h),
            (half * 0.5, y + h - 1),
            (0, y + h - 1.6), (-half * 0.5, y + h - 1), (-half, y + h), (-half - 0.8, y + h - 3.5),
            (-half * 0.88, y + 2),
            (-half * 0.88, y - 2), (-half - 0.8, y - h + 3.5),
        ]),
        radius_mm=15,
        shaft=((0, y - h), (0, y + h)),
        cortex_mm=(1.7, 1.7),
        breaks=(0.3, 0.7) if 1 <= level <= 5 else None,
    )  # fmt: skip
    pedicle = Bone(
        name=f"{name} pedicle", outline=ellipse(-half * 0.66, y - 3.5, 4.2, 6.6), radius_mm=6, shaft=((0, y),
            (0, y + 1)),
        cortex_mm=(1.9, 1.9), density=0.85,
    )  # fmt: skip
    spinous = Bone(
        name=f"{name} spinous process",
        outline=curve([(0, y + 1), (2.6, y + 6), (4.4, y + 15), (3.2, y + 20), (0, y + 21.5), (-3.2, y + 20),
            (-4.4, y + 15), (-2.6, y + 6)]),
        radius_mm=7, shaft=((0, y), (0, y + 20)), cortex_mm=(1.8, 1.8), density=0.8,
    )  # fmt: skip
    lamina = Bone(
        name=f"{name} lamina and joint",
        outline=curve([(-2, y), (-8, y - 4), (-13, y - 14), (-16, y - 18), (-18, y - 12), (-15, y + 2),
            (-15, y + 14), (-17, y + 20),
                       (-13, y + 20), (-10, y + 10), (-4, y + 8)]),
        radius_mm=4, shaft=((0, y), (-10, y)), cortex_mm=(1.0, 1.0), density=0.4,
    )  # fmt: skip
    bones = [body, pedicle, mirror_bone(pedicle), lamina, mirror_bone(lamina), spinous]
    if level >= 2:
        reach = half + (22, 26, 30, 25, 20)[level - 2]
        transverse = Bone(
            name=f"{name} transverse process",
            outline=tube([(-half * 0.75, y - 3, 5), (-half - 5, y - 4.5, 3.8), (-reach + 6, y - 6, 4.0),
                (-reach, y - 7, 3)]),
            radius_mm=3.5, shaft=((-half, y - 3), (-reach, y - 6)), cortex_mm=(1.2, 1.2), density=0.8,
        )  # fmt: skip
        bones += [transverse, mirror_bone(transverse)]
    else:
        droop = 30 + 18 * level
        rib = Bone(
            name=f"{name} rib",
            outline=tube([(-half * 0.8, y - 6, 5), (-half - 16, y - 4, 4.8), (-half - 38, y + droop * 0.4, 4.6),
                (-half - 62 + 12 * level, y + droop, 3.6)]),
            radius_mm=4, shaft=((-half, y), (-half - 40, y + 10)), cortex_mm=(1.1, 1.1), density=0.75,
        )  # fmt: skip
        bones += [rib, mirror_bone(rib)]
    return bones


SACRUM = Bone(
    name="sacrum",
    outline=curve([
        (-28, 126), (0, 129), (28, 126), (44, 130), (50, 142), (44, 170), (30, 200), (-30, 200), (-44, 170),
        (-50, 142), (-44, 130),
    ]),
    radius_mm=13,
    shaft=((0, 126), (0, 190)),
    cortex_mm=(1.7, 1.7),
    density=0.8,
    holes=tuple(ellipse(s * x, y, 4, 3, s * 20) for x, y in ((22, 146), (19, 164)) for s in (-1, 1)),
)  # fmt: skip
ILIUM = Bone(
    name="ilium",
    outline=curve([(-43, 146), (-41, 128), (-52, 112), (-74, 103), (-98, 106), (-125, 120), (-150, 160),
        (-150, 230), (-60, 230), (-48, 180)]),
    radius_mm=6, shaft=((-60, 180), (-80, 106)), cortex_mm=(2.0, 2.0), density=0.9,
)  # fmt: skip

_PSOAS = curve(
    [(-14, -60), (-22, -30), (-34, 20), (-50, 75), (-60, 120), (-62, 190), (-25, 190), (-20, 100), (-16, 20)]
)

SPINE = Anatomy(
    image_mm=(212, 308),
    spacing_mm=0.225,
    region_mm=(-62, -128, 62, 140),
    bones=(SACRUM, ILIUM, mirror_bone(ILIUM), *(b for level in range(7) for b in _vertebra(level))),
    tissues=(
        Tissue(outline=curve([(-150, -200), (-140, -60), (-128, 20), (-140, 110), (-150, 220), (150, 220),
            (140, 110), (128, 20),
                              (140, -60), (150, -200)]), radius_mm=90),
        Tissue(outline=_PSOAS, radius_mm=14, density=0.9),
        Tissue(outline=mirror(_PSOAS), radius_mm=14, density=0.9),
        Tissue(outline=curve([(-100, -200), (-40, -190), (-36, -140), (-52, -112), (-84, -96),
            (-120, -90)]), radius_mm=30, density=-0.7),
        Tissue(outline=curve([(100, -200), (36, -190), (34, -140), (50, -116), (84, -100),
            (120, -94)]), radius_mm=30, density=-0.7),
    ),
    view_position="AP",
    paired=False,
    bowel_mm=(-105, -20, 105, 140),
)  # fmt: skip
