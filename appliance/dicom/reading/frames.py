"""The compressed stream of a single frame, in fragments or bare, and the markers in it.

References
----------
DICOM PS3.5 A.4 (fragments); ITU-T T.81 B.1.1 (JPEG), T.87 C.1 (JPEG-LS), T.800 A (JPEG 2000) for the markers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

ITEM = b"\xfe\xff\x00\xe0"
"""Tag of an item; compressed transfer syntaxes are little endian."""

JPEG = b"\xff\xd8\xff"
"""Start of a JPEG or JPEG-LS stream."""

JPEG_2000 = (b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  ")
"""Start of a JPEG 2000 code stream, and of a JP2 file around one."""

END_OF_IMAGE, START_OF_IMAGE, START_OF_CODE_STREAM = 0xD9, 0xD8, 0x4F
START_OF_SCAN, START_OF_DATA, START_OF_PACKET, END_OF_PACKET_HEADER = 0xDA, 0x93, 0x91, 0x92
JPEG_LS_FRAME = 0xF7

_ENTROPY_CODED_FOLLOWS = (START_OF_SCAN, START_OF_DATA, START_OF_PACKET, END_OF_PACKET_HEADER)
_WITHOUT_LENGTH = (START_OF_IMAGE, START_OF_CODE_STREAM, START_OF_DATA, END_OF_PACKET_HEADER)

_IN_HEADER = re.compile(rb"\xff+([\x01-\xfe])", re.DOTALL)
_IN_ENTROPY_CODED = re.compile(rb"\xff([\x90-\xcf\xd8-\xfe])", re.DOTALL)
"""A marker within entropy-coded bytes, which never hold these two bytes; restart markers belong to the data."""


def is_compressed(value: bytes) -> bool:
    """Return whether the value of Pixel Data begins as fragments, or as a stream."""
    return value.startswith((ITEM, JPEG, *JPEG_2000))


def frame(value: bytes) -> bytes:
    """Return the stream of the only frame: all its fragments, whatever the offset table says.

    The fragments end with the sequence delimiter, the value, or bytes that are no item. A stream without its table, or
    without any fragments, is returned as well.
    """
    fragments: list[bytes] = []
    at = 0
    while value[at : at + 4] == ITEM:
        end = at + 8 + int.from_bytes(value[at + 4 : at + 8], "little")
        fragments.append(value[at + 8 : end])
        at = end
    if not fragments:
        return value
    has_table = len(fragments) > 1 and not fragments[0].startswith((JPEG, *JPEG_2000))
    return b"".join(fragments[has_table:])


def markers(stream: bytes) -> Iterator[tuple[int, int]]:
    """Yield each marker of a JPEG, JPEG-LS or JPEG 2000 stream with the offset behind it, up to the end of the image.

    The last is `END_OF_IMAGE` unless the stream is cut, or runs into another image.
    """
    at = max(stream.find(JPEG_2000[0]), 0)
    pattern = _IN_HEADER
    while found := pattern.search(stream, at):
        code, at = found[1][0], found.end()
        yield code, at
        if code == END_OF_IMAGE:
            return
        if code not in _WITHOUT_LENGTH:
            at += int.from_bytes(stream[at : at + 2])
        pattern = _IN_ENTROPY_CODED if code in _ENTROPY_CODED_FOLLOWS else _IN_HEADER
