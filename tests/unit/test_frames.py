"""MLLP frames: cut alike however the bytes come in pieces, and never across two messages."""

from __future__ import annotations

import itertools
import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.reporting.hl7.frames import END, PIECE_BYTES, START, FrameBuffer, content_of, framed, receive_before

MESSAGE = st.binary(max_size=40).filter(lambda content: START not in content and END not in content + b"\r")


def frames(*pieces: bytes) -> list[bytes]:
    """Frames of a buffer that gets the pieces one after the other."""
    buffer, found = FrameBuffer(), []
    for piece in pieces:
        buffer.append(piece)
        while (frame := buffer.take_frame()) is not None:
            found.append(frame)
    return found


@given(messages=st.lists(MESSAGE, min_size=1, max_size=4), cuts=st.lists(st.integers(0, 200), max_size=6))
def test_frames_are_the_same_however_their_bytes_are_cut(messages: list[bytes], cuts: list[int]) -> None:
    sent = b"".join(map(framed, messages))
    edges = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    pieces = [sent[start:end] for start, end in itertools.pairwise(edges)]
    assert [content_of(frame) for frame in frames(*pieces)] == messages


def test_end_bytes_in_two_pieces_end_the_frame() -> None:
    assert frames(START + b"MSH" + END[:1], END[1:] + START) == [START + b"MSH"]


def test_message_that_its_sender_began_again_is_the_last_one() -> None:
    assert content_of(START + b"half" + START + b"whole") == b"whole"


def test_frame_without_a_start_has_no_content() -> None:
    assert content_of(b"HTTP/1.1 200 OK") is None and content_of(START) == b""


def test_line_ends_between_frames_are_skipped_and_those_within_are_kept() -> None:
    buffer = FrameBuffer()
    buffer.append(b"\r\n\n" + START + b"MSH\r\n")
    buffer.skip_line_ends()
    buffer.append(END)
    assert buffer.take_frame() == START + b"MSH\r\n" and len(buffer) == 0
    buffer.skip_line_ends()
    assert len(buffer) == 0 and buffer.take_frame() is None


def test_buffer_shows_where_a_message_starts() -> None:
    buffer = FrameBuffer()
    buffer.append(b"x" * PIECE_BYTES)
    assert not buffer.has_start() and buffer.beginning() == b""
    buffer.append(START)
    assert not buffer.has_start()  # beyond the first piece
    buffer = FrameBuffer()
    buffer.append(b"junk" + START + b"MSH|^~\\&")
    assert buffer.has_start() and buffer.beginning() == b"MSH|^~\\&"


def test_bytes_that_do_not_come_before_the_deadline_are_a_time_out() -> None:
    receiver, sender = socket.socketpair()
    with receiver, sender:
        sender.sendall(b"MSH")
        assert receive_before(receiver, time.monotonic() + 60) == b"MSH"
        with pytest.raises(TimeoutError):
            receive_before(receiver, time.monotonic() - 1)
        sender.close()
        assert receive_before(receiver, time.monotonic() + 60) == b""
