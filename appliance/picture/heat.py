"""The heat map over a radiograph: drawn on the CPU, or by a kernel of the GPU.

`kernels.reference.overlay` defines the picture that both draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from appliance.config import Colours
from appliance.domain.finding import Answer, Verdict
from appliance.ports import Heat
from kernels.operations import TooLarge
from kernels.reference import OPACITY, colour_map, sample

STRIP_ROWS = 32
"""Rows drawn at a time: few, so that intermediate values stay in the cache of the processor."""

FINER = 4
"""Cells drawn for each cell of a map and axis: between them, bilinear drawing shows no edges."""

FAINTEST = 0.25
"""Heat, relative to the maximum of its map, below which nothing is drawn: the foot of every map is diffuse."""

ORANGE = 0.8
"""Level of orange in both colour maps (`kernels.reference.colour_map`), the top of a possible fracture."""

Window = tuple[int, int, int, int]
"""x0, y0, x1, y1 in whole px of the picture."""

Draw = Callable[[NDArray[np.uint8], NDArray[np.uint8], Sequence[Heat], Colours], None]
"""Function that draws a radiograph and its heat maps into a panel, as `draw_heats` does."""


class OverlayKernel(Protocol):
    """Blending of heat over grey: `kernels.reference`, or an implementation tested against it."""

    def overlay(self, grey: NDArray[np.uint8], heats: Sequence[Heat], colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return (H, W, 3) uint8 on the host; see `kernels.reference.overlay`."""
        ...


def colours_of(kind: Colours) -> NDArray[np.uint8]:
    """Return the colour map, (256, 3) uint8 from little to strong heat."""
    return colour_map("sunset" if kind == "colour_blind" else "heat")


def colours_up_to(kind: Colours, answer: Answer) -> NDArray[np.uint8]:
    """Return the part of the colour map, (n, 3) uint8, that the heat maps of an answer use."""
    colours = colours_of(kind)
    return colours[: round(ORANGE * 255) + 1] if answer is Answer.DOUBT else colours


def shown_heat(heat: Heat, verdict: Verdict) -> Heat:
    """Return the heat map as it is drawn: smooth, without its foot, and for a possible fracture at most orange.

    The cells are interpolated by cubic splines to `FINER` times as many; heat below `FAINTEST` becomes 0, which is
    transparent, and the maximum becomes the top colour of the verdict.
    """
    cells = np.asarray(heat.cells, np.float32)
    h, w = cells.shape
    if peak := float(cells.max(initial=0.0)):
        cells = cells / np.float32(peak)
    fine = np.asarray(Image.fromarray(cells).resize((w * FINER, h * FINER), Image.Resampling.BICUBIC))
    shown = ((fine - FAINTEST) / (1 - FAINTEST)).clip(0, 1)
    top = ORANGE if verdict is Verdict.DOUBT else 1.0
    return replace(heat, cells=np.ascontiguousarray(shown * top, np.float32))


def draw_heats(panel: NDArray[np.uint8], grey: NDArray[np.uint8], heats: Sequence[Heat], kind: Colours) -> None:
    """Draw the radiograph `grey` (H, W) into `panel` (H, W, 3) with `heats` over it, on the CPU.

    The heats are in px of `grey`; where two overlap, the hotter one is drawn.
    """
    for c in range(3):  # faster than one broadcast
        panel[..., c] = grey
    table = [np.ascontiguousarray(channel, np.float32) for channel in colours_of(kind).T]
    fields = [_Field(heat, *grey.shape) for heat in heats]
    for field in fields:
        x0, y0, x1, y1 = field.window
        if x0 >= x1:
            continue
        others = [other for other in fields if other is not field and other.meets(field)]
        for top in range(y0, y1, STRIP_ROWS):
            rows, columns = slice(top, min(top + STRIP_ROWS, y1)), slice(x0, x1)
            heat = field.at(rows, columns)
            for other in others:
                np.maximum(heat, other.at(rows, columns), out=heat)
            index = np.rint(heat * np.float32(255)).astype(np.intp)
            alpha = np.sqrt(heat, out=heat)
            alpha *= np.float32(OPACITY)
            below = grey[rows, columns].astype(np.float32)
            above = np.empty_like(below)
            for c in range(3):
                table[c].take(index, out=above, mode="clip")
                above -= below
                above *= alpha
                above += below
                above += np.float32(0.5)
                panel[rows, columns, c] = above


def drawn_by(kernels: OverlayKernel) -> Draw:
    """Return a function like `draw_heats` that uses `kernels`.

    Pictures without heat, or larger than the buffers of `kernels`, are drawn on the CPU.
    """

    def draw(panel: NDArray[np.uint8], grey: NDArray[np.uint8], heats: Sequence[Heat], kind: Colours) -> None:
        try:
            blended = kernels.overlay(grey, heats, colours_of(kind)) if heats else None
        except TooLarge:
            blended = None
        if blended is None:
            draw_heats(panel, grey, heats, kind)
        else:
            panel[...] = blended

    return draw


class _Field:
    """A heat map as two matrices: their product is the bilinear interpolation at every pixel.

    Each row of the picture lies between two rows of the map, so that a strip needs few columns of the first matrix.
    NumPy's BLAS would multiply all of them, and wake a thread on every core for each strip.
    """

    def __init__(self, heat: Heat, height: int, width: int) -> None:
        h = heat.cells.shape[0]
        left, top, right, bottom = heat.extent
        self._down = sample(np.eye(h, dtype=np.float32), height, h, (0, top, h, bottom))
        self._across = sample(heat.cells, h, width, (left, 0, right, h))
        x0, y0, x1, y1 = (round(border) for border in heat.within)  # the network did not see more
        self.window: Window = (max(x0, 0), max(y0, 0), min(x1, width), min(y1, height))
        self._down[: max(y0, 0)] = self._down[max(y1, 0) :] = 0
        self._across[:, : max(x0, 0)] = self._across[:, max(x1, 0) :] = 0
        is_used = self._down > 0
        self._first, self._end = is_used.argmax(axis=1), h - is_used[:, ::-1].argmax(axis=1)

    def at(self, rows: slice, columns: slice) -> NDArray[np.float32]:
        """Return the heat at `rows` and `columns` of the picture."""
        cells = slice(self._first[rows].min(), self._end[rows].max())
        heat: NDArray[np.float32] = np.einsum("ij,jk->ik", self._down[rows, cells], self._across[cells, columns])
        return heat

    def meets(self, other: _Field) -> bool:
        """Return whether the two windows share pixels."""
        (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = self.window, other.window
        return ax0 < bx1 and bx0 < ax1 and ay0 < by1 and by0 < ay1
