"""The mark of a finding: the outline of its heat at half of the maximum."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.analysis.mark import outline
from appliance.domain.finding import Box
from appliance.ports import Heat

WHOLE = Box(x0=0, y0=0, x1=160, y1=160)


def heat(cells: NDArray[np.float32]) -> Heat:
    """Lay the cells over a square of 160 px: 10 px a cell of 16."""
    return Heat(cells=cells, extent=(0.0, 0.0, 160.0, 160.0), within=(0.0, 0.0, 160.0, 160.0))


def bump(x: float, y: float, width: float = 2.0, height: float = 1.0) -> NDArray[np.float32]:
    """Draw a Gaussian around a cell."""
    j, i = np.mgrid[0:16, 0:16]
    return (height * np.exp(-((i - x) ** 2 + (j - y) ** 2) / (2 * width**2))).astype(np.float32)


def test_mark_is_the_circle_at_which_the_heat_is_half_of_its_maximum() -> None:
    points = np.array(outline(heat(bump(7, 9)), WHOLE))
    radius = np.hypot(points[:, 0] - 75, points[:, 1] - 95)
    assert len(points) > 8
    assert radius == pytest.approx(
        np.full(len(points), 20 * np.sqrt(2 * np.log(2))), abs=2
    )  # half height of a Gaussian


def test_mark_goes_around_the_hottest_place_alone() -> None:
    points = np.array(outline(heat(np.maximum(bump(3, 3, 1, 0.8), bump(12, 12, 1))), WHOLE))
    assert points.min() > 90


def test_mark_of_heat_at_the_edge_is_closed_inside_the_region() -> None:
    points = np.array(outline(heat(bump(0, 8)), WHOLE))
    assert points[:, 0].min() == 0 and len(points) > 4
    clipped = np.array(outline(heat(bump(7, 9)), Box(x0=70, y0=0, x1=160, y1=90)))
    assert clipped[:, 0].min() == 70 and clipped[:, 1].max() == 90


@pytest.mark.parametrize("cells", [np.zeros((16, 16), np.float32), np.zeros((0, 0), np.float32)])
def test_heat_that_is_empty_has_no_mark(cells: NDArray[np.float32]) -> None:
    assert outline(heat(cells), WHOLE) == ()
