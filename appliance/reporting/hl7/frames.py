"""MLLP framing, the same for both ends: a start byte, the message, two end bytes.

References
----------
HL7 v2 Transport Specification: MLLP, Release 1, section 2.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from enum import StrEnum

START, END = b"\x0b", b"\x1c\r"
"""Vertical tab; file separator and carriage return."""

PIECE_BYTES = 65536
"""Bytes read from a socket at a time."""

SHORTEST_WAIT_S = 0.001
"""Time-out of a socket after its deadline: zero would make it non-blocking."""

BLANK = b"\r\n\t \0\xef\xbb\xbf"
"""Bytes that some senders add between frames and before MSH: line ends, blanks, and UTF-8's byte order mark."""

_END = rb"\x1c(?=[\r\n\x0b]|\Z)"
"""An end. Some senders leave the carriage return out: a file separator also ends a frame before another start, before a
line feed, and as the last byte that has come. MLLP allows none within a message."""

_OUTSIDE = re.compile(rb"\x0b|" + _END)
"""A start or an end, outside of a frame."""

_INSIDE = re.compile(rb"\x0b(?=MSH)|" + _END)
"""A start or an end within a frame, where a vertical tab may also be a line break that a word processor left."""

_HALF_START = re.compile(rb"\x0bM?S?\Z")
"""Last bytes that have come of what may be a start within a frame."""


class Part(StrEnum):
    """Kind of a part of the received bytes: a start, a piece of a message, an end, or bytes outside of any frame."""

    START = "start"
    CONTENT = "content"
    END = "end"
    STRAY = "stray"


def framed(content: bytes) -> bytes:
    """Return the message with its framing."""
    return START + content + END


def receive_before(connection: socket.socket, deadline: float) -> bytes:
    """Return the next bytes of `connection`, none if the peer closed it; `deadline` is on the monotonic clock.

    Raises
    ------
    TimeoutError
        If nothing came before the deadline.
    """
    connection.settimeout(max(deadline - time.monotonic(), SHORTEST_WAIT_S))
    return connection.recv(PIECE_BYTES)


class Frames:
    """Bytes received on one connection, cut into the parts of frames; it keeps at most three bytes.

    A start within a frame begins a new message: its sender has given up the message before.
    """

    def __init__(self) -> None:
        self._is_inside = False
        self._held = b""

    def parts(self, piece: bytes) -> Iterator[tuple[Part, bytes]]:
        """Yield the parts of the next bytes from the socket; `BLANK` bytes outside of frames are dropped."""
        piece, self._held, at = self._held + piece, b"", 0
        while mark := (_INSIDE if self._is_inside else _OUTSIDE).search(piece, at):
            yield from self._between_marks(piece[at : mark.start()])
            at = mark.end()
            self._is_inside = mark[0] == START
            yield (Part.START if self._is_inside else Part.END), b""
        rest = piece[at:]
        if self._is_inside and (half := _HALF_START.search(rest)):
            rest, self._held = rest[: half.start()], rest[half.start() :]
        yield from self._between_marks(rest)

    def _between_marks(self, content: bytes) -> Iterator[tuple[Part, bytes]]:
        if not self._is_inside:
            content = content.strip(BLANK)
        if content:
            yield (Part.CONTENT if self._is_inside else Part.STRAY), content
