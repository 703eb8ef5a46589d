"""Stage 1 in NumPy and Pillow: slow, short, and the definition that DALI is tested against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from appliance.domain.radiograph import StoredValues

from .recipe import IMAGE_PX, REGION_PX, Cut, Prepared, equalisation_table, fitted_size, windowing


def displayed(stored: StoredValues, pixels: NDArray[np.float32] | None = None) -> NDArray[np.uint8]:
    """What a viewer shows: window and polarity applied to `pixels` (default: all of them), (H, W) uint8."""
    a, b, sigmoid = windowing(stored)
    if pixels is None:
        levels = np.arange(65536, dtype=np.float32)  # one table beats arithmetic on millions of pixels
        table: NDArray[np.uint8] = _grey(levels, a, b, sigmoid, stored.invert)
        return table[stored.pixels]
    return _grey(pixels, a, b, sigmoid, stored.invert)


def _grey(values: NDArray[np.float32], a: float, b: float, sigmoid: bool, invert: bool) -> NDArray[np.uint8]:
    y = values * np.float32(a) + np.float32(b)
    with np.errstate(over="ignore"):
        y = 1.0 / (1.0 + np.exp(-y)) if sigmoid else np.clip(y, 0.0, 1.0)
    y = np.float32(1.0) - y if invert else y
    return np.floor(y * np.float32(255.0) + np.float32(0.5)).astype(np.uint8)


class ReferencePreprocessor:
    """The `Preprocessor` port without DALI."""

    def prepare(self, films: Sequence[StoredValues]) -> list[Prepared]:
        """Stage 1 of each."""
        return [self._prepared(stored) for stored in films]

    def regions(self, cuts: Sequence[Cut]) -> NDArray[np.uint8]:
        """(R, 256, 256) uint8, one of each of `cuts`."""
        out = np.zeros((len(cuts), REGION_PX, REGION_PX), np.uint8)
        for r, cut in enumerate(cuts):
            x0, y0, x1, y1 = cut.box.astype(float)
            out[r] = _padded(cut.table[self._fit(cut.stored, (x0, y0, x1, y1), REGION_PX)], REGION_PX)
        return out

    def _prepared(self, stored: StoredValues) -> Prepared:
        h, w = stored.pixels.shape
        fitted = self._fit(stored, (0.0, 0.0, float(w), float(h)), IMAGE_PX)
        table = equalisation_table(fitted)
        return Prepared(image=_padded(table[fitted], IMAGE_PX), table=table, scale=IMAGE_PX / max(h, w))

    @staticmethod
    def _fit(stored: StoredValues, box: tuple[float, float, float, float], side_px: int) -> NDArray[np.uint8]:
        x0, y0, x1, y1 = box
        h, w = fitted_size(y1 - y0, x1 - x0, side_px)
        resized = Image.fromarray(stored.pixels.astype(np.float32)).resize((w, h), Image.Resampling.BILINEAR, box=box)
        return displayed(stored, np.asarray(resized, np.float32))


def _padded(image: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    out = np.zeros((side_px, side_px), np.uint8)
    out[: image.shape[0], : image.shape[1]] = image
    return out
