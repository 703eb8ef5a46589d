"""From Pixel Data to `StoredValues`: sign, Modality LUT, padding, window and polarity, each resolved once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID

from appliance.config import PresetWindow
from appliance.domain.radiograph import StoredValues
from appliance.domain.reason import ReasonCode
from appliance.domain.sentence import Sentence
from appliance.errors import Rejected

from .attributes import number, numbers
from .decoders import samples
from .display import Possibilities
from .modality import modality_of
from .shutter import LEAST_OPENING, outside_shutter, whole_shutters
from .stored_bits import with_sign
from .windows import is_negative, photometric_of, thinned

GREY = ("MONOCHROME1", "MONOCHROME2", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
"""Photometric interpretations of images that can be grey; palette colour cannot (DICOM PS3.3 C.7.6.3.1.2)."""


def stored_values(ds: Dataset, presets: Sequence[PresetWindow] = ()) -> StoredValues:
    """Decode the pixels of `ds` and resolve the attributes that say how to display them.

    An attribute that is broken, or makes no picture, is passed over for the next possibility.

    Raises
    ------
    Rejected
        ``colour`` if the image is not grey, ``blank`` if all exposed pixels have one value.
    Exception
        Any exception that a codec or a broken attribute causes.
    """
    if photometric_of(ds) not in GREY:
        raise ValueError(f"{photometric_of(ds)} is not grey")
    raw = with_sign(_grey(samples(ds)), ds)
    unexposed = _unexposed(ds, raw)
    if _is_uniform(raw, unexposed):
        reason = Sentence.of("every exposed pixel has the same value: send the image again, and check the detector")
        raise Rejected(ReasonCode.BLANK, reason)
    little_endian = UID(ds.file_meta.TransferSyntaxUID).is_little_endian
    modality, invert = modality_of(ds, little_endian), is_negative(ds)
    sampled = np.ones_like(thinned(raw), bool) if unexposed is None else ~thinned(unexposed)
    display, caveats = Possibilities(
        ds=ds,
        stored=raw,
        exposed=sampled if sampled.any() else np.ones_like(sampled),
        modality=modality,
        presets=presets,
        little_endian=little_endian,
        invert=invert,
    ).choose()
    pixels, shift = _unsigned(display.values)
    if unexposed is not None:
        # the extreme value that every window shows black: equalisation does not count black
        pixels = np.where(unexposed, np.uint16(65535 if invert == (display.slope > 0) else 0), pixels)
    return StoredValues(
        pixels=pixels,
        slope=display.slope,
        intercept=display.intercept - display.slope * shift,
        window=display.window,
        invert=invert,
        caveats=modality.caveats + caveats,
    )


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
            ReasonCode.COLOUR,
            Sentence.of("the image has colours, so it is not a plain radiograph: narrow the routing rule"),
        )
    return raw[..., 0]


def _unsigned(raw: NDArray[Any]) -> tuple[NDArray[np.uint16], int]:
    """Return (pixels, shift) with pixels = raw + shift as uint16.

    Raises
    ------
    ValueError
        If a value needs more than 16 bits.
    """
    if raw.dtype.kind == "i":
        return raw.astype(np.uint16) + np.uint16(32768), 32768
    if raw.dtype.itemsize > 2 and raw.max() > 65535:
        raise ValueError("more than 16 bits a pixel")
    return np.ascontiguousarray(raw, np.uint16), 0


def _unexposed(ds: Dataset, raw: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Return the mask of padding and of the area that shutters cover; None if there are none.

    A mask of nearly the whole image is none.
    """
    padding = _padding(ds, raw)
    outside = outside_shutter(ds, raw.shape) if whole_shutters(ds) else None
    both = padding | outside if padding is not None and outside is not None else None
    masks = (mask for mask in (both, padding, outside) if mask is not None)
    return next((mask for mask in masks if np.count_nonzero(mask) <= (1 - LEAST_OPENING) * mask.size), None)


def _is_uniform(raw: NDArray[Any], unexposed: NDArray[np.bool_] | None) -> bool:
    """Return whether all exposed pixels have one value: a sample of them mostly tells that they do not."""
    for image, mask in ((thinned(raw), None if unexposed is None else thinned(unexposed)), (raw, unexposed)):
        exposed = image if mask is None else image[~mask]
        if exposed.size and exposed.min() != exposed.max():
            return False
    return True


def _padding(ds: Dataset, raw: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Return the mask of padding pixels, which must not enter window or histogram (DICOM PS3.3 C.7.5.1.1.2).

    Two values mean that each of them is padding, if there is no limit of a range. None if there is no value.
    """
    signed = raw.dtype.kind == "i"
    values = [_as_stored(int(v), signed=signed) for v in numbers(ds, "PixelPaddingValue") if not math.isnan(v)]
    limit = number(ds, "PixelPaddingRangeLimit")
    if not values:
        return None
    if limit is None or math.isnan(limit):
        return np.asarray(np.isin(raw, values)) if len(values) > 1 else np.asarray(raw == values[0])
    first, last = sorted((values[0], _as_stored(int(limit), signed=signed)))
    return np.asarray((raw >= first) & (raw <= last))


def _as_stored(value: int, *, signed: bool) -> int:
    """Return a 16-bit value with the sign of the samples: modalities write it as US or as SS."""
    value &= 0xFFFF
    return value - 65536 if signed and value > 32767 else value
