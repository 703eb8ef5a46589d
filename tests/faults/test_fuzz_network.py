"""Mutated streams of PDUs: no crash, no hang, no leak, and no file outside the spool.

``make fuzz`` runs the whole campaign. A stream is known by its number under `SEED`.
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
from tests.support.waiting import wait_until

SEED = 20261123
SHORT, CAMPAIGN = 200, 2000
AT_A_TIME = 6
HANGS_S = 20.0
ACCEPTS_S = 0.3
"""Who sends data before it is let in is aborted, and nothing behind that is tried."""


@pytest.fixture
def receiving(tmp_path: Path) -> Iterator[Receiving]:
    receiving = Receiving(tmp_path / "state", request_s=5, idle_s=5, instance_mb=1)
    yield receiving
    receiving.close()


@pytest.fixture
def exceptions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What ended a thread by surprise."""
    seen: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: seen.append(repr(args.exc_value)))
    return seen


def play(receiving: Receiving, number: int) -> None:
    """Send one stream in pieces, hang up in one of the ways there are, and see the other side hang up, too."""
    stream, rng = mutated(SEED, number)
    with Wire(receiving.port, HANGS_S) as wire:
        if rng.random() < 0.9:
            wire.send(stream.pop(0))
            wire.socket.settimeout(ACCEPTS_S)
            with contextlib.suppress(TimeoutError):
                wire.answer()
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
            while wire.answer()[0]:
                pass
        except TimeoutError:
            pytest.fail(f"stream {number}: the connection is still open after {HANGS_S:.0f} s")


def test_mutated_streams(
    receiving: Receiving,
    exceptions: list[str],
    tmp_path: Path,
    campaign: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    _takes_a_radiograph(receiving, "1.2.0")  # what opens once and stays open is open
    before = descriptors()
    streams = range(CAMPAIGN if campaign else SHORT)
    with ThreadPoolExecutor(AT_A_TIME) as threads:
        list(threads.map(lambda number: play(receiving, number), streams))
    wait_until(lambda: receiving.is_quiet, "every thread, place and half file to be given back")
    assert exceptions == []
    # the database's pool may hold a connection more, of three files
    wait_until(lambda: descriptors() <= before + 3 * AT_A_TIME, "sockets and files to be closed")
    assert not list(scratch.iterdir())
    assert set(tmp_path.iterdir()) == {scratch, receiving.folder}
    assert not list(tmp_path.parent.rglob("*evil*"))
    for file in receiving.files:
        assert file.name == hashlib.sha256(file.read_bytes()).hexdigest()
    assert len(receiving.kept) == len(receiving.files) > 1, "some streams were only spoilt at their end"
    said = {text for n in receiving.notices for text in (n.reason, n.calling_ae_title, n.called_ae_title)}
    assert all(text.isprintable() for text in said), "a log line is one line"
    _takes_a_radiograph(receiving, "1.2.9999")


def _takes_a_radiograph(receiving: Receiving, uid: str) -> None:
    with Wire(receiving.port) as wire:
        wire.associate()
        assert wire.store(uid, b"bytes") == 0
        wire.send(pdu(RELEASE_RQ, b"\0" * 4))
        assert wire.answer()[0] == RELEASE_RP
