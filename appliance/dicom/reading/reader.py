"""From the bytes of an instance to a `Radiograph`; whatever is wrong with them is `Rejected` with a reason."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TypeVar

import pydicom
from pydicom.dataset import Dataset

from appliance.config import PresetWindow
from appliance.dicom.transfer_syntaxes import UNCOMPRESSED
from appliance.domain.identifiers import is_valid_uid
from appliance.domain.radiograph import Header, Radiograph, StoredValues
from appliance.domain.reason import ReasonCode
from appliance.errors import Rejected

from . import character_sets  # noqa: F401  mends pydicom's tables
from .header import header
from .pixels import stored_values

LARGEST_PX = 120_000_000
"""More than twice the largest detector sold (43 x 129 cm long-length, 0.1 mm); above it a header is taken for a lie."""

T = TypeVar("T")


def read_dataset(content: bytes) -> Dataset:
    """Parse an instance, with or without the preamble of DICOM PS3.10 section 7.1.

    Raises
    ------
    Rejected
        ``not_dicom`` or ``unreadable``.
    """
    has_preamble = content[128:132] == b"DICM"
    unreadable = ReasonCode.UNREADABLE if has_preamble else ReasonCode.NOT_DICOM
    ds = _guarded(
        lambda: pydicom.dcmread(io.BytesIO(content), force=not has_preamble),
        unreadable,
        "the data set cannot be parsed" if has_preamble else "this is no DICOM file",
    )
    if "SOPClassUID" not in ds or "SOPInstanceUID" not in ds:
        what = "the data set has no SOP Class or Instance UID" if has_preamble else "this is no DICOM file"
        raise Rejected(unreadable, f"{what}: export it from the archive again")
    if not has_preamble and "TransferSyntaxUID" not in ds.file_meta:
        ds.file_meta.TransferSyntaxUID = (
            pydicom.uid.ImplicitVRLittleEndian if ds.original_encoding[0] else pydicom.uid.ExplicitVRLittleEndian
        )
    return ds


def header_from_dataset(ds: Dataset, calling_ae_title: str = "") -> Header:
    """What the data set says of itself, without decoding pixels.

    Raises
    ------
    Rejected
        ``unreadable`` if an attribute that decides the analysis has a broken value or a UID is not one.
    """
    made = _guarded(
        lambda: header(ds, calling_ae_title), ReasonCode.UNREADABLE, "an attribute has a value that is none"
    )
    for uid in (made.sop_instance_uid, made.study_instance_uid):
        if not is_valid_uid(uid):
            raise Rejected(ReasonCode.UNREADABLE, "the SOP Instance UID or Study Instance UID is missing or malformed")
    return made


def radiograph_from_dataset(ds: Dataset, header: Header, presets: Sequence[PresetWindow] = ()) -> Radiograph:
    """Decode the pixels and choose the window; `presets` serve radiographs that bring none.

    Raises
    ------
    Rejected
        ``broken_pixels``, ``colour`` or ``too_large``.
    """
    if not 0 < header.rows * header.columns <= LARGEST_PX:
        raise Rejected(
            ReasonCode.BROKEN_PIXELS, f"the header claims {header.columns} x {header.rows} pixels: not plausible"
        )

    def decoded() -> StoredValues:
        if ds.file_meta.get("TransferSyntaxUID") in UNCOMPRESSED:
            claimed = header.rows * header.columns * header.samples_per_pixel * int(ds.BitsAllocated) // 8
            if len(ds.PixelData) < claimed:
                reason = f"pixel data are cut: {len(ds.PixelData)} of {claimed} bytes; send the image again"
                raise Rejected(ReasonCode.BROKEN_PIXELS, reason)
        return stored_values(ds, presets)

    return Radiograph(header=header, stored=_guarded(decoded, ReasonCode.BROKEN_PIXELS, "the pixels cannot be decoded"))


def _guarded(parse: Callable[[], T], code: ReasonCode, what: str) -> T:
    try:
        return parse()
    except Rejected:
        raise
    except MemoryError as error:
        raise Rejected(
            ReasonCode.TOO_LARGE, "reading it takes more memory than a radiograph may need: send it again"
        ) from error
    except Exception as error:
        raise Rejected(code, f"{what} ({type(error).__name__}): export or send it again") from error
