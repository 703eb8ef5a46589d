"""From the bytes of an instance to a data set: as much of it as can be parsed, and the defect that ends it.

Devices end a data set without a delimiter, fill it up with zeros, cut it, or put a whole file into it. The elements
before the defect are sound, and name patient and study.
"""

from __future__ import annotations

import contextlib
import io
import zlib
from dataclasses import dataclass

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import data_element_generator, read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from appliance.dicom.part10 import PIXEL_DATA
from appliance.domain.sentence import Sentence

from .attributes import UNREADABLE, text

UNDEFINED_LENGTH = 0xFFFFFFFF

PREAMBLE_BYTES = 132
"""Preamble and prefix of a DICOM file (PS3.10 7.1)."""

COMMAND_SET = b"\0\0\0\0\4\0\0\0"
"""Start of a command set: its group length, a UL (PS3.7 6.3.1)."""

FIRST_GROUP = 0x0008
"""Least group of a data set: those before are of commands, file meta information and directories (PS3.5 7.1)."""

DEFLATED_BYTES = 1 << 16
"""Bytes that are inflated at a time: a broken stream costs those of its last part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A data set, and the defect behind its last element; None if everything that is needed was parsed."""

    ds: Dataset
    defect: Sentence | None = None


def has_preamble(content: bytes) -> bool:
    """Return whether `content` begins as a DICOM file does."""
    return content[PREAMBLE_BYTES - 4 : PREAMBLE_BYTES] == b"DICM"


def parse(content: bytes) -> Parsed:
    """Parse an instance, with or without preamble and File Meta Information.

    The first File Meta Information counts: it names the transfer syntax of the presentation context, and class and
    instance of the C-STORE, which stand in for those that the data set lacks.

    Raises
    ------
    Exception
        Any exception of pydicom on File Meta Information that is none.
    """
    file = io.BytesIO(content)
    meta = _file_meta(file)
    syntax = UID(text(meta, "TransferSyntaxUID").strip(" \0")) or _guessed_syntax(_peek(file, 6))
    meta.TransferSyntaxUID = syntax
    is_cut = False
    if syntax == DeflatedExplicitVRLittleEndian:
        inflated, is_cut = _inflated(file.read())
        file = io.BytesIO(inflated)
        _file_meta(file)
    ds, failed_at, is_broken = _elements(
        file, is_implicit_vr=syntax == ImplicitVRLittleEndian, is_little_endian=syntax != ExplicitVRBigEndian
    )
    for tag in [tag for tag in ds.keys() if tag.group < FIRST_GROUP]:  # noqa: SIM118  values would be converted
        del ds[tag]
    if short := _remove_cut_element(ds):
        failed_at, is_broken = short, True
    ds.file_meta = meta
    for keyword in ("SOPClassUID", "SOPInstanceUID"):
        if not text(ds, keyword) and (known := text(meta, f"MediaStorage{keyword}")):
            setattr(ds, keyword, known)
    if PIXEL_DATA in ds or not (is_broken or is_cut):
        return Parsed(ds=ds)
    if failed_at is None:
        return Parsed(ds=ds, defect=Sentence.of("the data set cannot be parsed"))
    return Parsed(ds=ds, defect=Sentence.of("the data set cannot be parsed from {tag} on", tag=str(failed_at)))


def _file_meta(file: io.BytesIO) -> FileMetaDataset:
    """Read preamble and File Meta Information, if there are any; skip any that follow, and a command set.

    A sender may put a whole file, or its meta information, into the data set.
    """
    elements: dict[BaseTag, RawDataElement | DataElement] = {}
    start = -1
    while file.tell() != start:
        start = file.tell()
        if has_preamble(_peek(file, PREAMBLE_BYTES)):
            file.seek(start + PREAMBLE_BYTES)
        for element in data_element_generator(file, False, True, stop_when=lambda tag, *_: tag.group != 0x0002):
            elements.setdefault(element.tag, element)
        if _peek(file, len(COMMAND_SET)) == COMMAND_SET:
            for _ in data_element_generator(file, True, True, stop_when=lambda tag, *_: tag.group != 0x0000):
                pass
    return FileMetaDataset(elements)


def _peek(file: io.BytesIO, count: int) -> bytes:
    """Return the next bytes of `file` without moving on."""
    at = file.tell()
    head = file.read(count)  # `getbuffer` would copy the whole file
    file.seek(at)
    return head


def _guessed_syntax(head: bytes) -> UID:
    """Return the transfer syntax of a data set without File Meta Information, by its first element."""
    if not head[4:6].isalpha() or not head[4:6].isupper():
        return ImplicitVRLittleEndian
    return ExplicitVRBigEndian if head[:1] == b"\0" else ExplicitVRLittleEndian


def _inflated(deflated: bytes) -> tuple[bytes, bool]:
    """Inflate a data set (DICOM PS3.5 A.5) as far as possible; return it, and whether the stream is cut or broken."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    parts: list[bytes] = []
    with contextlib.suppress(zlib.error):
        for at in range(0, len(deflated), DEFLATED_BYTES):
            parts += [inflater.decompress(deflated[at : at + DEFLATED_BYTES])]
    return b"".join(parts), not inflater.eof


def _elements(
    file: io.BytesIO, *, is_implicit_vr: bool, is_little_endian: bool
) -> tuple[Dataset, BaseTag | None, bool]:
    """Read the elements of a data set; return them, the tag of the first that cannot be read, and whether there is one.

    Pixel data of undefined length without a delimiter are read to the end of the file.
    """
    start = file.tell()
    seen: list[tuple[BaseTag, str | None, int]] = []

    def note(tag: BaseTag, vr: str | None, length: int) -> bool:
        seen.append((tag, vr, length))
        return False

    ds = Dataset()
    with contextlib.suppress(*UNREADABLE):
        ds = read_dataset(file, is_implicit_vr, is_little_endian, stop_when=note)
        if len(ds) == len({tag for tag, _, _ in seen}):  # pydicom returns an empty one at an unexpected end
            return ds, None, False
    if not seen:
        return ds, None, True
    tag, vr, length = seen[-1]
    calls = iter(range(1, len(seen) + 1))
    file.seek(start)
    ds = read_dataset(file, is_implicit_vr, is_little_endian, stop_when=lambda *_: next(calls) == len(seen))
    if tag == PIXEL_DATA and length == UNDEFINED_LENGTH:
        file.seek(file.tell() + (12 if vr in EXPLICIT_VR_LENGTH_32 else 8))
        ds[tag] = DataElement(tag, "OB", file.read(), is_undefined_length=True)
    return ds, tag, True


def _remove_cut_element(ds: Dataset) -> BaseTag | None:
    """Remove the element within which the data set ends, and return its tag; cut pixel data stay."""
    for tag in list(ds.keys()):
        element = ds.get_item(tag, keep_deferred=True)
        if tag == PIXEL_DATA or not isinstance(element, RawDataElement) or element.length == UNDEFINED_LENGTH:
            continue
        if len(element.value or b"") < element.length:
            del ds[tag]
            return tag
    return None
