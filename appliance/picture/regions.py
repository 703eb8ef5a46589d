"""Lines on the radiograph: marks of findings, frames of regions, and dimmed regions that were not read.

The mark of a suspected or possible fracture is its location: it has the strong colour of the verdict, solid for a
suspected and dashed for a possible fracture. The frame of a region is thin and neutral; it has the colour of the
verdict only where a suspicion has no mark. Several regions are numbered. Frames and numbers are drawn outside the
region if the picture has room, the gravest region last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from appliance.domain.finding import Answer, Box, Verdict

from .band import without_colour
from .palette import ANSWER_COLOURS, BACKGROUND, NEUTRAL, Colour
from .text import font

Rectangle = tuple[int, int, int, int]
"""x0, y0, x1, y1 in whole px; x1 and y1 are exclusive."""

PER_LINE = 450
"""Longer side of the picture in line widths: lines stay visible when a viewer fits the picture to the screen."""

DASH = 6
"""Length of a dash in line widths."""

MARK = 1.5
"""Width of a mark in line widths."""

EDGE = 0.6
"""Opacity of the black edge that sets a mark apart from bone and from heat."""

DIMMED = 0.4
"""Brightness of a region that was not read: visibly set apart, and its bones can still be recognised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A region that was read, in px of the picture; `mark` is empty where its heat is."""

    verdict: Verdict
    box: Box
    mark: tuple[tuple[float, float], ...] = ()


def dim_unread(panel: NDArray[np.uint8], unread: Sequence[Box], read: Sequence[Box]) -> None:
    """Dim the boxes of `unread` in `panel`, (H, W, 3) or (H, W) uint8, outside the boxes of `read`, and frame them."""
    if not unread:  # a mask of the whole picture takes as long as the heat
        return
    height, width = panel.shape[:2]
    is_dimmed = np.zeros((height, width), bool)
    inners = [_clip_box(box, height, width) for box in unread]
    for x0, y0, x1, y1 in inners:
        is_dimmed[y0:y1, x0:x1] = True
    for x0, y0, x1, y1 in (_clip_box(box, height, width) for box in read):
        is_dimmed[y0:y1, x0:x1] = False
    panel[is_dimmed] = (panel[is_dimmed] * np.float32(DIMMED)).astype(np.uint8)
    _, line = _line_widths(height, width)
    for inner in inners:
        _draw_frame(panel, _strokes(inner, line, 3 * line, height, width), ANSWER_COLOURS[Answer.INCOMPLETE])


def draw_regions(panel: NDArray[np.uint8], regions: Sequence[Region], size_px: int) -> None:
    """Draw frames, marks and numbers into `panel`, (H, W, 3) or (H, W) uint8; `size_px` is the size of plain text."""
    height, width = panel.shape[:2]
    thick, thin = _line_widths(height, width)
    inners = [_clip_box(region.box, height, width) for region in regions]
    by_gravity = sorted(enumerate(regions), key=lambda pair: (pair[1].verdict.severity, -pair[0]))
    for k, region in by_gravity:
        is_marked = not region.verdict.is_suspicious or bool(region.mark)
        line, colour = (thin, NEUTRAL) if is_marked else (thick, ANSWER_COLOURS[region.verdict])
        dash = DASH * thick if region.verdict is Verdict.DOUBT and not is_marked else None
        _draw_frame(panel, _strokes(inners[k], line, dash, height, width), colour)
    for _, region in by_gravity:
        if region.verdict.is_suspicious and region.mark:
            _draw_mark(panel, region, round(MARK * thick))
    if len(regions) < 2:
        return
    taken: list[Rectangle] = []
    for k, region in reversed(by_gravity):
        taken.append(_draw_tag(panel, _tag(k + 1, region.verdict, size_px), inners[k], thin, (inners, taken)))


def _line_widths(height: int, width: int) -> tuple[int, int]:
    """Return the widths of strong and of thin lines."""
    thick = max(2, round(max(height, width) / PER_LINE))
    return thick, max(1, thick // 2)


def _clip_box(box: Box, height: int, width: int) -> Rectangle:
    x0, x1 = (int(np.clip(round(x), 0, width)) for x in (box.x0, box.x1))
    y0, y1 = (int(np.clip(round(y), 0, height)) for y in (box.y0, box.y1))
    return x0, y0, x1, y1


def _draw_frame(panel: NDArray[np.uint8], strokes: Iterator[Rectangle], colour: Colour) -> None:
    lines = list(strokes)
    if panel.ndim == 2:  # without colour, only a black edge sets a line apart from bone
        for x0, y0, x1, y1 in lines:
            panel[max(y0 - 1, 0) : y1 + 1, max(x0 - 1, 0) : x1 + 1] = 0
    for x0, y0, x1, y1 in lines:
        panel[y0:y1, x0:x1] = colour if panel.ndim == 3 else max(colour)


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


def _draw_mark(panel: NDArray[np.uint8], region: Region, line: int) -> None:
    """Draw the closed outline of a mark, dashed for a possible fracture, on a black edge."""
    height, width = panel.shape[:2]
    xs, ys = (np.array(axis) for axis in zip(*region.mark, strict=True))
    margin = 2 * line
    left, top = max(int(xs.min()) - margin, 0), max(int(ys.min()) - margin, 0)
    right, bottom = min(int(xs.max()) + margin + 1, width), min(int(ys.max()) + margin + 1, height)
    if left >= right or top >= bottom:
        return
    drawn = Image.new("L", (2 * (right - left), 2 * (bottom - top)))  # twice as large, so that its edges are smooth
    draw = ImageDraw.Draw(drawn)
    points = [(2 * (x - left), 2 * (y - top)) for x, y in zip(xs, ys, strict=True)]
    dash = 2 * DASH * line / MARK if region.verdict is Verdict.DOUBT else None
    for stroke in _outline(points, dash):
        draw.line(stroke, 255, 2 * line, joint="curve")
    size = (right - left, bottom - top)
    inside = panel[top:bottom, left:right]
    edge = drawn.filter(ImageFilter.MaxFilter(3 if line < 6 else 5))
    colour: Colour = ANSWER_COLOURS[region.verdict] if panel.ndim == 3 else (255, 255, 255)
    for mask, ink, opacity in ((edge, (0, 0, 0), EDGE), (drawn, colour, 1.0)):
        alpha = np.asarray(mask.resize(size, Image.Resampling.BOX), np.float32) * np.float32(opacity / 255)
        if panel.ndim == 3:
            inside[:] = np.rint(inside + (np.array(ink, np.float32) - inside) * alpha[..., None]).astype(np.uint8)
        else:
            inside[:] = np.rint(inside + (np.float32(ink[0]) - inside) * alpha).astype(np.uint8)


def _outline(points: Sequence[tuple[float, float]], dash: float | None) -> Iterator[list[tuple[float, float]]]:
    """Yield the strokes of the closed outline through `points`: one, or dashes as long as their gaps."""
    closed = np.array([*points, points[0]], float)
    if dash is None:
        yield [(float(x), float(y)) for x, y in [*closed, closed[1]]]
        return
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
    count = max(2, round(along[-1] / (2 * dash)))
    step = along[-1] / (2 * count)
    for k in range(count):
        start, stop = 2 * k * step, (2 * k + 1) * step
        at = np.unique([start, *along[(along > start) & (along < stop)], stop])
        stroke = zip(np.interp(at, along, closed[:, 0]), np.interp(at, along, closed[:, 1]), strict=True)
        yield [(float(x), float(y)) for x, y in stroke]


def _tag(number: int, answer: Verdict, size_px: int) -> NDArray[np.uint8]:
    size = round(size_px * 1.3)
    tag = Image.new("RGB", (round(size * 1.1), round(size * 1.2)), ANSWER_COLOURS[answer])
    ImageDraw.Draw(tag).text((tag.width / 2, tag.height / 2), str(number), BACKGROUND, font(size), "mm")
    return np.asarray(tag)


def _draw_tag(
    panel: NDArray[np.uint8],
    tag: NDArray[np.uint8],
    inner: Rectangle,
    line: int,
    covered: tuple[Sequence[Rectangle], Sequence[Rectangle]],
) -> Rectangle:
    """Draw `tag` beside its region, where it covers neither a region nor a tag; return its rectangle.

    Without such a place the tag covers a region, and is drawn where it covers no other tag, nearest to its region.

    Parameters
    ----------
    covered
        The regions and the tags that are drawn already.
    """
    h, w = tag.shape[:2]
    height, width = panel.shape[:2]
    regions, tags = covered
    places = list(_places(inner, line, (h, w), (height, width)))
    without_tags = [at for at in places if not any(_meet((*at, at[0] + w, at[1] + h), tag) for tag in tags)]
    free = (at for at in without_tags if not any(_meet((*at, at[0] + w, at[1] + h), region) for region in regions))
    x, y = next(free, (without_tags or places or [(0, 0)])[0])
    place = panel[y : y + h, x : x + w]
    place[:] = (tag if panel.ndim == 3 else without_colour(tag))[: place.shape[0], : place.shape[1]]
    return x, y, x + w, y + h


def _places(inner: Rectangle, line: int, tag: tuple[int, int], panel: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield places for a tag (h, w) on a panel (H, W): around its region, at its corners, then by distance."""
    (x0, y0, x1, y1), (h, w), (height, width) = inner, tag, panel
    if h > height or w > width:
        return
    above, beside = y0 - line - h, max(y0 - line, 0)
    around = ((x0 - line, above), (x1 - w, above), (x0 - line, y1 + line), (x0 - line - w, beside), (x1 + line, beside))
    corners = ((x0, y0), (x1 - w, y0), (x0, y1 - h), (x1 - w, y1 - h))
    for x, y in (*around, *corners):
        if 0 <= x <= width - w and 0 <= y <= height - h:
            yield x, y
    grid = [(x, y) for y in range(0, height - h + 1, h) for x in range(0, width - w + 1, w)]
    yield from sorted(grid, key=lambda at: abs(at[0] - x0) + abs(at[1] - y0))


def _meet(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
