"""Outline the heat of a region at half of its own maximum: the mark, which outputs call the location of a finding."""

from __future__ import annotations

import contourpy
import numpy as np
from numpy.typing import NDArray

from appliance.domain.finding import Box
from appliance.ports import Heat

HALF = 0.5
"""Share of the maximum at which the heat is outlined."""


def outline(heat: Heat, region: Box) -> tuple[tuple[float, float], ...]:
    """Return the closed outline around the hottest cell, (x, y) in px of the received image, clipped to the region.

    The last point joins the first and is not repeated. Empty where the heat is empty.
    """
    cells = heat.cells
    top = float(cells.max(initial=0.0))
    if top <= 0:
        return ()
    rows, columns = cells.shape
    x0, y0, x1, y1 = heat.extent
    # a border of cold cells closes the outline of heat that reaches the edge of the crop
    xs = x0 + (np.arange(-1, columns + 1) + 0.5) / columns * (x1 - x0)
    ys = y0 + (np.arange(-1, rows + 1) + 0.5) / rows * (y1 - y0)
    lines = contourpy.contour_generator(xs, ys, np.pad(cells, 1)).lines(HALF * top)
    j, i = np.unravel_index(int(cells.argmax()), cells.shape)
    around = [line for line in map(np.asarray, lines) if _holds(line, float(xs[i + 1]), float(ys[j + 1]))]
    if not around:
        return ()
    line = max(around, key=len)[:-1]
    clipped = np.stack([line[:, 0].clip(region.x0, region.x1), line[:, 1].clip(region.y0, region.y1)], 1)
    points = list(dict.fromkeys((round(float(x), 1), round(float(y), 1)) for x, y in clipped))
    return tuple(points) if len(points) > 2 else ()


def _holds(line: NDArray[np.float64], x: float, y: float) -> bool:
    """Whether a closed line (n, 2) goes around a point: the ray to the right crosses it an odd number of times."""
    (ax, ay), (bx, by) = line[:-1].T, line[1:].T
    crosses = (ay > y) != (by > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = ax + (y - ay) / (by - ay) * (bx - ax)
    return bool((crosses & (x < at)).sum() % 2)
