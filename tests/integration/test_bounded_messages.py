"""HL7 messages of ten megabytes: the process of the DICOM listener stays small, and goes on to store radiographs."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from appliance.config import read_configuration
from appliance.reporting.hl7.mllp import acknowledgement_of
from tests.support.pdus import Wire
from tests.support.ports import free_ports
from tests.support.resources import MEBIBYTE, limit_address_space, peak_bytes, processor_s
from tests.support.site import Site
from tests.support.waiting import PATIENCE_S

MESSAGE_BYTES = 9_900_000
"""Just below ``receive.hl7.message_mb`` (10)."""

FILLINGS = {
    "empty lines": b"\r",
    "segments of one letter": b"a\r",
    "observations without fields": b"OBX|\r",
    "observations of the study": b"OBX|1|RP|113014^DICOM Study^DCM||1.2.3|\r",
    "orders": b"OBR|1\r",
    "fields": b"|",
    "repetitions": b"~",
    "long text": b"x",
}

MOST_GROWTH_BYTES = 32 * MEBIBYTE
"""Growth for five messages of ten megabytes at a time: a few times less than one of them takes as text and lists."""

MOST_PROCESSOR_S = 75.0
"""Processor time for seventeen messages of ten megabytes, some five times as much as they take."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path) as site:
        (port,) = free_ports(1)
        settings = f"receive.hl7 = {{ port = {port}, connections_per_peer = 10, message_s = {PATIENCE_S} }}\n"
        site.config.write_text(settings + site.config.read_text())
        site.start("receive")
        yield site


def hl7_port(site: Site) -> int:
    return read_configuration(site.config).receive.hl7.port  # type: ignore[union-attr]  # the fixture sets it


def send(port: int, control_id: str, filling: bytes) -> str:
    """Send a report of `MESSAGE_BYTES`, filled up before and after its order; return MSA-1."""
    head = f"MSH|^~\\&|RIS|H|OSTEON|BOX|20260301101500||ORU^R01|{control_id}|P|2.5.1\rPID|1||4711\r".encode()
    order = b"\rOBR|1||FIL-1|XR|" + b"|" * 13 + b"ACC-77" + b"|" * 7 + b"F\r"
    half = filling * ((MESSAGE_BYTES - len(head) - len(order)) // len(filling) // 2)
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
        connection.sendall(b"\x0b" + head + half + order + half + b"\x1c\r")
        received = b""
        while not received.endswith(b"\x1c\r"):
            piece = connection.recv(4096)
            assert piece, "closed without an acknowledgement"
            received += piece
    answer = acknowledgement_of(received[1:-2])
    assert answer and answer.control_id == control_id
    return answer.code


@pytest.mark.proves("SEC-4")
def test_large_messages_leave_the_dicom_listener_its_memory(site: Site) -> None:
    pid, port = site.pid("receive"), hl7_port(site)
    with Wire(site.port) as wire:
        wire.associate()
        assert wire.store("1.2.1", b"") == 0
    assert send(port, "FIRST", b"a\r") == "AA"
    before, used = peak_bytes(pid), processor_s(pid)
    limit_address_space(pid, 8 * MOST_GROWTH_BYTES)
    with ThreadPoolExecutor(5) as senders:
        jobs = [
            senders.submit(send, port, f"{number}-{name}"[:20], filling)
            for number in range(2)
            for name, filling in FILLINGS.items()
        ]
        with Wire(site.port) as wire:
            wire.associate()
            for number in range(20):
                assert wire.store(f"1.2.2.{number}", b"") == 0
        assert [job.result() for job in jobs] == ["AA"] * len(jobs)
    assert peak_bytes(pid) - before < MOST_GROWTH_BYTES
    assert processor_s(pid) - used < MOST_PROCESSOR_S
    assert site.pid("receive") == pid and site.stop("receive") == 0
