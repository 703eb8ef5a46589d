"""Heat over grey at the size of a picture: on the CPU, a few rows and one colour at a time, or by a GPU's kernel.

`kernels.reference.overlay` defines the picture that both make.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from appliance.config import Colours
from appliance.ports import Heat
from kernels.operations import TooLarge
from kernels.reference import OPACITY, colour_map, sample

STRIP_ROWS = 32
"""Few rows at a time, so that what is computed on the way stays in the processor's cache."""

Window = tuple[int, int, int, int]
"""x0, y0, x1, y1 in whole px of the picture."""

Draw = Callable[[NDArray[np.uint8], NDArray[np.uint8], Sequence[Heat], Colours], None]
"""Draws into the panel (H, W, 3) the radiograph `grey` (H, W) and over it heats in px of that; see `draw_heats`."""


class OverlayKernel(Protocol):
    """What blends heat over grey: `kernels.reference` or what is tested against it."""

    def overlay(self, grey: NDArray[np.uint8], heats: Sequence[Heat], colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) on the host; see `kernels.reference.overlay`."""
        ...


def colours_of(kind: Colours) -> NDArray[np.uint8]:
    """(256, 3) uint8, from little to strong."""
    return colour_map("sunset" if kind == "colour_blind" else "heat")


def draw_heats(panel: NDArray[np.uint8], grey: NDArray[np.uint8], heats: Sequence[Heat], kind: Colours) -> None:
    """Draw `grey` (H, W) into `panel` (H, W, 3), over it `heats` in px of it; where they meet, the hottest shows."""
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
    """`draw_heats` by `kernels`; what is larger than their buffers, or has no heat to blend, is left to the CPU."""

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
    """A map as two matrices, whose product is its bilinear samples."""

    def __init__(self, heat: Heat, height: int, width: int) -> None:
        h = heat.cells.shape[0]
        left, top, right, bottom = heat.extent
        self._down = sample(np.eye(h, dtype=np.float32), height, h, (0, top, h, bottom))
        self._across = sample(heat.cells, h, width, (left, 0, right, h))
        x0, y0, x1, y1 = (round(border) for border in heat.within)  # beyond is what the network never saw
        self.window: Window = (max(x0, 0), max(y0, 0), min(x1, width), min(y1, height))
        self._down[: max(y0, 0)] = self._down[max(y1, 0) :] = 0
        self._across[:, : max(x0, 0)] = self._across[:, max(x1, 0) :] = 0

    def at(self, rows: slice, columns: slice) -> NDArray[np.float32]:
        """The part of it that lies there."""
        return self._down[rows] @ self._across[:, columns]

    def meets(self, other: _Field) -> bool:
        """Whether the two share pixels."""
        (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = self.window, other.window
        return ax0 < bx1 and bx0 < ax1 and ay0 < by1 and by0 < ay1
