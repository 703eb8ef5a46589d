"""The picture that a radiologist sees: heat and region over the radiograph, and above it what they mean.

The band is added rows, so nothing covers anatomy. Heat is blended inside its own extent only, at the received
resolution. There is no patient's data in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from appliance.domain.finding import Answer, Box, Finding
from appliance.domain.result import Result
from appliance.ports import Heat
from kernels.reference import blend, sample

from .band import COLOURS, band, font

Window = tuple[int, int, int, int]
"""x0, y0, x1, y1 in whole px of the image."""


def overlay(grey: NDArray[np.uint8], result: Result, heats: Sequence[Heat] = ()) -> NDArray[np.uint8]:
    """(band + H, W, 3) uint8 from the radiograph `grey` (H, W) uint8 as displayed.

    Parameters
    ----------
    heats
        None, or one per finding in the order of `result.findings`. The map of a negative finding is not
        drawn: each is scaled to its own maximum, so it would show red where nothing was found.

    Raises
    ------
    ValueError
        If `heats` are of another number than the findings.
    """
    if heats and len(heats) != len(result.findings):
        raise ValueError(f"{len(heats)} heat maps for {len(result.findings)} findings")
    pairs = zip(result.findings, heats, strict=False)
    shown = [heat for finding, heat in pairs if finding.answer is not Answer.NEGATIVE]
    width = grey.shape[1]
    image = np.repeat(grey[..., None], 3, axis=2)
    _draw_heats(image, grey, shown)
    for number, finding in enumerate(result.findings, 1):
        _draw_region(image, finding, number if len(result.findings) > 1 else None)
    return np.concatenate([band(result, width, with_legend=bool(shown)), image])


def _draw_heats(image: NDArray[np.uint8], grey: NDArray[np.uint8], heats: Sequence[Heat]) -> None:
    height, width = grey.shape
    for heat in heats:
        x0, y0, x1, y1 = window = _window(heat.within, height, width)
        if x0 >= x1 or y0 >= y1:
            continue
        field = _sampled(heat, window)
        for other in heats:  # where extents overlap, the hotter map shows
            if other is not heat and _meet(other.within, window):
                np.maximum(field, _sampled(other, window), out=field)
        for rows in _strips(y0, y1):
            part = field[rows.start - y0 : rows.stop - y0]
            image[rows, x0:x1] = blend(grey[rows, x0:x1], part)


def _strips(start: int, stop: int, length: int = 32) -> Iterator[slice]:
    """Few rows at a time, so that the intermediate floats stay in the processor's cache."""
    for first in range(start, stop, length):
        yield slice(first, min(first + length, stop))


def _sampled(heat: Heat, window: Window) -> NDArray[np.float32]:
    x0, y0, x1, y1 = window
    left, top, right, bottom = heat.extent
    field = sample(heat.cells, y1 - y0, x1 - x0, (left - x0, top - y0, right - x0, bottom - y0))
    left, top, right, bottom = (round(v) for v in heat.within)  # beyond it is what the network never saw
    field[: max(top - y0, 0)] = field[max(bottom - y0, 0) :] = 0
    field[:, : max(left - x0, 0)] = field[:, max(right - x0, 0) :] = 0
    return field


def _window(within: tuple[float, float, float, float], height: int, width: int) -> Window:
    x0, y0, x1, y1 = within
    return (
        max(int(np.floor(x0)), 0),
        max(int(np.floor(y0)), 0),
        min(int(np.ceil(x1)), width),
        min(int(np.ceil(y1)), height),
    )


def _meet(within: tuple[float, float, float, float], window: Window) -> bool:
    return within[0] < window[2] and window[0] < within[2] and within[1] < window[3] and window[1] < within[3]


def _draw_region(image: NDArray[np.uint8], finding: Finding, number: int | None) -> None:
    """Solid for suspected, dashed for doubt, thin for nothing found; a number where there are several."""
    height, width = image.shape[:2]
    thick = max(2, round(width / 400))
    line = 1 if finding.answer is Answer.NEGATIVE else thick
    dash = 6 * thick if finding.answer is Answer.DOUBT else None
    colour = COLOURS[finding.answer]
    corners = _corners(finding.box, height, width)
    for (xa, ya), (xb, yb) in pairwise(corners):
        for start, stop in _dashes(abs(xb - xa) + abs(yb - ya), dash):
            sx, sy = np.sign(xb - xa), np.sign(yb - ya)
            xs = sorted((xa + sx * start, xa + sx * stop))
            ys = sorted((ya + sy * start, ya + sy * stop))
            _paint(image, xs, ys, line, colour)
    if number is not None:
        _draw_number(image, corners[0], number, colour)


def _corners(box: Box, height: int, width: int) -> list[tuple[int, int]]:
    x0, x1 = (int(np.clip(round(x), 0, width - 1)) for x in (box.x0, box.x1))
    y0, y1 = (int(np.clip(round(y), 0, height - 1)) for y in (box.y0, box.y1))
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]


def _dashes(length: int, dash: int | None) -> Iterator[tuple[int, int]]:
    if dash is None:
        yield 0, length
        return
    for start in range(0, length, 2 * dash):
        yield start, min(start + dash, length)


def _paint(image: NDArray[np.uint8], xs: list[int], ys: list[int], line: int, colour: tuple[int, int, int]) -> None:
    half = line // 2
    rows = slice(max(ys[0] - half, 0), ys[1] - half + line)
    columns = slice(max(xs[0] - half, 0), xs[1] - half + line)
    image[rows, columns] = colour


def _draw_number(image: NDArray[np.uint8], at: tuple[int, int], number: int, colour: tuple[int, int, int]) -> None:
    size = max(12, round(image.shape[1] / 45))
    tag = Image.new("RGB", (round(size * 1.1), round(size * 1.2)), colour)
    ImageDraw.Draw(tag).text((tag.width / 2, tag.height / 2), str(number), (0, 0, 0), font(size), "mm")
    x, y = at
    y = max(y - tag.height, 0)
    place = image[y : y + tag.height, x : x + tag.width]
    place[:] = np.asarray(tag)[: place.shape[0], : place.shape[1]]
