"""Samples to `StoredValues`: sign, Modality LUT, what was not exposed, window and polarity, each resolved once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID

from appliance.config import PresetWindow
from appliance.domain.radiograph import StoredValues, Window
from appliance.domain.reason import ReasonCode
from appliance.errors import Rejected

from .decoders import samples
from .shutter import outside_shutter
from .windows import is_negative, percentile_window, thinned, voi_lut_of, window_of

GREY = ("MONOCHROME1", "MONOCHROME2", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
"""Photometric interpretations of what can be grey; a palette's indices are not (DICOM PS3.3 C.7.6.3.1.2)."""


def stored_values(ds: Dataset, presets: Sequence[PresetWindow] = ()) -> StoredValues:
    """Decode the pixels of `ds` and resolve how they are meant to be seen.

    Raises
    ------
    Rejected
        ``colour`` if the picture is not grey.
    Exception
        Whatever codecs and broken attributes raise.
    """
    raw = _signed(_grey(samples(ds)), ds)
    padding = _padding(ds, raw) | outside_shutter(ds, raw.shape)
    if padding.all():
        padding = np.zeros(raw.shape, bool)  # says that nothing is an image: cannot be meant
    slope, intercept = _number(ds, "RescaleSlope", 1.0), _number(ds, "RescaleIntercept", 0.0)
    little_endian = UID(ds.file_meta.TransferSyntaxUID).is_little_endian
    if ds.get("ModalityLUTSequence"):  # then there is no rescale (DICOM PS3.3 C.11.1)
        raw, slope, intercept = _looked_up(raw, ds.ModalityLUTSequence[0], little_endian), 1.0, 0.0
    if (table := voi_lut_of(ds)) is not None:
        values = raw * slope + intercept if slope != 1 or intercept else raw
        raw, slope, intercept = _looked_up(values, table, little_endian), 1.0, 0.0
        window: Window | None = _range_of(table)
    else:
        window = window_of(ds, presets)
    pixels, shift = _unsigned(raw)
    intercept -= slope * shift
    window = window or percentile_window(thinned(pixels)[~thinned(padding)], slope, intercept)
    if ds.PhotometricInterpretation not in GREY:
        raise ValueError(f"{ds.PhotometricInterpretation} is not grey")
    invert = is_negative(ds)
    if padding.any():
        # whatever the window: beyond all that it shows, on the side that is black, which equalisation does not count
        pixels = np.where(padding, np.uint16(65535 if invert == (slope > 0) else 0), pixels)
    return StoredValues(pixels=pixels, slope=slope, intercept=intercept, window=window, invert=invert)


def _grey(raw: NDArray[Any]) -> NDArray[Any]:
    """One plane of a picture whose three are the same: grey radiographs sent as RGB."""
    if raw.ndim == 2:
        return raw
    if not (np.array_equal(raw[..., 0], raw[..., 1]) and np.array_equal(raw[..., 0], raw[..., 2])):
        raise Rejected(
            ReasonCode.COLOUR, "the image has colours: it is made from a radiograph, narrow the routing rule"
        )
    return raw[..., 0]


def _signed(raw: NDArray[Any], ds: Dataset) -> NDArray[Any]:
    """The stored bits of each sample as the number that they are (DICOM PS3.5 8.1.1).

    Values above Bits Stored are kept, since the window shows what they are, unless they are overlay planes.
    """
    allocated, bits = int(ds.get("BitsAllocated") or 16), int(ds.get("BitsStored") or 16)
    if not 1 < bits <= 16:
        raise ValueError(f"{bits} bits stored")
    low_bit = max(int(ds.get("HighBit") or bits - 1) + 1 - bits, 0)
    if low_bit and raw.dtype.itemsize * 8 == allocated:
        raw = raw.view(f"u{raw.dtype.itemsize}") >> low_bit
    if any(ds.get((0x6000 + group, 0x0102)) and ds[0x6000 + group, 0x0102].value for group in range(0, 32, 2)):
        raw = raw & ((1 << bits) - 1)  # retired: overlays in the bits that pixels leave free
    if ds.get("PixelRepresentation") != 1:
        return raw.view(f"u{raw.dtype.itemsize}") if raw.dtype.kind == "i" else raw
    values = raw.astype(np.int32)
    if values.min() >= 0 and values.max() < 1 << bits:
        return np.where(values >= 1 << (bits - 1), values - (1 << bits), values).astype(np.int16)  # not extended
    return values.astype(np.int16)


def _unsigned(raw: NDArray[Any]) -> tuple[NDArray[np.uint16], int]:
    """(pixels, shift) with pixels = raw + shift in 16 bits."""
    if raw.dtype.kind == "i":
        return (raw.astype(np.int32) + 32768).astype(np.uint16), 32768
    if raw.max() > 65535:
        raise ValueError("more than 16 bits a pixel")
    return np.ascontiguousarray(raw, np.uint16), 0


def _padding(ds: Dataset, raw: NDArray[Any]) -> NDArray[np.bool_]:
    """Pixels that are no image (DICOM PS3.3 C.7.5.1.1.2): they must not enter window or histogram."""
    if ds.get("PixelPaddingValue") is None:
        return np.zeros(raw.shape, bool)
    limit = ds.get("PixelPaddingRangeLimit")
    first, last = (
        _as_stored(int(value), signed=raw.dtype.kind == "i")
        for value in (ds.PixelPaddingValue, ds.PixelPaddingValue if limit is None else limit)
    )
    return np.asarray((raw >= min(first, last)) & (raw <= max(first, last)))


def _as_stored(value: int, *, signed: bool) -> int:
    """A 16-bit value, whichever of US and SS it was written as."""
    value &= 0xFFFF
    return value - 65536 if signed and value > 32767 else value


def _number(ds: Dataset, keyword: str, default: float) -> float:
    """A decimal string, or `default` where there is none."""
    value = ds.get(keyword)
    return default if value in (None, "") else float(value)


def _looked_up(values: NDArray[Any], table: Dataset, little_endian: bool) -> NDArray[np.uint16]:
    """`values` through a LUT, the ends extended (DICOM PS3.3 C.11.1.1 and C.11.2.1.1).

    pydicom's own wraps indices at the depth of the output.
    """
    entries, first, bits = (int(v) for v in table.LUTDescriptor)
    data = table.LUTData
    if isinstance(data, bytes):
        packed = bits <= 8 and len(data) <= (entries or 65536) + 1
        levels = np.frombuffer(data, np.uint8 if packed else "<u2" if little_endian else ">u2")
    else:
        levels = np.atleast_1d(np.asarray(data))
    if first > 32767 and values.min() < 0:
        first -= 65536  # written as US over signed values
    index = np.clip(np.rint(values).astype(np.int64) - first, 0, min(entries or 65536, levels.size) - 1)
    return np.ascontiguousarray(levels[index], np.uint16)


def _range_of(table: Dataset) -> Window:
    """The whole output range of a LUT (LUT Descriptor, third value)."""
    levels = 2.0 ** int(table.LUTDescriptor[2])
    return Window(center=levels / 2, width=levels)
