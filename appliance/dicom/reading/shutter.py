"""The Display Shutter: an area that workstations cover counts as not exposed (DICOM PS3.3 C.7.6.11)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydicom.dataset import Dataset

from .attributes import as_list

EDGES = {
    "RECTANGULAR": (
        "ShutterLeftVerticalEdge", "ShutterRightVerticalEdge",
        "ShutterUpperHorizontalEdge", "ShutterLowerHorizontalEdge",
    ),
    "CIRCULAR": ("CenterOfCircularShutter", "RadiusOfCircularShutter"),
    "POLYGONAL": ("VerticesOfThePolygonalShutter",),
}  # fmt: skip
"""Required attributes of each shape."""


def outside_shutter(ds: Dataset, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return (H, W) bool: True where the shutters of `ds` cover the image.

    A shutter without all of its attributes covers nothing. Its coordinates count from 1.
    """
    named = {str(v).upper() for v in as_list(ds.get("ShutterShape"))}
    shapes = {shape for shape in named & EDGES.keys() if all(ds.get(k) is not None for k in EDGES[shape])}
    outside = np.zeros(shape, bool)
    height, width = shape
    if "RECTANGULAR" in shapes:
        outside[: max(int(ds.ShutterUpperHorizontalEdge) - 1, 0)] = True
        outside[max(int(ds.ShutterLowerHorizontalEdge), 0) :] = True
        outside[:, : max(int(ds.ShutterLeftVerticalEdge) - 1, 0)] = True
        outside[:, max(int(ds.ShutterRightVerticalEdge), 0) :] = True
    if "CIRCULAR" in shapes:
        row, column = (int(v) - 1 for v in ds.CenterOfCircularShutter)
        y, x = np.ogrid[:height, :width]
        outside |= (y - row) ** 2 + (x - column) ** 2 > int(ds.RadiusOfCircularShutter) ** 2
    if "POLYGONAL" in shapes:
        vertices = [int(v) - 1 for v in ds.VerticesOfThePolygonalShutter]
        covered = Image.new("1", (width, height), 1)
        ImageDraw.Draw(covered).polygon(list(zip(vertices[1::2], vertices[::2], strict=True)), fill=0)
        outside |= np.asarray(covered)
    return outside
