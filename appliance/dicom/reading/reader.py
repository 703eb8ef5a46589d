"""From the bytes of an instance to a `Radiograph`; every defect is `Rejected` with a reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from pydicom.dataset import Dataset

from appliance.config import PresetWindow
from appliance.domain.finding import NotAnalysed
from appliance.domain.identifiers import is_valid_uid
from appliance.domain.radiograph import Header, Radiograph
from appliance.domain.reason import ReasonCode
from appliance.domain.sentence import Sentence
from appliance.errors import Rejected

from . import character_sets  # noqa: F401  mends pydicom's tables
from .header import header
from .parsing import has_preamble, parse
from .pixels import stored_values

LARGEST_PX = 120_000_000
"""Most pixels of a radiograph; the largest detector sold (43 x 129 cm at 0.1 mm) has less than half as many."""

WHOLE_IDENTITY = ("SOPClassUID", "SOPInstanceUID", "PatientName", "PatientID", "StudyInstanceUID")
"""Attributes without which an answer on a broken data set could be filed under another patient or study."""

NOT_A_DICOM_FILE = Sentence.of("this is not a DICOM file")

T = TypeVar("T")


def read_dataset(content: bytes) -> Dataset:
    """Parse an instance, with or without the preamble of DICOM PS3.10 section 7.1.

    Raises
    ------
    Rejected
        ``not_dicom`` if the content is not DICOM, ``unreadable`` if its data set is broken.
    """
    ds, defect = read_parts(content)
    if defect:
        raise Rejected(defect.code, defect.reason)
    return ds


def read_parts(content: bytes) -> tuple[Dataset, NotAnalysed | None]:
    """Parse an instance as far as possible; return its data set, and the reason if that is not whole.

    Raises
    ------
    Rejected
        ``not_dicom`` if the content is not DICOM, ``unreadable`` if not even patient and study can be read.
    """
    is_file = has_preamble(content)
    code = ReasonCode.UNREADABLE if is_file else ReasonCode.NOT_DICOM
    unknown = Sentence.of("the data set cannot be parsed") if is_file else NOT_A_DICOM_FILE
    parsed = _parse(lambda: parse(content), code, unknown)
    ds, defect = parsed.ds, parsed.defect
    if not ("SOPClassUID" in ds and "SOPInstanceUID" in ds):
        defect = Sentence.of("the data set has no SOP Class or Instance UID") if is_file else NOT_A_DICOM_FILE
    elif defect is None:
        return ds, None
    reason = Sentence.of("{defect}: export it from the archive again", defect=defect)
    if any(keyword not in ds for keyword in WHOLE_IDENTITY):
        raise Rejected(code, reason)
    return ds, NotAnalysed(code=ReasonCode.UNREADABLE, reason=reason)


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

    defect = Sentence.of("the pixels cannot be decoded")
    stored = _parse(lambda: stored_values(ds, presets), ReasonCode.BROKEN_PIXELS, defect)
    return Radiograph(header=header, stored=stored)


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
