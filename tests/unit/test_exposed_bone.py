"""The mask of exposed bone on drawn pictures, where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.analysis.exposed_bone import bone_mask, share_outside
from appliance.domain.finding import Box


def limb(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A limb of soft tissue (columns 90 to 170) with a bone in it (columns 120 to 140) on air."""
    picture = rng.normal(10, 3, (256, 256))
    picture[:, 90:170] = rng.normal(90, 4, (256, 80))
    picture[20:240, 120:140] = rng.normal(180, 6, (220, 20))
    return np.clip(picture, 0, 255).astype(np.uint8)


def test_the_mask_lies_on_the_bone_and_not_on_soft_tissue() -> None:
    mask = bone_mask(limb(np.random.default_rng(1)))
    assert mask[30:230, 122:138].mean() > 0.9
    assert mask[:, 95:112].mean() < 0.05 and mask[:, :80].mean() == 0


def test_a_strip_along_the_border_is_no_bone() -> None:
    picture = limb(np.random.default_rng(2))
    picture[244:, :] = 250
    assert bone_mask(picture)[246:].sum() == 0


def test_bone_outside_the_boxes_is_counted_as_a_share() -> None:
    mask = bone_mask(limb(np.random.default_rng(3)))
    upper_half = Box(x0=0, y0=0, x1=512, y1=260)
    assert share_outside(mask, [upper_half], 0.5) == pytest.approx(0.5, abs=0.05)
    assert share_outside(mask, [Box(x0=0, y0=0, x1=512, y1=512)], 0.5) == 0
    assert share_outside(mask, [], 0.5) == 1


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_blank_picture_has_no_bone(level: int) -> None:
    mask = bone_mask(np.full((256, 200), level, np.uint8))
    assert not mask.any() and share_outside(mask, [], 1) == 0
