"""Look-up tables of the Modality LUT and VOI LUT sequences (DICOM PS3.3 C.11.1.1, C.11.2.1.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from .attributes import UNREADABLE

NEARLY_BLACK_BITS = 2
"""Bits by which the entries of a table may fall short of its depth. With one more its brightest entry is dark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupTable:
    """A table of grey levels.

    Attributes
    ----------
    levels
        (n,) the entries, n at least 1.
    first
        Value that the first entry stands for, as written: a negative value may be written as US.
    bits
        Depth of the entries, as declared: the third value of LUT Descriptor.
    """

    levels: NDArray[Any] = field(repr=False)
    first: int
    bits: int

    @classmethod
    def from_item(cls, item: Dataset, little_endian: bool) -> Self:
        """Read an item of a LUT sequence; raises one of `UNREADABLE` if it is not whole."""
        entries, first, bits = (int(v) for v in item.LUTDescriptor)
        data = item.LUTData
        if isinstance(data, bytes):
            packed = bits <= 8 and len(data) <= (entries or 65536) + 1
            word = "<u2" if little_endian else ">u2"
            levels = np.frombuffer(data, np.uint8 if packed else word)
        else:
            levels = np.atleast_1d(np.asarray(data))
        levels = levels[: entries or 65536]
        if not levels.size or levels.dtype.kind not in "iu":
            raise ValueError("a LUT without entries")
        return cls(levels=levels, first=first, bits=bits)

    @property
    def depth(self) -> int:
        """The number of levels that the table spans.

        This is the declared one, unless the entries exceed it or use a small part of it: some CR readers declare 16
        bits and write entries of 12, so that the picture would be nearly black.
        """
        used = int(self.levels.max()).bit_length()
        fits = 0 < self.bits <= 16 and self.bits - NEARLY_BLACK_BITS < used <= self.bits
        return 1 << (self.bits if fits else max(used, 1))

    def reach(self, *, signed: bool) -> tuple[int, int]:
        """Return the values that the first and the last entry stand for; the first may be negative, written as US."""
        first = self.first - 65536 if self.first > 32767 and signed else self.first
        return first, first + self.levels.size - 1

    def applied(self, values: NDArray[Any]) -> NDArray[np.uint16]:
        """Look up (H, W) `values`; the first and last entries extend beyond the ends of the table.

        pydicom's own function wraps the indices at the depth of the output.
        """
        first, _ = self.reach(signed=bool(values.min() < 0))
        if values.dtype.kind in "iu" and values.dtype.itemsize <= 2:
            # the level of every value that the type has, so that the image is passed once
            bits = values.view(f"u{values.dtype.itemsize}")
            every = np.arange(np.iinfo(bits.dtype).max + 1, dtype=bits.dtype)
            return np.take(self._levels_of(every.view(values.dtype), first), bits)
        return self._levels_of(values, first)

    def _levels_of(self, values: NDArray[Any], first: int) -> NDArray[np.uint16]:
        index = np.clip(np.rint(values).astype(np.int64) - first, 0, self.levels.size - 1)
        return np.ascontiguousarray(self.levels[index], np.uint16)


def whole_table(item: Dataset, little_endian: bool) -> LookupTable | None:
    """Read an item of a LUT sequence; None if descriptor or table are missing or broken."""
    try:
        return LookupTable.from_item(item, little_endian)
    except UNREADABLE:
        return None
