"""MLLP framing, the same for both ends: a start byte, the message, two end bytes.

References
----------
HL7 v2 Transport Specification: MLLP, Release 1, section 2.
"""

from __future__ import annotations

import socket
import time

START, END = b"\x0b", b"\x1c\r"
"""Vertical tab; file separator and carriage return."""

PIECE_BYTES = 65536
"""Bytes read from a socket at a time, and bytes within which a start byte has to come."""

SHORTEST_WAIT_S = 0.001
"""Time-out of a socket after its deadline: zero would make it non-blocking."""


def framed(content: bytes) -> bytes:
    """Return the message with its framing."""
    return START + content + END


def content_of(frame: bytes) -> bytes | None:
    """Return the message in a frame without end bytes, or None if no message starts in it.

    The message follows the last start byte: a sender that starts again has given up the message before.
    """
    _, start, content = frame.rpartition(START)
    return content if start else None


def receive_before(connection: socket.socket, deadline: float) -> bytes:
    """Return the next bytes of `connection`, none if the peer closed it; `deadline` is on the monotonic clock.

    Raises
    ------
    TimeoutError
        If nothing came before the deadline.
    """
    connection.settimeout(max(deadline - time.monotonic(), SHORTEST_WAIT_S))
    return connection.recv(PIECE_BYTES)


class FrameBuffer:
    """Bytes received on one connection, cut into frames; bytes after one frame begin the next."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._searched = 0

    def __len__(self) -> int:
        return len(self._received)

    def append(self, piece: bytes) -> None:
        """Add bytes from the socket."""
        self._received += piece

    def skip_line_ends(self) -> None:
        """Drop line ends before the next frame, which some senders add."""
        while self._received.startswith((b"\r", b"\n")):
            del self._received[0]

    def has_start(self) -> bool:
        """Return whether a start byte is among the first `PIECE_BYTES` bytes."""
        return START in self._received[:PIECE_BYTES]

    def beginning(self) -> bytes:
        """Return the first bytes of a message that has not ended yet."""
        return bytes(self._received[:PIECE_BYTES]).partition(START)[2]

    def take_frame(self) -> bytes | None:
        """Remove and return the bytes up to the next end of a frame; None if none has come yet."""
        end = self._received.find(END, max(0, self._searched - 1))
        if end < 0:
            self._searched = len(self._received)
            return None
        frame = bytes(self._received[:end])
        del self._received[: end + len(END)]
        self._searched = 0
        return frame
