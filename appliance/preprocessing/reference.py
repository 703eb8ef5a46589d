"""Stage 1 in NumPy and Pillow: slow, short, and the definition against which DALI is tested."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from appliance.domain.radiograph import StoredValues

from .recipe import IMAGE_PX, REGION_PX, Cut, Prepared, equalisation_table, fitted_size, windowing

STRIP_ROWS = 64
"""Rows looked up at a time: their indices, which NumPy widens to 64 bits, stay in the cache of the processor."""


def displayed(stored: StoredValues, pixels: NDArray[np.float32] | None = None) -> NDArray[np.uint8]:
    """Apply window and polarity to `pixels` (default: all of `stored`), as a viewer does; (H, W) uint8."""
    a, b, sigmoid = windowing(stored)
    if pixels is None:
        levels = np.arange(65536, dtype=np.float32)  # a table is faster than arithmetic on millions of pixels
        table: NDArray[np.uint8] = _grey(levels, a, b, sigmoid, stored.invert)
        shown = np.empty(stored.pixels.shape, np.uint8)
        for top in range(0, len(shown), STRIP_ROWS):
            rows = slice(top, top + STRIP_ROWS)
            table.take(stored.pixels[rows], out=shown[rows], mode="clip")
        return shown
    return _grey(pixels, a, b, sigmoid, stored.invert)


def _grey(values: NDArray[np.float32], a: float, b: float, sigmoid: bool, invert: bool) -> NDArray[np.uint8]:
    y = values * np.float32(a) + np.float32(b)
    with np.errstate(over="ignore"):
        y = 1.0 / (1.0 + np.exp(-y)) if sigmoid else np.clip(y, 0.0, 1.0)
    y = np.float32(1.0) - y if invert else y
    return np.floor(y * np.float32(255.0) + np.float32(0.5)).astype(np.uint8)


class ReferencePreprocessor:
    """The `Preprocessor` port without DALI."""

    def prepare(self, radiographs: Sequence[StoredValues]) -> list[Prepared]:
        """Run stage 1 on each radiograph."""
        return [self._prepare_one(stored) for stored in radiographs]

    def regions(self, cuts: Sequence[Cut]) -> NDArray[np.uint8]:
        """Resample each of `cuts` to (R, 256, 256) uint8, padded with 0."""
        out = np.zeros((len(cuts), REGION_PX, REGION_PX), np.uint8)
        for r, cut in enumerate(cuts):
            x0, y0, x1, y1 = cut.box.astype(float)
            out[r] = _pad(cut.table[self._fit(cut.stored, (x0, y0, x1, y1), REGION_PX)], REGION_PX)
        return out

    def _prepare_one(self, stored: StoredValues) -> Prepared:
        h, w = stored.pixels.shape
        fitted = self._fit(stored, (0.0, 0.0, float(w), float(h)), IMAGE_PX)
        table = equalisation_table(fitted)
        return Prepared(image=_pad(table[fitted], IMAGE_PX), table=table, scale=IMAGE_PX / max(h, w))

    @staticmethod
    def _fit(stored: StoredValues, box: tuple[float, float, float, float], side_px: int) -> NDArray[np.uint8]:
        x0, y0, x1, y1 = box
        h, w = fitted_size(y1 - y0, x1 - x0, side_px)
        resized = Image.fromarray(stored.pixels.astype(np.float32)).resize((w, h), Image.Resampling.BILINEAR, box=box)
        return displayed(stored, np.asarray(resized, np.float32))


def _pad(image: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    out = np.zeros((side_px, side_px), np.uint8)
    out[: image.shape[0], : image.shape[1]] = image
    return out
