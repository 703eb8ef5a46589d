"""Frames of regions: solid for positive, dashed for doubt, thin for negative.

Several regions are numbered. Lines and numbers are drawn outside the region if the picture has room.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from appliance.domain.finding import Answer, Box

from .band import without_colour
from .palette import ANSWER_COLOURS, BACKGROUND
from .text import font

Rectangle = tuple[int, int, int, int]
"""x0, y0, x1, y1 in whole px; x1 and y1 are exclusive."""

PER_LINE = 450
"""Longer side of the picture in line widths: lines stay visible when a viewer fits the picture to the screen."""


def draw_regions(panel: NDArray[np.uint8], regions: Sequence[tuple[Answer, Box]], size_px: int) -> None:
    """Draw frames and numbers into `panel`, (H, W, 3) or (H, W) uint8; `size_px` is the size of plain text."""
    height, width = panel.shape[:2]
    inners = [_clip_box(box, height, width) for _, box in regions]
    for number, ((answer, _), inner) in enumerate(zip(regions, inners, strict=True), 1):
        thick = max(2, round(max(height, width) / PER_LINE))
        line = max(1, thick // 2) if answer is Answer.NEGATIVE else thick
        dash = 6 * thick if answer is Answer.DOUBT else None
        strokes = list(_strokes(inner, line, dash, height, width))
        if panel.ndim == 2:  # without colour, only a black edge sets a line apart from bone
            for x0, y0, x1, y1 in strokes:
                panel[max(y0 - 1, 0) : y1 + 1, max(x0 - 1, 0) : x1 + 1] = 0
        for x0, y0, x1, y1 in strokes:
            panel[y0:y1, x0:x1] = ANSWER_COLOURS[answer] if panel.ndim == 3 else 255
        if len(regions) > 1:
            _draw_tag(panel, _tag(number, answer, size_px), inner, line, inners)


def _clip_box(box: Box, height: int, width: int) -> Rectangle:
    x0, x1 = (int(np.clip(round(x), 0, width)) for x in (box.x0, box.x1))
    y0, y1 = (int(np.clip(round(y), 0, height)) for y in (box.y0, box.y1))
    return x0, y0, x1, y1


def _strokes(inner: Rectangle, line: int, dash: int | None, height: int, width: int) -> Iterator[Rectangle]:
    """Yield the rectangles of the frame around `inner`, clipped to the picture."""
    left, top = max(inner[0] - line, 0), max(inner[1] - line, 0)
    right, bottom = min(inner[2] + line, width), min(inner[3] + line, height)
    for start, stop in _dashes(left, right, dash):
        yield start, top, stop, min(top + line, bottom)
        yield start, max(bottom - line, top), stop, bottom
    for start, stop in _dashes(top, bottom, dash):
        yield left, start, min(left + line, right), stop
        yield max(right - line, left), start, right, stop


def _dashes(start: int, stop: int, dash: int | None) -> Iterator[tuple[int, int]]:
    """Yield start and stop of each dash; of the whole line if `dash` is None."""
    if dash is None:
        yield start, stop
        return
    for first in range(start, stop, 2 * dash):
        yield first, min(first + dash, stop)


def _tag(number: int, answer: Answer, size_px: int) -> NDArray[np.uint8]:
    size = round(size_px * 1.3)
    tag = Image.new("RGB", (round(size * 1.1), round(size * 1.2)), ANSWER_COLOURS[answer])
    ImageDraw.Draw(tag).text((tag.width / 2, tag.height / 2), str(number), BACKGROUND, font(size), "mm")
    return np.asarray(tag)


def _draw_tag(
    panel: NDArray[np.uint8], tag: NDArray[np.uint8], inner: Rectangle, line: int, regions: Sequence[Rectangle]
) -> None:
    """Draw `tag` above, below, left or right of its region, where it covers no other; else at its corner."""
    h, w = tag.shape[:2]
    height, width = panel.shape[:2]
    x0, y0, x1, y1 = inner
    above, beside = y0 - line - h, max(y0 - line, 0)
    places = ((x0 - line, above), (x1 - w, above), (x0 - line, y1 + line), (x0 - line - w, beside), (x1 + line, beside))
    on_picture = [(x, y) for x, y in places if 0 <= x <= width - w and 0 <= y <= height - h]
    free = (at for at in on_picture if not any(_meet((*at, at[0] + w, at[1] + h), region) for region in regions))
    x, y = next(free, (on_picture or [(x0, y0)])[0])
    place = panel[y : y + h, x : x + w]
    place[:] = (tag if panel.ndim == 3 else without_colour(tag))[: place.shape[0], : place.shape[1]]


def _meet(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
