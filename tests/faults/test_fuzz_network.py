"""Mutated streams of PDUs: no crash, no hang, no leak, and no file outside the spool.

``make fuzz`` runs the whole campaign. A stream is made from `SEED` and its number.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import struct
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.mutation import mutated
from tests.support.pdus import RELEASE_RP, RELEASE_RQ, Wire, pdu
from tests.support.receiving import Receiving, descriptors
from tests.support.waiting import PATIENCE_S, wait_until

SEED = 20261123
SHORT, CAMPAIGN = 200, 2000
AT_A_TIME = 6
HANGS_S = PATIENCE_S
ACCEPTS_S = 0.3
"""Time for the response to an association request: data sent before it would be aborted, and the rest not tried."""


@pytest.fixture
def receiving(tmp_path: Path) -> Iterator[Receiving]:
    receiving = Receiving(tmp_path / "state", request_s=5, idle_s=5, instance_mb=1)
    yield receiving
    receiving.close()


@pytest.fixture
def exceptions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Exceptions that ended a thread."""
    seen: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: seen.append(repr(args.exc_value)))
    return seen


def play(receiving: Receiving, number: int) -> None:
    """Send one stream in pieces, close the connection in one of several ways, and wait for the receiver to close it."""
    stream, rng = mutated(SEED, number)
    with Wire(receiving.port, HANGS_S) as wire:
        if rng.random() < 0.9:
            wire.send(stream.pop(0))
            wire.socket.settimeout(ACCEPTS_S)
            with contextlib.suppress(TimeoutError):
                wire.read_pdu()
            wire.socket.settimeout(HANGS_S)
        content = b"".join(stream)
        while content:
            size = rng.choice([1, 7, 100, 5000, 200000])
            wire.send(content[:size])
            content = content[size:]
        ending = rng.random()
        with contextlib.suppress(OSError):
            if ending < 0.2:  # a reset
                wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            if ending < 0.3:
                return
            wire.socket.shutdown(socket.SHUT_WR)
        try:
            while wire.read_pdu()[0]:
                pass
        except TimeoutError:
            pytest.fail(f"stream {number}: the connection is still open after {HANGS_S:.0f} s")


@pytest.mark.proves("SEC-3")
def test_mutated_streams_leave_no_crash_hang_or_leak(
    receiving: Receiving,
    exceptions: list[str],
    tmp_path: Path,
    campaign: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    _store_a_radiograph(receiving, "1.2.0")  # opens the files and connections that stay open
    before = descriptors()
    streams = range(CAMPAIGN if campaign else SHORT)
    with ThreadPoolExecutor(AT_A_TIME) as threads:
        list(threads.map(lambda number: play(receiving, number), streams))
    wait_until(lambda: receiving.is_quiet, "the end of every thread, place and half written file")
    assert exceptions == []
    # the database's pool may hold a connection more, of three files
    wait_until(lambda: descriptors() <= before + 3 * AT_A_TIME, "the end of every socket and file")
    assert not list(scratch.iterdir())
    assert set(tmp_path.iterdir()) == {scratch, receiving.folder}
    assert not list(tmp_path.parent.rglob("*evil*"))
    for file in receiving.files:
        assert file.name == hashlib.sha256(file.read_bytes()).hexdigest()
    assert len(receiving.recorded) == len(receiving.files) > 1, "some streams were only spoilt at their end"
    texts = {text for n in receiving.notices for text in (n.reason, n.calling_ae_title, n.called_ae_title)}
    assert all(text.isprintable() for text in texts), "a log line is one line"
    _store_a_radiograph(receiving, "1.2.9999")


def _store_a_radiograph(receiving: Receiving, uid: str) -> None:
    with Wire(receiving.port) as wire:
        wire.associate()
        assert wire.store(uid, b"bytes") == 0
        wire.send(pdu(RELEASE_RQ, b"\0" * 4))
        assert wire.read_pdu()[0] == RELEASE_RP
