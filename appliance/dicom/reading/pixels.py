"""From Pixel Data to `StoredValues`: sign, Modality LUT, padding, window and polarity, each resolved once."""

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
"""Photometric interpretations of images that can be grey; palette colour cannot (DICOM PS3.3 C.7.6.3.1.2)."""


def stored_values(ds: Dataset, presets: Sequence[PresetWindow] = ()) -> StoredValues:
    """Decode the pixels of `ds` and resolve the attributes that say how to display them.

    Raises
    ------
    Rejected
        ``colour`` if the image is not grey.
    Exception
        Any exception that a codec or a broken attribute causes.
    """
    raw = _signed(_grey(samples(ds)), ds)
    padding = _padding(ds, raw) | outside_shutter(ds, raw.shape)
    if padding.all():
        padding = np.zeros(raw.shape, bool)  # padding without any image cannot be meant
    slope, intercept = _number(ds, "RescaleSlope", 1.0), _number(ds, "RescaleIntercept", 0.0)
    little_endian = UID(ds.file_meta.TransferSyntaxUID).is_little_endian
    if ds.get("ModalityLUTSequence"):  # takes the place of the rescale (DICOM PS3.3 C.11.1)
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
        # the extreme value that every window shows black: equalisation does not count black
        pixels = np.where(padding, np.uint16(65535 if invert == (slope > 0) else 0), pixels)
    return StoredValues(pixels=pixels, slope=slope, intercept=intercept, window=window, invert=invert)


def _grey(raw: NDArray[Any]) -> NDArray[Any]:
    """Return one plane of a grey radiograph that was sent as RGB, with three equal planes.

    Raises
    ------
    Rejected
        ``colour`` if the planes differ.
    """
    if raw.ndim == 2:
        return raw
    if not (np.array_equal(raw[..., 0], raw[..., 1]) and np.array_equal(raw[..., 0], raw[..., 2])):
        raise Rejected(
            ReasonCode.COLOUR, "the image has colours, so it is not a plain radiograph: narrow the routing rule"
        )
    return raw[..., 0]


def _signed(raw: NDArray[Any], ds: Dataset) -> NDArray[Any]:
    """Return the samples as numbers with their sign, shifted down to bit 0 (DICOM PS3.5 8.1.1).

    Bits above Bits Stored are kept, since the window applies to them, too, unless they hold overlay planes.
    """
    allocated, bits = int(ds.get("BitsAllocated") or 16), int(ds.get("BitsStored") or 16)
    if not 1 < bits <= 16:
        raise ValueError(f"{bits} bits stored")
    low_bit = max(int(ds.get("HighBit") or bits - 1) + 1 - bits, 0)
    if low_bit and raw.dtype.itemsize * 8 == allocated:
        raw = raw.view(f"u{raw.dtype.itemsize}") >> low_bit
    if any(ds.get((0x6000 + group, 0x0102)) and ds[0x6000 + group, 0x0102].value for group in range(0, 32, 2)):
        raw = raw & ((1 << bits) - 1)  # retired: overlays in the unused bits of the pixels
    if ds.get("PixelRepresentation") != 1:
        return raw.view(f"u{raw.dtype.itemsize}") if raw.dtype.kind == "i" else raw
    values = raw.astype(np.int32)
    if values.min() >= 0 and values.max() < 1 << bits:
        return np.where(values >= 1 << (bits - 1), values - (1 << bits), values).astype(
            np.int16
        )  # the sign bit was not extended
    return values.astype(np.int16)


def _unsigned(raw: NDArray[Any]) -> tuple[NDArray[np.uint16], int]:
    """Return (pixels, shift) with pixels = raw + shift as uint16.

    Raises
    ------
    ValueError
        If a value needs more than 16 bits.
    """
    if raw.dtype.kind == "i":
        return (raw.astype(np.int32) + 32768).astype(np.uint16), 32768
    if raw.max() > 65535:
        raise ValueError("more than 16 bits a pixel")
    return np.ascontiguousarray(raw, np.uint16), 0


def _padding(ds: Dataset, raw: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the mask of padding pixels, which must not enter window or histogram (DICOM PS3.3 C.7.5.1.1.2)."""
    if ds.get("PixelPaddingValue") is None:
        return np.zeros(raw.shape, bool)
    limit = ds.get("PixelPaddingRangeLimit")
    first, last = (
        _as_stored(int(value), signed=raw.dtype.kind == "i")
        for value in (ds.PixelPaddingValue, ds.PixelPaddingValue if limit is None else limit)
    )
    return np.asarray((raw >= min(first, last)) & (raw <= max(first, last)))


def _as_stored(value: int, *, signed: bool) -> int:
    """Return a 16-bit value with the sign of the samples: modalities write it as US or as SS."""
    value &= 0xFFFF
    return value - 65536 if signed and value > 32767 else value


def _number(ds: Dataset, keyword: str, default: float) -> float:
    """Return the value of a decimal string, or `default` if it is absent."""
    value = ds.get(keyword)
    return default if value in (None, "") else float(value)


def _looked_up(values: NDArray[Any], table: Dataset, little_endian: bool) -> NDArray[np.uint16]:
    """Apply a LUT to `values`; its first and last entries extend beyond its ends (DICOM PS3.3 C.11.1.1, C.11.2.1.1).

    pydicom's own function wraps the indices at the depth of the output.
    """
    entries, first, bits = (int(v) for v in table.LUTDescriptor)
    data = table.LUTData
    if isinstance(data, bytes):
        packed = bits <= 8 and len(data) <= (entries or 65536) + 1
        word = "<u2" if little_endian else ">u2"
        levels = np.frombuffer(data, np.uint8 if packed else word)
    else:
        levels = np.atleast_1d(np.asarray(data))
    if first > 32767 and values.min() < 0:
        first -= 65536  # a negative value that was written as US
    index = np.clip(np.rint(values).astype(np.int64) - first, 0, min(entries or 65536, levels.size) - 1)
    return np.ascontiguousarray(levels[index], np.uint16)


def _range_of(table: Dataset) -> Window:
    """Return the window over the whole output range of a LUT (third value of LUT Descriptor)."""
    levels = 2.0 ** int(table.LUTDescriptor[2])
    return Window(center=levels / 2, width=levels)
