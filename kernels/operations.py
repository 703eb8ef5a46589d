"""The operations of `reference` as launches of the kernels in gradcam.cu, on a GPU or on the CPU.

Arguments with which a kernel would read or write beyond its arrays are refused here, since a GPU may not notice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import ceil, floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .reference import OPACITY, PlacedHeat, colour_map

BLOCK, ACROSS, DEEP, PIXELS = 128, 32, 8, 16
"""Sizes of blocks and tiles, as in gradcam.cu."""

LARGEST_PX = 2**30
"""Largest number of pixels that the overlay's 32-bit indices can count."""

_EDGES = ("left", "top", "right", "bottom")
_PLACE = ("first", "height", "width")
_AXES = ("x0", "y0", "dx", "dy")
LAYER = np.dtype([(n, np.int32) for n in _EDGES + _PLACE] + [(n, np.float32) for n in _AXES])
"""The struct Layer of gradcam.cu."""

Buffer = Any
"""An array in the memory in which the kernels run; it has a `shape` and a `dtype`."""


class KernelError(Exception):
    """The kernels cannot run, or were called with arguments that they cannot take; the message says what to do."""


class TooLarge(KernelError):
    """An array is larger than its buffer: nothing was computed, and the kernels can be called again."""


class Operations(ABC):
    """The functions of `reference` by the same names, on arrays that need be neither contiguous nor aligned."""

    def channel_weights(self, gradients: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, K): see `reference.channel_weights`."""
        return self._give(self._channel_weights(gradients))

    def combine(self, activations: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, h, w): see `reference.combine`."""
        return self._give(self._combine(activations, self._taken("weights", weights, np.float32, 2)))

    def normalise(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, h, w): see `reference.normalise`."""
        return self._give(self._normalised(self._taken("maps", maps, np.float32, 3)))

    def evidence(self, activations: NDArray[np.float32], gradients: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, h, w): see `reference.evidence`; the host waits once, after both kernels."""
        return self._give(self._combine(activations, self._channel_weights(gradients)))

    def gradcam(self, activations: NDArray[np.float32], gradients: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, h, w): see `reference.gradcam`; the host waits once, after all three kernels."""
        return self._give(self._normalised(self._combine(activations, self._channel_weights(gradients))))

    def overlay(
        self,
        grey: NDArray[np.uint8],
        heats: Sequence[PlacedHeat],
        colours: NDArray[np.uint8] | None = None,
        opacity: float = OPACITY,
    ) -> NDArray[np.uint8]:
        """(H, W, 3): see `reference.overlay`."""
        image = self._taken("grey", grey, np.uint8, 2)
        height, width = image.shape
        if height * width > LARGEST_PX:
            raise TooLarge(f"a radiograph of {height} x {width} px: the overlay counts to {LARGEST_PX}")
        table = np.zeros((256, 4), np.uint8)
        table[:, :3] = colour_map() if colours is None else colours
        layers, cells = layers_on(heats, height, width)
        rgb = self._made("rgb", (height, width, 3), np.uint8)
        self._launch(
            "overlay",
            (-(-height * width // (BLOCK * PIXELS)), 1, 1),
            (BLOCK, 1, 1),
            image,
            self._taken("layers", layers, LAYER, 1),
            self._taken("cells", cells, np.float32, 1),
            self._taken("colours", table, np.uint8, 2),
            rgb,
            *(np.int32(n) for n in (len(layers), width, height * width)),
            np.float32(opacity),
        )
        return self._give(rgb)

    def _channel_weights(self, gradients: NDArray[np.float32]) -> Buffer:
        source = self._taken("gradients", gradients, np.float32, 4)
        n, channels, height, width = source.shape
        weights = self._made("weights", (n, channels), np.float32)
        cells = np.int32(height * width)
        self._launch("channel_weights", (n * channels, 1, 1), (BLOCK, 1, 1), source, weights, cells)
        return weights

    def _combine(self, activations: NDArray[np.float32], weights: Buffer) -> Buffer:
        source = self._taken("activations", activations, np.float32, 4)
        n, channels, height, width = source.shape
        if weights.shape != (n, channels):
            raise KernelError(f"weights {weights.shape} for activations {source.shape}")
        maps = self._made("maps", (n, height, width), np.float32)
        grid, counts = (-(-height * width // ACROSS), n, 1), (np.int32(channels), np.int32(height * width))
        self._launch("combine", grid, (ACROSS, DEEP, 1), source, weights, maps, *counts)
        return maps

    def _normalised(self, maps: Buffer) -> Buffer:
        n, height, width = maps.shape
        normalised = self._made("normalised", maps.shape, np.float32)
        self._launch("normalise", (n, 1, 1), (BLOCK, 1, 1), maps, normalised, np.int32(height * width))
        return normalised

    def _taken(self, name: str, array: Any, dtype: Any, dimensions: int) -> Buffer:
        taken = self._take(name, array)
        if taken.dtype != dtype or len(taken.shape) != dimensions:
            raise KernelError(f"{name} is {taken.dtype} {taken.shape}, wanted {np.dtype(dtype)}, {dimensions} axes")
        return taken

    def _launch(self, kernel: str, grid: tuple[int, int, int], block: tuple[int, int, int], *arguments: Any) -> None:
        if all(grid):  # else there are no maps or no pixels
            self._run(kernel, grid, block, *arguments)

    @abstractmethod
    def _take(self, name: str, array: NDArray[Any]) -> Buffer:
        """Return a copy of `array` in the kernels' memory, dense and aligned to 16 bytes, or `array` if it is there."""

    @abstractmethod
    def _made(self, name: str, shape: tuple[int, ...], dtype: Any) -> Buffer:
        """Return an uninitialised array for a result, aligned to 16 bytes."""

    @abstractmethod
    def _give(self, buffer: Buffer) -> NDArray[Any]:
        """Wait for all earlier launches and return the result as an array that the caller owns."""

    @abstractmethod
    def _run(self, kernel: str, grid: tuple[int, int, int], block: tuple[int, int, int], *arguments: Any) -> None: ...


def layers_on(heats: Sequence[PlacedHeat], height: int, width: int) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Return (L,) `LAYER` for the `heats` that reach an image of this size, and their cells one after another.

    The pixels that a map colours are computed here, in double precision and as in `reference`.
    """
    layers, cells, first = [], [np.zeros(0, np.float32)], 0
    for heat in heats:
        x0, y0, x1, y1 = heat.extent
        left, right = _pixels(width, x0, x1, heat.within[0], heat.within[2])
        top, bottom = _pixels(height, y0, y1, heat.within[1], heat.within[3])
        if left >= right or top >= bottom:
            continue
        rows, columns = heat.cells.shape
        dx, dy = columns / (x1 - x0), rows / (y1 - y0)
        at = ((left + 0.5 - x0) * dx - 0.5, (top + 0.5 - y0) * dy - 0.5)
        layers.append((left, top, right, bottom, first, rows, columns, *at, dx, dy))
        cells.append(np.asarray(heat.cells, np.float32).ravel())
        first += rows * columns
    return np.array(layers, LAYER), np.concatenate(cells)


def _pixels(length: int, start: float, stop: float, first: float, last: float) -> tuple[int, int]:
    """Return first (inclusive) and last (exclusive) pixel with centres on the map, inside its window and the image."""
    return max(floor(start - 0.5) + 1, round(first), 0), min(ceil(stop - 0.5), round(last), length)
