"""The bits of a stored value: their sign, and those above Bits Stored (DICOM PS3.5 8.1.1)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import HTJ2K, JPEG2000, JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless

from .attributes import whole, word

OVERLAY_GROUPS = range(0x6000, 0x6020, 2)
OVERLAY_BIT_POSITION = 0x0102

LOSSY = {JPEG2000, HTJ2K, JPEGLSNearLossless, JPEGBaseline8Bit, JPEGExtended12Bit}
"""Transfer syntaxes whose values may differ from those that were compressed."""


def bits_stored(ds: Dataset) -> int:
    """Return Bits Stored, 16 if it is absent; raises ValueError if it is not plausible."""
    bits = whole(ds, "BitsStored") or 16
    if not 1 < bits <= 16:
        raise ValueError(f"{bits} bits stored")
    return bits


def with_sign(raw: NDArray[Any], ds: Dataset) -> NDArray[Any]:
    """Return the samples as numbers with their sign, shifted down to bit 0.

    Bits above Bits Stored are kept, since the window may apply to them, too, unless they hold overlay planes.
    """
    allocated, bits = whole(ds, "BitsAllocated") or 16, bits_stored(ds)
    low_bit = whole(ds, "HighBit", bits - 1) + 1 - bits
    if 0 < low_bit <= allocated - bits and raw.dtype.itemsize * 8 == allocated:
        raw = raw.view(f"u{raw.dtype.itemsize}") >> low_bit
    if any(whole(ds, group << 16 | OVERLAY_BIT_POSITION) for group in OVERLAY_GROUPS):
        raw = raw & ((1 << bits) - 1)  # retired: overlays in the unused bits of the pixels
    if whole(ds, "PixelRepresentation") != 1:
        return raw.view(f"u{raw.dtype.itemsize}") if raw.dtype.kind == "i" else raw
    values = raw.astype(np.int16, copy=False)
    if raw.min() >= 0 and raw.max() < 1 << bits:  # the sign bit was not extended
        values = values << (16 - bits) >> (16 - bits)
    return values


def may_overshoot(ds: Dataset) -> bool:
    """Return whether values may lie a little above Bits Stored as an error of lossy compression, now or earlier."""
    return word(ds, "LossyImageCompression") == "01" or ds.file_meta.TransferSyntaxUID in LOSSY


def above_bits_stored(values: NDArray[Any], bits: int) -> NDArray[np.bool_]:
    """Return the mask of values that need more than `bits`."""
    low, high = _limits(values, bits)
    return np.asarray((values < low) | (values > high))


def exceeds_bits_stored(values: NDArray[Any], bits: int) -> bool:
    """Return whether any value needs more than `bits`."""
    low, high = _limits(values, bits)
    return bool(values.max() > high or values.min() < low)


def holds(values: NDArray[Any], bits: int, low: float, high: float) -> bool:
    """Return whether the range `low` to `high` of a window lies within the values of `bits`."""
    lowest, highest = _limits(values, bits)
    return lowest <= low and high <= highest + 1


def masked(values: NDArray[Any], bits: int) -> NDArray[Any]:
    """Return `values` without their bits above `bits`."""
    low, _ = _limits(values, bits)
    kept = values.astype(np.int32) & ((1 << bits) - 1)
    if low < 0:
        kept = np.where(kept >= -low, kept - (1 << bits), kept)
    return kept.astype(values.dtype)


def _limits(values: NDArray[Any], bits: int) -> tuple[int, int]:
    """Return the smallest and the largest value of `bits`, which have a sign if `values` have."""
    if values.dtype.kind == "i":
        return -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    return 0, (1 << bits) - 1
