"""From the bytes of an instance to a `Radiograph`; every defect is `Rejected` with a reason."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TypeVar

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from appliance.config import PresetWindow
from appliance.dicom.transfer_syntaxes import UNCOMPRESSED
from appliance.domain.identifiers import is_valid_uid
from appliance.domain.radiograph import Header, Radiograph, StoredValues
from appliance.domain.reason import ReasonCode
from appliance.domain.sentence import Sentence
from appliance.errors import Rejected

from . import character_sets  # noqa: F401  mends pydicom's tables
from .header import header
from .pixels import stored_values

LARGEST_PX = 120_000_000
"""Most pixels of a radiograph; the largest detector sold (43 x 129 cm at 0.1 mm) has less than half as many."""

NOT_A_DICOM_FILE = Sentence.of("this is not a DICOM file")

T = TypeVar("T")


def read_dataset(content: bytes) -> Dataset:
    """Parse an instance, with or without the preamble of DICOM PS3.10 section 7.1.

    Raises
    ------
    Rejected
        ``not_dicom`` if the content is not DICOM, ``unreadable`` if its data set is broken.
    """
    has_preamble = content[128:132] == b"DICM"
    code = ReasonCode.UNREADABLE if has_preamble else ReasonCode.NOT_DICOM
    defect = Sentence.of("the data set cannot be parsed") if has_preamble else NOT_A_DICOM_FILE
    ds = _parse(lambda: pydicom.dcmread(io.BytesIO(content), force=not has_preamble), code, defect)
    if "SOPClassUID" not in ds or "SOPInstanceUID" not in ds:
        defect = Sentence.of("the data set has no SOP Class or Instance UID") if has_preamble else NOT_A_DICOM_FILE
        raise Rejected(code, Sentence.of("{defect}: export it from the archive again", defect=defect))
    if not has_preamble and "TransferSyntaxUID" not in ds.file_meta:
        is_implicit, _ = ds.original_encoding
        ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if is_implicit else ExplicitVRLittleEndian
    return ds


def header_from_dataset(ds: Dataset, calling_ae_title: str = "") -> Header:
    """Read the header of a data set without decoding pixels.

    Raises
    ------
    Rejected
        ``unreadable`` if an attribute that the analysis needs has an invalid value, or a UID is malformed.
    """
    defect = Sentence.of("an attribute has an invalid value")
    parsed = _parse(lambda: header(ds, calling_ae_title), ReasonCode.UNREADABLE, defect)
    for uid in (parsed.sop_instance_uid, parsed.study_instance_uid):
        if not is_valid_uid(uid):
            reason = Sentence.of("the SOP Instance UID or Study Instance UID is missing or malformed")
            raise Rejected(ReasonCode.UNREADABLE, reason)
    return parsed


def radiograph_from_dataset(ds: Dataset, header: Header, presets: Sequence[PresetWindow] = ()) -> Radiograph:
    """Decode the pixels and choose the window; `presets` are for radiographs without a window.

    Raises
    ------
    Rejected
        ``broken_pixels`` if they cannot be decoded, ``colour`` if they are not grey, ``too_large`` if memory runs out.
    """
    if not 0 < header.rows * header.columns <= LARGEST_PX:
        raise Rejected(
            ReasonCode.BROKEN_PIXELS,
            Sentence.of(
                "the header claims {columns} x {rows} pixels: not plausible", columns=header.columns, rows=header.rows
            ),
        )

    def decode() -> StoredValues:
        if ds.file_meta.get("TransferSyntaxUID") in UNCOMPRESSED:
            claimed = header.rows * header.columns * header.samples_per_pixel * int(ds.BitsAllocated) // 8
            if len(ds.PixelData) < claimed:
                reason = Sentence.of(
                    "pixel data are cut: {present} of {claimed} bytes; send the image again",
                    present=len(ds.PixelData),
                    claimed=claimed,
                )
                raise Rejected(ReasonCode.BROKEN_PIXELS, reason)
        return stored_values(ds, presets)

    defect = Sentence.of("the pixels cannot be decoded")
    return Radiograph(header=header, stored=_parse(decode, ReasonCode.BROKEN_PIXELS, defect))


def _parse(parse: Callable[[], T], code: ReasonCode, defect: Sentence) -> T:
    """Call `parse`; turn any exception into `Rejected` with `code` and the sentence `defect`."""
    try:
        return parse()
    except Rejected:
        raise
    except MemoryError as error:
        raise Rejected(
            ReasonCode.TOO_LARGE,
            Sentence.of("reading it takes more memory than a radiograph may need: send it again"),
        ) from error
    except Exception as error:
        reason = Sentence.of("{defect} ({error}): export or send it again", defect=defect, error=type(error).__name__)
        raise Rejected(code, reason) from error
