"""MLLP frames: cut alike however the bytes come in pieces, and never across two messages."""

from __future__ import annotations

import itertools
import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.reporting.hl7.frames import END, START, Frames, Part, framed, receive_before

MESSAGE = st.binary(max_size=40).filter(lambda content: START not in content and b"\x1c" not in content)
"""MLLP allows neither byte within a message."""


def frames(*pieces: bytes) -> list[bytes]:
    """Messages of the frames that end in the pieces."""
    cut, found, message = Frames(), [], bytearray()
    for piece in pieces:
        for part, content in cut.parts(piece):
            if part is Part.START:
                message.clear()
            message += content
            if part is Part.END:
                found.append(bytes(message))
                message.clear()
    return found


@given(messages=st.lists(MESSAGE, min_size=1, max_size=4), cuts=st.lists(st.integers(0, 200), max_size=6))
def test_frames_are_the_same_however_their_bytes_are_cut(messages: list[bytes], cuts: list[int]) -> None:
    sent = b"".join(map(framed, messages))
    edges = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    pieces = [sent[start:end] for start, end in itertools.pairwise(edges)]
    assert frames(*pieces) == messages


def test_end_bytes_in_two_pieces_end_the_frame() -> None:
    assert frames(START + b"MSH" + END[:1], END[1:] + START) == [b"MSH"]


@pytest.mark.parametrize("end", [b"\x1c", b"\x1c\r", b"\x1c\n", b"\x1c\r\n"])
def test_frame_without_a_carriage_return_ends_at_its_separator(end: bytes) -> None:
    assert frames(START + b"one" + end, START + b"two" + end) == [b"one", b"two"]
    assert frames(START + b"one" + end + START + b"two" + end) == [b"one", b"two"]


def test_separator_within_a_message_stays_in_it() -> None:
    assert frames(START + b"a\x1cb" + END) == [b"a\x1cb"]


def test_message_that_its_sender_began_again_is_the_last_one() -> None:
    assert frames(START + b"half" + START + b"MSH|whole" + END) == [b"MSH|whole"]


@pytest.mark.parametrize("sent", [b"MSH|line one\x0bline two\x0bM\x0b", b"MSH|\x0b\x0bMS\x0bMSG"])
def test_line_break_of_a_word_processor_begins_no_message(sent: bytes) -> None:
    """Word writes a vertical tab for a line break within a paragraph; it arrives in pieces of any size."""
    whole = START + sent + END
    for cut in range(len(whole)):
        assert frames(whole[:cut], whole[cut:]) == [sent]
    assert frames(*(whole[at : at + 1] for at in range(len(whole)))) == [sent]
    begun_again = START + b"MSH|half" + whole
    for cut in range(len(begun_again)):
        assert frames(begun_again[:cut], begun_again[cut:]) == [sent]


def test_bytes_outside_of_frames_are_stray_unless_blank() -> None:
    cut = Frames()
    assert list(cut.parts(b"\r\n\xef\xbb\xbf\0")) == []
    assert list(cut.parts(b"HTTP/1.1 200 OK\r\n")) == [(Part.STRAY, b"HTTP/1.1 200 OK")]
    assert list(cut.parts(b"\r\n" + START + b"MSH\r\n")) == [(Part.START, b""), (Part.CONTENT, b"MSH\r\n")]
    assert list(cut.parts(END + b"\r\n")) == [(Part.END, b"")]


def test_bytes_that_do_not_come_before_the_deadline_are_a_time_out() -> None:
    receiver, sender = socket.socketpair()
    with receiver, sender:
        sender.sendall(b"MSH")
        assert receive_before(receiver, time.monotonic() + 60) == b"MSH"
        with pytest.raises(TimeoutError):
            receive_before(receiver, time.monotonic() - 1)
        sender.close()
        assert receive_before(receiver, time.monotonic() + 60) == b""
