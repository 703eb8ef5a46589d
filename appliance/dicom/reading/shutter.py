"""The Display Shutter: an area that workstations cover counts as not exposed (DICOM PS3.3 C.7.6.11)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydicom.dataset import Dataset

from .attributes import numbers, whole, words

EDGES = {
    "RECTANGULAR": (
        "ShutterLeftVerticalEdge", "ShutterRightVerticalEdge",
        "ShutterUpperHorizontalEdge", "ShutterLowerHorizontalEdge",
    ),
    "CIRCULAR": ("CenterOfCircularShutter", "RadiusOfCircularShutter"),
    "POLYGONAL": ("VerticesOfThePolygonalShutter",),
}  # fmt: skip
"""Required attributes of each shape."""

FEWEST_VERTICES = 3

LARGEST_PX = 1 << 16
"""Coordinates beyond it, which is larger than Rows and Columns can be, are the same as this one."""

LEAST_OPENING = 0.01
"""Least share of the image that a shutter leaves open: two points or a radius of 0 mean no shutter."""


def whole_shutters(ds: Dataset) -> dict[str, list[int]]:
    """Return the numbers of each shutter of `ds` by its shape.

    A shutter with a missing or broken attribute is none; nor is one that leaves next to nothing open.
    """
    image_px = whole(ds, "Rows") * whole(ds, "Columns")
    found = {}
    for shape in dict.fromkeys(words(ds, "ShutterShape")):
        each = [numbers(ds, keyword) for keyword in EDGES.get(shape, ())]
        values = [value for of_one in each for value in of_one]
        if not values or any(math.isnan(value) for value in values):
            continue
        if shape == "POLYGONAL":
            is_whole = len(values) % 2 == 0 and len(values) >= 2 * FEWEST_VERTICES
        else:
            is_whole = [len(of_one) for of_one in each] == ([2, 1] if shape == "CIRCULAR" else [1, 1, 1, 1])
        if not is_whole:
            continue
        edges = [int(min(max(value, -LARGEST_PX), LARGEST_PX)) for value in values]
        if _opening_px(shape, edges) >= LEAST_OPENING * image_px:
            found[shape] = edges
    return found


def _opening_px(shape: str, edges: list[int]) -> float:
    """Return the area that a shutter leaves open."""
    if shape == "RECTANGULAR":
        left, right, upper, lower = edges
        return max(right - left + 1, 0) * max(lower - upper + 1, 0)
    if shape == "CIRCULAR":
        return math.pi * edges[2] ** 2
    rows, columns = np.array(edges[::2], float), np.array(edges[1::2], float)
    return float(abs(rows @ np.roll(columns, 1) - columns @ np.roll(rows, 1))) / 2


def outside_shutter(ds: Dataset, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return (H, W) bool: True where the shutters of `ds` cover the image.

    A shutter without all of its attributes covers nothing. Its coordinates count from 1.
    """
    shutters = whole_shutters(ds)
    outside = np.zeros(shape, bool)
    height, width = shape
    if "RECTANGULAR" in shutters:
        left, right, upper, lower = shutters["RECTANGULAR"]
        outside[: max(upper - 1, 0)] = True
        outside[max(lower, 0) :] = True
        outside[:, : max(left - 1, 0)] = True
        outside[:, max(right, 0) :] = True
    if "CIRCULAR" in shutters:
        row, column, radius = shutters["CIRCULAR"]
        y, x = np.ogrid[:height, :width]
        outside |= (y - (row - 1)) ** 2 + (x - (column - 1)) ** 2 > radius**2
    if "POLYGONAL" in shutters:
        vertices = [value - 1 for value in shutters["POLYGONAL"]]
        covered = Image.new("1", (width, height), 1)
        ImageDraw.Draw(covered).polygon(list(zip(vertices[1::2], vertices[::2], strict=True)), fill=0)
        outside |= np.asarray(covered)
    return outside
