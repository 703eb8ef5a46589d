"""Heat over grey at the size of a picture: what `kernels.reference` defines, at the speed of a table."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from appliance.config import Colours
from appliance.ports import Heat
from kernels.reference import blend, colour_map, sample

STEPS, PARTS = 255, 16
"""The colour map's steps, and the heats of each that the table tells apart: within 1 level of `blend`, 2 next to 0."""

STRIP_ROWS = 32
"""Few rows at a time, so that what is computed on the way stays in the processor's cache."""

Window = tuple[int, int, int, int]
"""x0, y0, x1, y1 in whole px of the picture."""


def colours_of(kind: Colours) -> NDArray[np.uint8]:
    """(256, 3) uint8, from little to strong."""
    return colour_map("sunset" if kind == "colour_blind" else "heat")


def draw_heats(panel: NDArray[np.uint8], grey: NDArray[np.uint8], heats: Sequence[Heat], kind: Colours) -> None:
    """Blend `heats`, in px of `grey` (H, W), over it into `panel` (H, W, 3); where they meet, the hottest shows."""
    table = _table(kind)
    pixels = panel.view("V3")[..., 0]
    fields = [_Field(heat, *grey.shape) for heat in heats]
    for field in fields:
        x0, y0, x1, y1 = field.window
        if x0 >= x1:
            continue
        others = [other for other in fields if other is not field and other.meets(field)]
        for top in range(y0, y1, STRIP_ROWS):
            rows, columns = slice(top, min(top + STRIP_ROWS, y1)), slice(x0, x1)
            level = field.at(rows, columns)
            for other in others:
                np.maximum(level, other.at(rows, columns), out=level)
            index = level.astype(np.intp)
            index <<= 8
            index += grey[rows, columns]
            pixels[rows, columns] = table.take(index, mode="clip")


class _Field:
    """A map as two matrices, whose product is its bilinear samples in parts of a colour step."""

    def __init__(self, heat: Heat, height: int, width: int) -> None:
        h = heat.cells.shape[0]
        left, top, right, bottom = heat.extent
        self._down = sample(np.eye(h, dtype=np.float32), height, h, (0, top, h, bottom))
        self._across = sample(heat.cells, h, width, (left, 0, right, h)) * np.float32(STEPS * PARTS)
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


@lru_cache(maxsize=2)
def _table(kind: Colours) -> NDArray[np.void]:
    """What `blend` makes of every part of a step (at its middle; of none at zero) and every grey level."""
    heat = np.linspace(0, 1, STEPS * PARTS + 1, dtype=np.float32) + np.float32(0.5 / (STEPS * PARTS))
    heat[0], heat[-1] = 0, 1
    levels = np.broadcast_to(heat[:, None], (heat.size, 256))
    grey = np.broadcast_to(np.arange(256, dtype=np.uint8), levels.shape)
    return np.ascontiguousarray(blend(grey, levels, colours=colours_of(kind))).view("V3").reshape(-1)
