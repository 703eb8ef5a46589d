"""Radiologist reports over HL7 from other implementations: acknowledged once they are durable, and kept once."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import hl7
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hl7.client import MLLPClient
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Row, insert, select, update

from appliance.clock import now
from appliance.config import Configuration, Receive
from appliance.domain.radiologist_report import RadiologistReport
from appliance.domain.reason import ReasonCode
from appliance.errors import Fault, Rejected, Transient
from appliance.reporting.hl7.radiologist_report import REFUSALS, ReportReader
from appliance.reporting.hl7.radiologist_report import acknowledgement as acknowledged
from appliance.service.report_inbox import ReportInbox
from appliance.service.roles.receive import ReceiveRole
from appliance.status.app import create_app
from appliance.storage.database import open_database, readers
from appliance.storage.notices import Notebook
from appliance.storage.retention import prune_radiologist_reports
from appliance.storage.spool import INCOMING, FileSpool, Incoming
from appliance.storage.tables import metadata, notices, radiologist_reports, studies
from provisioning.operation.check import find_problems
from tests.integration.test_status import PACK
from tests.support.certificates import Authority
from tests.support.waiting import wait_until

STUDY = "1.2.840.113619.2.5.1762583153"
START, END = b"\x0b", b"\x1c\r"
PRIVATE = ("Łukasiewicz", "MR-4711", "ACC-77", STUDY)


def report(
    control_id: str = "R-1",
    *,
    header: str = "P|2.5.1||||||UNICODE UTF-8",
    kind: str = "ORU^R01^ORU_R01",
    obr: str = "OBR|1|PL-1|FIL-1|XR^Wrist^L||||||||||||||ACC-77|||||||F",
    study: str = f"OBX|1|RP|113014^DICOM Study^DCM||{STUDY}^RIS^Application^DICOM||||||F",
) -> str:
    return "\r".join(
        [
            f"MSH|^~\\&|RIS|HOSPITAL|OSTEON|BOX|20260301101500||{kind}|{control_id}|{header}",
            "PID|1||MR-4711^^^H^MR||Łukasiewicz^Žofie||19700101|F",
            obr,
            study,
            "OBX|2|TX|59776-5^Findings^LN||Fracture of the distal radius.||||||F",
            "",
        ]
    )


class Inbox:
    """The real inbox in a folder, with its rows, notices and spool."""

    def __init__(
        self, folder: Path, secure: dict[str, Any] | None = None, reserve_mb: int = 0, **settings: Any
    ) -> None:
        self.engine = open_database(f"sqlite:///{folder / 'osteon.db'}")
        self.folder = folder
        self.spool = FileSpool(folder / "spool")
        self.notebook = Notebook()
        listen = {"port": 0} | settings
        self.config = Receive.model_validate({"hl7": listen, "tls": secure, "reserve_mb": reserve_mb})
        self._inbox = ReportInbox(self.config, self.engine, self.spool, self.notebook)
        self.port = self._inbox.port

    def send(self, message: str | bytes) -> hl7.Message:
        with MLLPClient("127.0.0.1", self.port) as client:
            return acknowledgement(client.send_message(message))

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 10)

    @property
    def rows(self) -> list[Row[Any]]:
        with self.engine.connect() as c:
            return list(c.execute(select(radiologist_reports).order_by(radiologist_reports.c.id)))

    @property
    def turned_away(self) -> dict[tuple[str, str], int]:
        self.notebook.write(self.engine)
        with self.engine.connect() as c:
            return {(n.subject, n.code): n.times for n in c.execute(select(notices))}

    def close(self) -> None:
        self._inbox.close()
        self.engine.dispose()


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Callable[..., Inbox]]:
    opened: list[Inbox] = []

    def start(**settings: Any) -> Inbox:
        opened.append(Inbox(tmp_path, **settings))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def acknowledgement(frame: bytes) -> hl7.Message:
    """Return the acknowledgement as another parser reads it, after a third has validated it."""
    assert frame.startswith(START) and frame.endswith(END)
    text = frame[1:-2].decode("utf-8", "replace")
    named = re.sub(r"\r(MSA\|..\|)(?=\|)", r"\r\1-", text.rstrip("\r"))  # of nothing, MSA-2 is empty
    parse_message(named, validation_level=VALIDATION_LEVEL.STRICT).validate()
    for private in PRIVATE:
        assert private not in text
    return hl7.parse(text)


def verdict(answer: hl7.Message) -> tuple[str, str, str]:
    """MSA-1, MSA-2 and the digits of ERR-3."""
    errors = str(answer.segment("ERR")[3]).split("^")[0] if "ERR" in str(answer) else ""
    return str(answer.segment("MSA")[1]), str(answer.segment("MSA")[2]), errors


def frame_of(connection: socket.socket) -> bytes:
    received = b""
    while END not in received:
        piece = connection.recv(4096)
        assert piece, "closed without an acknowledgement"
        received += piece
    return received


def test_report_is_kept_and_acknowledged(inbox: Callable[..., Inbox]) -> None:
    box = inbox()
    with box.engine.begin() as c:
        c.execute(
            insert(studies).values(
                study_instance_uid=STUDY,
                state="done",
                attempts=0,
                not_before=now(),
                code="",
                reason="",
                created_at=now(),
            )
        )
    answer = box.send(report())
    assert verdict(answer) == ("AA", "R-1", "")
    assert [str(answer.segment("MSH")[n]) for n in (3, 4, 5, 6)] == ["OSTEON", "BOX", "RIS", "HOSPITAL"]
    (row,) = box.rows
    assert box.spool.get(row.digest) == report().encode()
    assert (row.sending_application, row.sending_facility, row.control_id) == ("RIS", "HOSPITAL", "R-1")
    assert (row.accession_number, row.study_instance_uid, row.result_status) == ("ACC-77", STUDY, "F")
    assert row.matched_study_instance_uid == STUDY
    assert box.turned_away == {}


def test_acknowledgement_waits_for_the_commit(inbox: Callable[..., Inbox]) -> None:
    box = inbox()
    answers: list[bytes] = []
    with box.connect() as connection:
        with box.engine.begin() as c:  # another writer holds the write lock
            c.execute(select(studies))
            connection.sendall(START + report().encode() + END)
            connection.settimeout(0.5)
            with pytest.raises(TimeoutError):
                connection.recv(1)
        connection.settimeout(10)
        answers.append(frame_of(connection))
        assert len(box.rows) == 1
    assert verdict(acknowledgement(answers[0]))[0] == "AA"


def test_sender_in_small_pieces_is_read_and_reads_the_acknowledgements(inbox: Callable[..., Inbox], peer: Any) -> None:
    box = inbox()
    messages = [report("R-1"), report("R-2"), report("R-3", kind="ADT^A01^ADT_A01"), report("R-1")]
    command = ["node", peer("mllp_sender.js"), str(box.port), "37"]
    done = subprocess.run(command, input=json.dumps(messages), capture_output=True, text=True, timeout=60, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(a["code"], a["id"], a["error"].split("^")[0]) for a in answers] == [
        ("AA", "R-1", ""),
        ("AA", "R-2", ""),
        ("AR", "R-3", "200"),
        ("AA", "R-1", ""),
    ]
    assert {a["receiver"] for a in answers} == {"RIS"} and answers[0]["type"] == "ACK^R01^ACK"
    assert [row.control_id for row in box.rows] == ["R-1", "R-2"]


def test_two_messages_in_one_piece_with_noise_between_are_both_acknowledged(inbox: Callable[..., Inbox]) -> None:
    box = inbox()
    with box.connect() as connection:
        half = START + b"MSH|^~\\&|RIS"  # given up by its sender
        connection.sendall(START + report("A").encode() + END + b"\r\n" + half + START + report("B").encode() + END)
        received = b""
        while received.count(END) < 2:
            received += connection.recv(4096)
    first, second, _ = received.split(END)
    assert verdict(acknowledgement(first + END)) == ("AA", "A", "")
    assert verdict(acknowledgement(second + END)) == ("AA", "B", "")
    assert len(box.rows) == 2


def test_repeated_report_is_acknowledged_and_kept_once(inbox: Callable[..., Inbox]) -> None:
    box = inbox()
    changed = report(obr="OBR|1|PL-1|FIL-1|XR^Wrist^L||||||||||||||ACC-77|||||||C")
    assert [verdict(box.send(m))[0] for m in (report(), report(), changed)] == ["AA"] * 3
    assert [row.result_status for row in box.rows] == ["F", "C"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"study": f"ZDS|{STUDY}^RIS^Application^DICOM"}, ("ACC-77", STUDY, "F")),
        ({"study": "ZDS|not a uid"}, ("ACC-77", "", "F")),
        ({"obr": "OBR|1||FIL\\T\\1^RIS|XR^Wrist^L"}, ("FIL&1", STUDY, "")),
        ({"obr": "OBR|1||FIL-1|XR|", "study": "OBX|1|ST|121022^Accession Number^DCM||ACC-9"}, ("ACC-9", "", "")),
        ({"obr": "OBR|1" + "|" * 24 + "?"}, ("", STUDY, "")),
    ],
)
def test_report_fields_are_read_from_every_usual_place(
    fields: dict[str, str], expected: tuple[str, str, str], inbox: Callable[..., Inbox]
) -> None:
    box = inbox()
    assert verdict(box.send(report(**fields)))[0] == "AA"
    (row,) = box.rows
    assert (row.accession_number, row.study_instance_uid, row.result_status) == expected
    assert row.matched_study_instance_uid == ""


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"good morning", ("AE", "", "100")),
        (report().encode("utf-16"), ("AE", "", "100")),
        (report().replace("|", "$"), ("AE", "", "100")),
        (report(obr="NTE|1"), ("AE", "R-1", "100")),
        (report(""), ("AE", "", "101")),
        (report("x" * 200), ("AE", "", "102")),
        (report(header="P|2.5.1||||||ISO IR87"), ("AE", "R-1", "103")),
        (report(kind="ADT^A04^ADT_A01"), ("AR", "R-1", "200")),
        (report(kind=""), ("AR", "R-1", "200")),
        (report(kind="ORU^R30^ORU_R30"), ("AR", "R-1", "201")),
        (report(header="T|2.5.1"), ("AR", "R-1", "202")),
        (report(header="P|3.0"), ("AR", "R-1", "203")),
        (report(header="P|2.3.1"), ("AA", "R-1", "")),
        (report(kind="ADT^A04", header="P|2.4"), ("AR", "R-1", "")),  # without ERR-3, which came with 2.5
        (report(header="P|2.5.1|||AL|NE"), ("CA", "R-1", "")),
        (report(header="P|2.5.1|||AL|AL"), ("AA", "R-1", "")),
        (report(header="P|2.5.1").replace("\r", "\r\n"), ("AA", "R-1", "")),
    ],
)
def test_message_of_each_kind_gets_its_acknowledgement(
    message: str | bytes, expected: tuple[str, str, str], inbox: Callable[..., Inbox]
) -> None:
    box = inbox()
    assert verdict(box.send(message)) == expected
    assert len(box.rows) == expected[0].endswith("A")
    assert verdict(box.send(report("NEXT")))[0] == "AA"
    with box.engine.connect() as c:
        box.notebook.write(box.engine)
        for noted in c.execute(select(notices.c.reason)).scalars():
            assert not any(private in noted for private in PRIVATE)


@pytest.mark.parametrize(
    ("declared", "codec"),
    [
        ("", "utf-8"),
        ("", "cp1252"),
        ("ASCII", "cp1252"),
        ("UNICODE UTF-8", "utf-8"),
        ("UNICODE UTF8", "utf-8"),
        ("UTF-8", "utf-8"),
        ("utf8", "utf-8"),
        ("UNICODE", "utf-8"),
        ("ISO_IR 192", "utf-8"),
        ("8859/1", "latin-1"),
        ("8859-1", "latin-1"),
        ("ISO 8859-1", "latin-1"),
        ("ISO8859-1", "latin-1"),
        ("ISO-8859-1", "latin-1"),
        ("ISO8859/1", "latin-1"),
        ("ISO_8859-1:1987", "latin-1"),
        ("ISO_IR 100", "latin-1"),
        ("Latin1", "latin-1"),
        ("8859/2", "iso8859-2"),
        ("8859/15", "iso8859-15"),
        ("ISO8859-15", "iso8859-15"),
        ("ISO 8859/15", "iso8859-15"),
        ("WINDOWS-1252", "cp1252"),
        ("CP1252", "cp1252"),
        ("ANSI", "cp1252"),
        ("windows-1250", "cp1250"),
        ("8859/1~UNICODE UTF-8", "latin-1"),
        ("~UNICODE UTF-8", "utf-8"),
        ("UNICODE UTF-8~", "utf-8"),
    ],
)
def test_character_set_in_the_spelling_of_a_sender_is_read(
    declared: str, codec: str, inbox: Callable[..., Inbox]
) -> None:
    box = inbox()
    header = f"MSH|^~\\&|Münster|HÖHE|OSTEON|BOX|20260301101500||ORU^R01|R-1|P|2.5.1||||||{declared}\r"
    message = header + "OBR|1||FIL-1|XR|" + "|" * 13 + "ÄÜ-77" + "|" * 7 + "F\r"
    assert verdict(box.send(message.encode(codec)))[0] == "AA"
    (row,) = box.rows
    assert (row.sending_application, row.sending_facility) == ("Münster", "HÖHE")
    assert (row.accession_number, row.result_status) == ("ÄÜ-77", "F")
    assert box.spool.get(row.digest) == message.encode(codec)


@pytest.mark.parametrize("declared", ["ISO IR87", "UNICODE UTF-16", "GB 18030-2000", "nonsense", "8859/12"])
def test_character_set_that_is_not_read_is_refused(declared: str, inbox: Callable[..., Inbox]) -> None:
    assert verdict(inbox().send(report(header=f"P|2.5.1||||||{declared}"))) == ("AE", "R-1", "103")


@pytest.mark.parametrize("before", ["\r", "\n", "\r\n\r\n", "\ufeff", "\ufeff\r\n", " ", "\0"])
def test_message_with_bytes_before_its_header_is_kept_as_received(before: str, inbox: Callable[..., Inbox]) -> None:
    box = inbox()
    assert verdict(box.send(before + report())) == ("AA", "R-1", "")
    (row,) = box.rows
    assert (row.control_id, row.accession_number) == ("R-1", "ACC-77")
    assert box.spool.get(row.digest) == (before + report()).encode()


@pytest.mark.parametrize("before", [b"", b"\r\n", b"\xef\xbb\xbf", b"\0\r"])
@pytest.mark.parametrize("end", [b"\x1c", b"\x1c\n"])
def test_frames_without_a_carriage_return_are_answered_one_by_one(
    before: bytes, end: bytes, inbox: Callable[..., Inbox]
) -> None:
    box = inbox()
    with box.connect() as connection:
        for control_id in ("A", "B"):
            connection.sendall(before + START + report(control_id).encode() + end)
            assert verdict(acknowledgement(frame_of(connection))) == ("AA", control_id, "")
    assert [row.control_id for row in box.rows] == ["A", "B"] and box.turned_away == {}


@pytest.mark.parametrize("segment", ["\r", "a\r", "OBX|\r", "OBX|1|RP|113014|\r", "|", "OBR|" + "|" * 60])
def test_message_is_read_the_same_however_it_is_cut_and_filled(segment: str) -> None:
    text = report().replace("OBR|1", (segment * 5).rstrip("|") + "\rOBR|1", 1) + segment * 2000
    wanted = read(text.encode())
    for size in (1, 7, 65536):
        reader = ReportReader()
        for at in range(0, len(text.encode()), size):
            reader.feed(text.encode()[at : at + size])
        assert reader.report() == wanted


def read(message: bytes) -> RadiologistReport:
    reader = ReportReader()
    reader.feed(message)
    return reader.report()


def test_connections_of_one_address_leave_places_for_others(inbox: Callable[..., Inbox]) -> None:
    box = inbox(connections=3, connections_per_peer=2, peers=["127.0.0.0/8"])

    def connect(address: str) -> socket.socket:
        return socket.create_connection(("127.0.0.1", box.port), 10, source_address=(address, 0))

    with connect("127.0.0.2"), connect("127.0.0.2"), connect("127.0.0.2") as third, connect("127.0.0.3") as other:
        assert third.recv(1) == b""
        other.sendall(START + report().encode() + END)
        assert verdict(acknowledgement(frame_of(other)))[0] == "AA"
    assert box.turned_away == {("hl7", "hl7_too_many_connections"): 1}


def test_blanks_between_messages_do_not_keep_a_place(inbox: Callable[..., Inbox]) -> None:
    box = inbox(idle_s=0.3)
    with box.connect() as dripping:
        dripping.settimeout(0.05)
        for _ in range(200):
            try:
                dripping.sendall(b"\r")
                if dripping.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            raise AssertionError("blanks keep a place for ever")


def test_message_that_is_given_up_leaves_no_file(inbox: Callable[..., Inbox]) -> None:
    box = inbox(message_mb=1)
    half = START + report("HALF").encode()
    with box.connect() as connection:
        connection.sendall(half + half + b"x" * 10_000)
        connection.sendall(START + report("WHOLE").encode() + END)
        assert verdict(acknowledgement(frame_of(connection)))[:2] == ("AA", "WHOLE")
        connection.sendall(half)
    assert verdict(box.send(report(kind="ADT^A04^ADT_A01")))[0] == "AR"
    wait_until(lambda: ("hl7", "hl7_cut") in box.turned_away, "the end of the cut connection")
    assert [row.control_id for row in box.rows] == ["WHOLE"]
    wait_until(lambda: not list((box.folder / "spool" / INCOMING).iterdir()), "no file of a message that was given up")


def test_full_or_low_disk_asks_the_sender_to_try_again(
    inbox: Callable[..., Inbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    low = inbox(reserve_mb=10**9)
    assert verdict(low.send(report())) == ("AE", "R-1", "207")
    box = inbox()

    def full(_: object) -> str:
        raise Transient(ReasonCode.DISK_FULL, "the spool cannot keep it: No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Incoming, "keep", full)
        assert verdict(box.send(report())) == ("AE", "R-1", "207")
    assert box.rows == []
    assert box.turned_away == {("hl7", "disk_full"): 1}
    assert verdict(box.send(report()))[0] == "AA"


def test_unlisted_address_is_refused(inbox: Callable[..., Inbox]) -> None:
    box = inbox(peers=["192.0.2.1"])
    with box.connect() as connection:
        assert connection.recv(1) == b""
    assert box.turned_away == {("stranger", "hl7_address_not_listed"): 1}


def test_message_without_mllp_or_too_large_is_refused_with_a_reason(inbox: Callable[..., Inbox]) -> None:
    box = inbox(message_mb=1)
    with box.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: box\r\n\r\n")
        assert verdict(acknowledgement(frame_of(connection)))[:2] == ("AE", "")
        assert connection.recv(1) == b""
    with box.connect() as connection:
        connection.sendall(START + report().encode() + b"OBX|3|TX|||" + b"x" * 1_100_000)
        assert verdict(acknowledgement(frame_of(connection))) == ("AE", "R-1", "207")
        assert connection.recv(1) == b""
    assert box.turned_away == {("hl7", "hl7_no_mllp"): 1, ("hl7", "hl7_too_large"): 1}
    assert box.rows == []


def test_silent_and_half_messages_end_with_their_time_outs(inbox: Callable[..., Inbox]) -> None:
    box = inbox(idle_s=0.3, message_s=0.3)
    with box.connect() as silent, box.connect() as half:
        half.sendall(START + b"MSH|")
        assert silent.recv(1) == b""
        assert half.recv(1) == b""
    with box.connect() as dripping:
        dripping.settimeout(0.05)
        for _ in range(200):  # a byte in 50 ms is never silent
            try:
                dripping.sendall(START)
                if dripping.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except ConnectionError:  # it was closed while a byte was on its way
                break
        else:
            raise AssertionError("half a message may take for ever")
    wait = threading.Event()
    assert any(box.turned_away == {("hl7", "hl7_too_slow"): 2} or wait.wait(0.02) for _ in range(500))
    with box.connect() as gone:
        gone.sendall(START + b"MSH|")
    assert verdict(box.send(report()))[0] == "AA"
    assert any(("hl7", "hl7_cut") in box.turned_away or wait.wait(0.02) for _ in range(500))


def test_connection_beyond_the_limit_is_refused(inbox: Callable[..., Inbox]) -> None:
    box = inbox(connections=2)
    with box.connect() as one, box.connect() as two, box.connect() as three:
        assert three.recv(1) == b""
        for number, connection in enumerate((one, two)):
            connection.sendall(START + report(f"R-{number}").encode() + END)
            assert verdict(acknowledgement(frame_of(connection)))[0] == "AA"
    assert box.turned_away == {("hl7", "hl7_too_many_connections"): 1}
    wait = threading.Event()

    def is_let_in() -> bool:
        try:
            return verdict(box.send(report()))[0] == "AA"
        except (AssertionError, OSError):  # its place is not free yet
            return False

    assert any(is_let_in() or wait.wait(0.02) for _ in range(500))


def test_report_over_tls_needs_a_certificate(inbox: Callable[..., Inbox], tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    box_files, ris_files = authority.issue("box"), authority.issue("ris")
    box = inbox(
        secure={"certificate": box_files.certificate, "key": box_files.key, "client_ca": authority.certificate},
        tls=True,
    )
    context = ssl.create_default_context(cafile=str(authority.certificate))
    with (
        pytest.raises(OSError, match=r"(?i)certificate|reset|broken|closed|eof"),
        context.wrap_socket(box.connect(), server_hostname="localhost") as stranger,
    ):
        assert stranger.recv(1)
        raise AssertionError("it was let in without a certificate")
    context.load_cert_chain(ris_files.certificate, ris_files.key)
    with context.wrap_socket(box.connect(), server_hostname="localhost") as connection:
        connection.sendall(START + report().encode() + END)
        assert verdict(acknowledgement(frame_of(connection)))[0] == "AA"
    assert box.turned_away == {("hl7", "hl7_tls_failed"): 1}


def test_pruned_report_loses_its_message_and_keeps_its_row(inbox: Callable[..., Inbox]) -> None:
    box = inbox()
    for control_id in ("OLD", "NEW"):
        box.send(report(control_id))
    old = radiologist_reports.c.control_id == "OLD"
    with box.engine.begin() as c:
        c.execute(update(radiologist_reports).where(old).values(received_at=now() - timedelta(days=31)))
    assert prune_radiologist_reports(box.engine, box.spool, days=30) == 1
    assert prune_radiologist_reports(box.engine, box.spool, days=30) == 0
    assert [(r.control_id, box.spool.has(r.digest), r.pruned_at is None) for r in box.rows] == [
        ("OLD", False, False),
        ("NEW", True, True),
    ]
    assert verdict(box.send(report("OLD")))[0] == "AA"
    assert box.spool.has(box.rows[0].digest) and box.rows[0].pruned_at is None
    assert prune_radiologist_reports(box.engine, box.spool, days=30) == 1


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.lists(st.binary(max_size=20), max_size=20).map(lambda fields: b"MSH|^~\\&|" + b"|".join(fields)),
        st.builds(
            lambda at, piece: report().encode()[:at] + piece + report().encode()[at + len(piece) :],
            st.integers(0, len(report())),
            st.binary(max_size=8),
        ),
    )
)
def test_message_of_any_bytes_is_read_or_refused_within_one_frame(message: bytes) -> None:
    refusal = None
    reader = ReportReader()
    try:
        reader.feed(message)
        reader.report()
    except Rejected as error:
        refusal = error
        assert error.code in REFUSALS
    answer = acknowledged(reader.header, refusal)
    lines = answer.split(b"\r")
    assert [line[:3] for line in lines] in ([b"MSH", b"MSA", b""], [b"MSH", b"MSA", b"ERR", b""])
    assert not any(c < 0x20 for line in lines for c in line)
    assert lines[1].split(b"|")[1] in ((b"AA", b"CA") if refusal is None else (b"AE", b"AR", b"CE", b"CR"))


def test_check_names_the_setting_that_keeps_senders_away() -> None:
    def found(**listen: Any) -> list[str]:
        config = Configuration.model_validate({"receive": {"hl7": listen}})
        return [problem.partition(":")[0] for problem in find_problems(config)]

    assert found() == []
    assert found(host="0.0.0.0") == ["receive.hl7.peers"]
    assert found(host="0.0.0.0", peers=["192.0.2.11"]) == []
    assert found(host="192.0.2.1", peers=["192.0.2.11"]) == ["receive.hl7.host"]


def test_table_is_the_one_that_the_migration_makes(inbox: Callable[..., Inbox]) -> None:
    with inbox().engine.connect() as c:
        differences = compare_metadata(MigrationContext.configure(c), metadata)
    assert [d for d in differences if "reports_received" in str(d)] == []


def test_receive_role_listens_and_shows_reports_on_page_and_metrics(tmp_path: Path) -> None:
    config = Configuration.model_validate(
        {"state_dir": tmp_path, "receive": {"port": 0, "reserve_mb": 0, "hl7": {"port": 0}}}
    )
    engine = open_database(config.database)
    role = ReceiveRole(config, engine)
    port = int(role.detail().rpartition(":")[2])
    with MLLPClient("127.0.0.1", port) as client:
        assert verdict(acknowledgement(client.send_message(report())))[0] == "AA"
        assert verdict(acknowledgement(client.send_message(report(kind="ADT^A04^ADT_A01"))))[0] == "AR"
    role.step()
    client = create_app(readers(engine), config, PACK, "1").test_client()
    page, metrics = client.get("/turned-away").text, client.get("/metrics").text
    assert "only reports are taken" in page
    assert 'osteon_reports_received_total{status="F"} 1.0' in metrics
    assert 'osteon_turned_away_total{code="hl7_message_type",who="hl7"} 1.0' in metrics
    assert not any(private in page + metrics for private in PRIVATE)
    taken = Configuration.model_validate({"state_dir": tmp_path, "receive": {"port": 0, "hl7": {"port": port}}})
    with pytest.raises(Fault, match="cannot_listen"):
        ReceiveRole(taken, engine)
    role.close()
    engine.dispose()
