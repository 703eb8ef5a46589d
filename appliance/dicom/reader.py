"""From the bytes of an instance to a `Radiograph`; whatever is wrong with them is `Rejected` with a reason."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from appliance.domain.identifiers import Laterality, is_valid_uid
from appliance.domain.radiograph import Header, Radiograph, StoredValues, VoiFunction, Window
from appliance.errors import Rejected

from .transfer_syntaxes import UNCOMPRESSED

LARGEST_PX = 120_000_000
"""More than twice the largest detector sold (43 x 129 cm long-length, 0.1 mm); above it a header is taken for a lie."""

EXPOSED_PERCENTILES = (0.5, 99.5)
"""Window when the data set has none: these percentiles of the exposed field."""

T = TypeVar("T")


def read_dataset(content: bytes) -> Dataset:
    """Parse an instance, with or without the preamble of DICOM PS3.10 section 7.1.

    Raises
    ------
    Rejected
        ``not_dicom`` or ``unreadable``.
    """
    has_preamble = content[128:132] == b"DICM"
    ds = _guarded(
        lambda: pydicom.dcmread(io.BytesIO(content), force=not has_preamble),
        "unreadable" if has_preamble else "not_dicom",
        "the data set cannot be parsed" if has_preamble else "this is no DICOM file",
    )
    if "SOPClassUID" not in ds or "SOPInstanceUID" not in ds:
        code, what = (
            ("unreadable", "the data set has no SOP Class or Instance UID")
            if has_preamble
            else (
                "not_dicom",
                "this is no DICOM file",
            )
        )
        raise Rejected(code, f"{what}: export it from the archive again")
    if not has_preamble and "TransferSyntaxUID" not in ds.file_meta:
        ds.file_meta.TransferSyntaxUID = (
            pydicom.uid.ImplicitVRLittleEndian if ds.original_encoding[0] else pydicom.uid.ExplicitVRLittleEndian
        )
    return ds


def header_from_dataset(ds: Dataset) -> Header:
    """What the data set says of itself, without decoding pixels.

    Raises
    ------
    Rejected
        ``unreadable`` if an attribute that decides the analysis has a broken value or a UID is not one.
    """
    header = _guarded(lambda: _header(ds), "unreadable", "an attribute has a value that is none")
    for uid in (header.sop_instance_uid, header.study_instance_uid):
        if not is_valid_uid(uid):
            raise Rejected("unreadable", "the SOP Instance UID or Study Instance UID is missing or malformed")
    return header


def radiograph_from_dataset(ds: Dataset, header: Header) -> Radiograph:
    """Decode the pixels and choose the window.

    Raises
    ------
    Rejected
        ``broken_pixels``.
    """
    if not 0 < header.rows * header.columns <= LARGEST_PX:
        raise Rejected("broken_pixels", f"the header claims {header.columns} x {header.rows} pixels: not plausible")
    if ds.file_meta.get("TransferSyntaxUID") in UNCOMPRESSED:
        claimed = header.rows * header.columns * int(ds.get("BitsAllocated", 16)) // 8
        if len(ds.PixelData) < claimed:
            raise Rejected(
                "broken_pixels", f"pixel data are cut: {len(ds.PixelData)} of {claimed} bytes; send the image again"
            )
    stored = _guarded(lambda: _stored_values(ds), "broken_pixels", "the pixels cannot be decoded")
    return Radiograph(header=header, stored=stored)


def _guarded(parse: Callable[[], T], code: str, what: str) -> T:
    try:
        return parse()
    except MemoryError:
        raise  # says something of this box, not of the input
    except Exception as error:
        raise Rejected(code, f"{what} ({type(error).__name__}): export or send it again") from error


def _header(ds: Dataset) -> Header:
    def text(keyword: str) -> str:
        return str(ds.get(keyword) or "").strip().upper()

    side = text("ImageLaterality") or text("Laterality")
    return Header(
        sop_instance_uid=str(ds.get("SOPInstanceUID") or ""),
        sop_class_uid=str(ds.get("SOPClassUID") or ""),
        study_instance_uid=str(ds.get("StudyInstanceUID") or ""),
        modality=text("Modality"),
        image_type=tuple(str(v) for v in _several(ds.get("ImageType"))),
        body_part_examined=text("BodyPartExamined"),
        laterality=Laterality(side) if side in ("L", "R") else Laterality.UNKNOWN,
        view_position=text("ViewPosition"),
        rows=int(ds.get("Rows") or 0),
        columns=int(ds.get("Columns") or 0),
        samples_per_pixel=int(ds.get("SamplesPerPixel") or 1),
        number_of_frames=int(ds.get("NumberOfFrames") or 1),
        has_pixels="PixelData" in ds and len(ds.PixelData) > 0,
        is_animal=bool(text("PatientSpeciesDescription") or ds.get("PatientSpeciesCodeSequence")),
    )


def _several(value: object) -> list[object]:
    if value is None:
        return []
    return list(value) if isinstance(value, MultiValue) else [value]


def _stored_values(ds: Dataset) -> StoredValues:
    raw = ds.pixel_array
    if raw.ndim != 2:
        raise ValueError(f"{raw.ndim} dimensions")
    invert = ds.PhotometricInterpretation == "MONOCHROME1"
    slope, intercept = float(ds.get("RescaleSlope") or 1), float(ds.get("RescaleIntercept") or 0)
    padding = _padding(ds, raw)
    window = None
    for sequence in ("ModalityLUTSequence", "VOILUTSequence"):
        if ds.get(sequence):
            table = ds[sequence][0]
            raw = _looked_up(raw * slope + intercept if slope != 1 or intercept else raw, table)
            slope, intercept, window = 1.0, 0.0, _lut_window(table)
    pixels: NDArray[np.uint16]
    if np.issubdtype(raw.dtype, np.signedinteger):
        pixels = (raw.astype(np.int32) + 32768).clip(0, 65535).astype(np.uint16)
        intercept -= slope * 32768
    elif raw.max() > 65535:
        raise ValueError("more than 16 bits a pixel")
    else:
        pixels = np.ascontiguousarray(raw, np.uint16)
    if window is None or not ds.get("VOILUTSequence"):
        window = _window(ds) or window
    window = window or _percentile_window(pixels[~padding], slope, intercept)
    if padding.any():
        black = 65535 if invert == (slope > 0) else 0  # whatever the window: below or above all that it shows
        pixels = np.where(padding, np.uint16(black), pixels)
    return StoredValues(pixels=pixels, slope=slope, intercept=intercept, window=window, invert=invert)


def _padding(ds: Dataset, raw: NDArray[Any]) -> NDArray[np.bool_]:
    """Pixels that are no image (DICOM PS3.3 C.7.5.1.1.2): they must not enter window or histogram."""
    if ds.get("PixelPaddingValue") is None:
        return np.zeros(raw.shape, bool)
    first, last = (
        struct.unpack("<h", struct.pack("<H", v & 0xFFFF))[0] if raw.dtype.kind == "i" else int(v) & 0xFFFF
        for v in (ds.PixelPaddingValue, ds.get("PixelPaddingRangeLimit", ds.PixelPaddingValue))
    )
    low, high = min(first, last), max(first, last)
    return np.asarray((raw >= low) & (raw <= high))


def _window(ds: Dataset) -> Window | None:
    """The first window of the data set, or None if it has no usable one."""
    centers, widths = _several(ds.get("WindowCenter")), _several(ds.get("WindowWidth"))
    if not centers or not widths:
        return None
    name = str(ds.get("VOILUTFunction") or "LINEAR")
    function: VoiFunction = name if name in ("LINEAR_EXACT", "SIGMOID") else "LINEAR"  # type: ignore[assignment]
    try:
        return Window(center=float(str(centers[0])), width=float(str(widths[0])), function=function)
    except ValueError:
        return None


def _looked_up(values: NDArray[Any], table: Dataset) -> NDArray[np.uint16]:
    """`values` through a LUT, the ends extended (DICOM PS3.3 C.11.1.1 and C.11.2.1.1).

    pydicom's own wraps indices at the depth of the output.
    """
    entries, first, bits = (int(v) for v in table.LUTDescriptor)
    data = table.LUTData
    if isinstance(data, bytes):
        packed = bits <= 8 and len(data) <= (entries or 65536) + 1
        levels = np.frombuffer(data, np.uint8 if packed else "<u2")
    else:
        levels = np.atleast_1d(np.asarray(data))
    index = np.clip(np.rint(values).astype(np.int64) - first, 0, min(entries or 65536, levels.size) - 1)
    return np.ascontiguousarray(levels[index], np.uint16)


def _lut_window(table: Dataset) -> Window:
    """The whole output range of a LUT (LUT Descriptor, third value)."""
    levels = 2.0 ** int(table.LUTDescriptor[2])
    return Window(center=levels / 2, width=levels)


def _percentile_window(exposed: NDArray[np.uint16], slope: float, intercept: float) -> Window:
    low, high = np.percentile(exposed, EXPOSED_PERCENTILES) if exposed.size else (0.0, 1.0)
    ends = sorted((low * slope + intercept, high * slope + intercept))
    return Window(center=(ends[0] + ends[1]) / 2, width=max(ends[1] - ends[0], 1.0), function="LINEAR_EXACT")
