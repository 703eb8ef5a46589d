"""The look at a picture as a whole: flat places, and bone outside the recognised regions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from appliance.analysis.appearance import look
from appliance.analysis.exposed_bone import SIDE_PX
from appliance.domain.finding import Box
from tests.support.pictures import limbs

LEFT, RIGHT = Box(x0=0, y0=0, x1=136, y1=512), Box(x0=136, y0=0, x1=512, y1=512)


def test_small_picture_has_the_same_scale_for_every_size() -> None:
    for side in (200, 512, 1700):
        seen = look(limbs(side))
        assert seen.grey.shape == (SIDE_PX, SIDE_PX) and seen.scale == SIDE_PX / side


def test_empty_background_is_flat_and_a_limb_is_not() -> None:
    seen = look(limbs(across=(72,)))
    assert seen.is_flat(Box(x0=300, y0=100, x1=500, y1=400))
    assert not seen.is_flat(Box(x0=20, y0=100, x1=130, y1=400))
    assert seen.is_flat(Box(x0=511.2, y0=0, x1=511.9, y1=0.4)), "a box of less than a pixel shows nothing"


def test_share_of_bone_outside_is_that_of_the_bones_in_no_box() -> None:
    pixels = limbs().pixels.copy()
    pixels[:60] = pixels[-60:] = 1100  # soft tissue: a strip from border to border would pass for the edge of a table
    seen = look(replace(limbs(), pixels=pixels))
    assert seen.bone_outside([LEFT, RIGHT]) == 0
    assert abs(seen.bone_outside([LEFT]) - 0.75) < 0.1
    assert seen.bone_outside([]) == 1


def test_polarity_of_an_inverted_picture_is_doubtful() -> None:
    upright = limbs(across=(72,))
    assert not look(upright).polarity_is_doubtful
    assert look(replace(upright, invert=True)).polarity_is_doubtful


def test_blank_picture_shows_no_bone() -> None:
    blank = replace(limbs(), pixels=np.full((512, 512), 700, np.uint16))
    assert look(blank).bone_outside([]) == 0 and not look(blank).polarity_is_doubtful
