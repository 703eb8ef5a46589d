"""Destinations that drip, pour, claim and do not read: every exchange ends in time, with little memory."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from appliance.config import Configuration
from appliance.dicom.objects.secondary_capture import secondary_capture
from appliance.dicom.part10 import part10_bytes
from appliance.dicom.scu.pacs import Pacs
from appliance.dicom.scu.query import identities, querying
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.reason import ReasonCode
from appliance.errors import Away, OsteonError, Rejected, Transient
from appliance.http_client import LONGEST_RESPONSE_BYTES
from appliance.ports import Artefact, Fate
from appliance.reporting.fhir.destination import FhirServer
from appliance.service.roles import deliver
from tests.support.hostile import DRIP_S, Speak, associate_ac, drip, hostile_server, pour, read_http_request, read_pdu
from tests.support.outbox import Outbox, message, picture, radiograph
from tests.support.pacs import delivered, profile
from tests.support.pdus import P_DATA, RELEASE_RP, p_data, pdu
from tests.support.resources import MEBIBYTE, peak_bytes, reset_peak
from tests.support.results import finding, result
from tests.support.sources import variants
from tests.support.waiting import wait_until

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\n"
MOST_GROWTH_BYTES = 64 * MEBIBYTE
MOST_S = 30.0
"""Limit of each exchange: many times its time-out of one second, and much less than a drip would take."""

BUNDLE = Artefact(
    kind=ArtefactKind.FHIR,
    identifier="b",
    content=json.dumps({"entry": [{"resource": {"resourceType": "Patient"}}] * 3}).encode(),
)


@pytest.fixture(autouse=True)
def _bounded() -> Iterator[None]:
    """Check that a test ends in time, with little memory, and leaves no thread and no connection."""
    threads, files = set(threading.enumerate()), _connections()
    reset_peak(os.getpid())
    before, began = peak_bytes(os.getpid()), time.monotonic()
    yield
    assert time.monotonic() - began < MOST_S
    assert peak_bytes(os.getpid()) - before < MOST_GROWTH_BYTES
    wait_until(lambda: not set(threading.enumerate()) - threads, lambda: f"threads: {threading.enumerate()}")
    wait_until(lambda: _connections() <= files, "the connections to be closed")


def _connections() -> int:
    def target(path: Path) -> str:
        with contextlib.suppress(OSError):  # it was closed meanwhile
            return str(path.readlink())
        return ""

    return sum(target(path).startswith("socket:") for path in Path("/proc/self/fd").iterdir())


def error_of(speak: Speak) -> OsteonError:
    """Return the error of a Bundle to a server that speaks so."""
    with hostile_server(speak) as port, pytest.raises((Transient, Rejected)) as caught:
        FhirServer("FHIR", f"http://127.0.0.1:{port}/R4", timeout_s=1).send([BUNDLE])
    return caught.value


def transaction_response() -> bytes:
    return json.dumps({"type": "transaction-response", "entry": [{"response": {"status": "201"}}] * 3}).encode()


# FHIR ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
        OK + b"Content-Length: 1000000\r\n\r\n{",
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n" + b"1\r\n \r\n" * 1000,
        OK + b"\r\n{",
        OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b" ", mtime=0)[:10],
    ],
)
@pytest.mark.parametrize("at_once", [0, 40])
@pytest.mark.proves("SEC-4")
def test_response_that_drips_ends_with_the_timeout(head: bytes, at_once: int) -> None:
    def speak(connection: socket.socket, stop: threading.Event) -> None:
        read_http_request(connection)
        connection.sendall(head[:at_once])
        drip(connection, stop, head[at_once:] or b" ")

    error = error_of(speak)
    assert type(error) is Transient and error.code == ReasonCode.FHIR_TOO_SLOW


def test_server_that_is_silent_or_does_not_read_is_too_slow() -> None:
    def speak(_: socket.socket, stop: threading.Event) -> None:
        stop.wait(60)

    assert error_of(speak).code == ReasonCode.FHIR_TOO_SLOW
    big = Artefact(kind=ArtefactKind.FHIR, identifier="b", content=b" " * 20_000_000)
    with hostile_server(speak) as port, pytest.raises(Transient, match="fhir_too_slow"):
        FhirServer("FHIR", f"http://127.0.0.1:{port}/R4", timeout_s=1).send([big])


def test_compressed_response_is_read_up_to_its_limit() -> None:
    bomb = gzip.compress(bytes(400_000_000), 1)

    def speak(connection: socket.socket, _: threading.Event) -> None:
        read_http_request(connection)
        connection.sendall(OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb)

    reset_peak(os.getpid())
    before = peak_bytes(os.getpid())
    error = error_of(speak)
    assert error.code == ReasonCode.FHIR_ANSWER and str(LONGEST_RESPONSE_BYTES) in error.reason
    assert peak_bytes(os.getpid()) - before < MOST_GROWTH_BYTES


@pytest.mark.parametrize(
    "head", [OK + b"\r\n", OK + b"Content-Length: 4000000000\r\n\r\n", OK + b"Content-Encoding: br\r\n\r\n"]
)
@pytest.mark.proves("SEC-4")
def test_endless_response_is_no_answer(head: bytes) -> None:
    def speak(connection: socket.socket, stop: threading.Event) -> None:
        read_http_request(connection)
        connection.sendall(head)
        pour(connection, stop, b"[" * 65536)

    assert error_of(speak).code == ReasonCode.FHIR_ANSWER


def test_response_nested_too_deep_is_no_answer() -> None:
    content = b"[" * 1_000_000

    def speak(connection: socket.socket, _: threading.Event) -> None:
        read_http_request(connection)
        connection.sendall(OK + b"Content-Length: %d\r\n\r\n" % len(content) + content)

    assert error_of(speak).code == ReasonCode.FHIR_ANSWER


@pytest.mark.parametrize("status", [b"500", b"422"])
def test_endless_body_of_an_error_is_not_read(status: bytes) -> None:
    def speak(connection: socket.socket, stop: threading.Event) -> None:
        read_http_request(connection)
        connection.sendall(b"HTTP/1.1 " + status + b" x\r\n\r\n")
        pour(connection, stop, b"x" * 65536)

    assert error_of(speak).code in (ReasonCode.FHIR_FAILED, ReasonCode.FHIR_REFUSED)


@pytest.mark.parametrize("encoding", ["identity", "gzip", "GZIP", "deflate"])
def test_response_of_each_encoding_is_read(encoding: str) -> None:
    content = transaction_response()
    forms = {"identity": content, "gzip": gzip.compress(content), "deflate": zlib.compress(content)}
    packed = forms[encoding.lower()]

    def speak(connection: socket.socket, _: threading.Event) -> None:
        read_http_request(connection)
        head = f"Content-Encoding: {encoding}\r\nContent-Length: {len(packed)}\r\n\r\n"
        connection.sendall(OK + head.encode() + packed)

    with hostile_server(speak) as port:
        sent = FhirServer("FHIR", f"http://127.0.0.1:{port}/R4", timeout_s=60).send([BUNDLE, BUNDLE])
    assert sent == ["accepted: 3 created, 0 already there or updated"] * 2


# DICOM --------------------------------------------------------------------------------------------


def pacs(port: int) -> Pacs:
    return Pacs(profile(port, timeout_s=1))


def large_picture() -> Artefact:
    """Return a picture larger than the buffers of a connection."""
    source = variants()["utf8"]
    noise = np.random.default_rng(1).integers(0, 255, (2400, 1800, 3), np.uint8)
    ds = secondary_capture(source, result(source, finding()), noise)
    return Artefact(kind=ArtefactKind.SECONDARY_CAPTURE, identifier=str(ds.SOPInstanceUID), content=part10_bytes(ds))


@pytest.mark.parametrize("head", [b"", pdu(2, b"\0" * 5000)[:1], pdu(2, b"\0" * 5000), b"\2\0\xff\xff\xff\xff"])
def test_association_accept_that_drips_ends_with_the_timeout(head: bytes) -> None:
    def speak(connection: socket.socket, stop: threading.Event) -> None:
        read_pdu(connection)
        if head:
            drip(connection, stop, head)
        stop.wait(60)

    with hostile_server(speak) as port, pytest.raises(Away, match="unreachable"):
        delivered(pacs(port), [picture(radiograph())])


@pytest.mark.parametrize("head", [b"\2\0\xff\xff\xff\xff", b"\4\0\xff\xff\xff\xff", b"\2\0\0\x40\0\0"])
def test_pdu_that_claims_gigabytes_is_not_read(head: bytes) -> None:
    def speak(connection: socket.socket, stop: threading.Event) -> None:
        read_pdu(connection)
        connection.sendall(head)
        pour(connection, stop, bytes(1 << 20))

    with hostile_server(speak) as port, pytest.raises(Away, match="unreachable"):
        delivered(pacs(port), [picture(radiograph())])


@pytest.mark.parametrize(
    "reply",
    [
        b"\4",
        b"\4\0\0\0\x10\0\0",
        p_data((1, 1, b"x")) * 1000,
        b"\4\0\xff\xff\xff\xff",
    ],
)
@pytest.mark.parametrize("speed", [drip, pour])
def test_store_response_that_does_not_end_is_given_up(reply: bytes, speed: Speak) -> None:
    def speak(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(associate_ac(read_pdu(connection)[1]))
        while read_pdu(connection)[1][5] != 2:  # the last fragment of the data set
            pass
        speed(connection, stop, reply)  # type: ignore[call-arg]  # both take the bytes to send

    with hostile_server(speak) as port:
        (outcome,) = delivered(pacs(port), [picture(radiograph())]).values()
    assert (outcome.fate, outcome.code) == (Fate.LATER, ReasonCode.STORE_TRANSIENT)


@pytest.mark.parametrize("read_bytes", [0, 1])
def test_pacs_that_does_not_read_is_given_up(read_bytes: int) -> None:
    def speak(connection: socket.socket, stop: threading.Event) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(associate_ac(read_pdu(connection)[1]))
        while not stop.wait(DRIP_S):
            if read_bytes and not connection.recv(read_bytes):
                return

    with hostile_server(speak) as port:
        (outcome,) = delivered(pacs(port), [large_picture()]).values()
    assert (outcome.fate, outcome.code) == (Fate.LATER, ReasonCode.STORE_TRANSIENT)


def find_response(status: int, has_identifier: int) -> bytes:
    """Return a C-FIND-RSP in the first presentation context (PS3.7 9.3.2.2)."""

    def element(tag: int, content: bytes) -> bytes:
        return struct.pack("<HHI", 0, tag, len(content)) + content

    values = element(0x0002, b"1.2.840.10008.5.1.4.1.2.2.1\0") + element(0x0100, b"\x20\x80")
    values += element(0x0120, b"\1\0") + element(0x0800, struct.pack("<H", 0x0001 if has_identifier else 0x0101))
    values += element(0x0900, struct.pack("<H", status))
    return p_data((1, 3, element(0, struct.pack("<I", len(values))) + values))


def test_endless_matches_of_a_query_are_given_up() -> None:
    match = find_response(0xFF00, 1) + p_data((1, 2, struct.pack("<HH2sH", 0x0020, 0x000D, b"UI", 4) + b"1.2\0"))

    def speak(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(associate_ac(read_pdu(connection)[1]))
        read_pdu(connection)
        pour(connection, stop, match)

    with hostile_server(speak) as port:
        peer = pacs(port)._peer
        with pytest.raises(Transient, match="find_failed"), querying(peer) as association:
            identities(association, "1.2")


def test_release_that_is_not_answered_ends() -> None:
    def speak(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(associate_ac(read_pdu(connection)[1]))
        while read_pdu(connection)[0] == P_DATA:
            pass
        drip(connection, stop, pdu(RELEASE_RP, b"\0" * 4)[:7])

    with hostile_server(speak) as port, querying(pacs(port)._peer):
        pass


def test_pause_of_our_own_after_a_late_response_is_no_silence_of_the_peer() -> None:
    late_s, pause_s = 2.6, 2.6  # each shorter than the time-out, together longer than the deadline of the exchange

    def speak(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(associate_ac(read_pdu(connection)[1]))
        while read_pdu(connection)[1][5] != 2:  # the last fragment of the identifier
            pass
        stop.wait(late_s)
        connection.sendall(find_response(0, 0))
        read_pdu(connection)
        connection.sendall(pdu(RELEASE_RP, b"\0" * 4))

    with hostile_server(speak) as port:
        peer = Pacs(profile(port, timeout_s=3))._peer
        with querying(peer) as association:
            assert identities(association, "1.2") == []
            threading.Event().wait(pause_s)
            assert association.is_established


# Couriers -----------------------------------------------------------------------------------------


def test_hung_courier_is_replaced_and_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    freed, entered = threading.Event(), threading.Semaphore(0)
    real = deliver.outlet_of

    class Hanging:
        """An outlet that hangs, as no peer can make one hang any more."""

        name, most = "ris", 1

        def deliver(self, artefacts: dict[int, Artefact], may_go: object) -> Iterator[tuple[int, object]]:
            entered.release()
            freed.wait(60)
            yield from ()

        def prove(self, sent: object) -> Iterator[tuple[int, object]]:
            yield from ()

    monkeypatch.setattr(deliver, "outlet_of", lambda config: Hanging() if config.name == "ris" else real(config))
    monkeypatch.setattr(deliver, "HANGS_AFTER_S", 0.5)

    def speak(connection: socket.socket, _: threading.Event) -> None:
        read_http_request(connection)
        body = transaction_response()
        connection.sendall(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    with hostile_server(speak) as port:
        settings = {
            "state_dir": tmp_path,
            "destinations": [
                {"kind": "hl7", "name": "ris", "host": "127.0.0.1", "port": 1},
                {"kind": "fhir", "name": "fhir", "base_url": f"http://127.0.0.1:{port}/R4"},
            ],
        }
        config = Configuration.model_validate(settings)
        box = Outbox(config.state_dir)
        role = deliver.DeliverRole(config, box.engine)
        try:
            for number in range(5):
                ds = radiograph(number)
                box.answer(ds, ("ris", message(ds)), ("fhir", BUNDLE))

            def is_replaced() -> bool:
                role.step()
                return "a courier hangs to ris" in role.detail()

            wait_until(is_replaced, lambda: f"another courier, not {role.detail()}")
            wait_until(lambda: "fhir 5" in role.detail(), lambda: f"the other destination, not {role.detail()}")
            wait_until(lambda: bool(role.step()) or entered.acquire(blocking=False), "the courier that hangs")
        finally:
            freed.set()
            role.close()
        box.engine.dispose()
