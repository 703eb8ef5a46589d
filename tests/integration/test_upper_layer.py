"""The Storage SCP over real sockets: hostile, silent, slow and interrupted peers lose their own connection only."""

import contextlib
import errno
import logging
import os
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from pydicom.filereader import read_file_meta_info
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from appliance.dicom.scp import admission, dimse, incoming_instance, upper_layer
from appliance.dicom.scp.admission import SPARE
from appliance.dicom.transfer_syntaxes import ACCEPTED, RADIOGRAPHS
from appliance.domain.notice import Subject
from appliance.domain.reason import ReasonCode
from appliance.network import CIPHERS
from appliance.storage.tables import instances
from tests.support.pdus import (
    ABORT,
    ACCEPT,
    DX,
    IMPLICIT,
    P_DATA,
    REJECT,
    RELEASE_RP,
    RELEASE_RQ,
    SR,
    VERIFICATION,
    Wire,
    associate_rq,
    c_echo_rq,
    c_store_rq,
    command,
    item,
    p_data,
    pdu,
    status_of,
)
from tests.support.receiving import Receiving
from tests.support.waiting import wait_until

ELEMENT = struct.pack("<HHI", 0x0008, 0x0060, 2) + b"DX"
Start = Callable[..., Receiving]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start receivers; at the end each has released its threads and slots, and still stores a radiograph."""
    started: list[Receiving] = []

    def begin(**config: object) -> Receiving:
        started.append(Receiving(tmp_path / str(len(started)), **config))
        return started[-1]

    yield begin
    for receiving in started:
        wait_until(partial(getattr, receiving, "is_quiet"), "threads and slots to be released")
        store_a_radiograph(receiving, "1.2.9999")
        receiving.close()


def store_a_radiograph(receiving: Receiving, uid: str) -> None:
    with Wire(receiving.port) as wire:
        wire.associate()
        assert wire.store(uid, ELEMENT) == 0
        wire.send(pdu(RELEASE_RQ, b"\0" * 4))
        assert wire.read_pdu()[0] == RELEASE_RP
    assert uid in receiving.recorded


def codes(receiving: Receiving) -> list[str]:
    return [notice.code for notice in receiving.notices]


def test_fragmented_data_set_is_stored_as_sent(start: Start) -> None:
    receiving = start()
    with Wire(receiving.port) as wire:
        wire.associate()
        wire.send(p_data((1, 3, c_echo_rq())))
        assert status_of(wire.read_pdu()[1]) == 0
        # a data set in several fragments, of several PDUs and several in one
        wire.send(p_data((3, 1, c_store_rq("1.2.3")[:20]), (3, 3, c_store_rq("1.2.3")[20:])))
        wire.send(p_data((3, 0, ELEMENT[:3]), (3, 0, ELEMENT[3:5])) + p_data((3, 2, ELEMENT[5:])))
        assert status_of(wire.read_pdu()[1]) == 0
    (file,) = receiving.files
    assert file.read_bytes().endswith(ELEMENT)
    assert file.read_bytes()[128:132] == b"DICM"


def test_same_instance_sent_again_is_answered_with_success_and_stored_once(start: Start) -> None:
    receiving = start()
    for _ in range(2):
        with Wire(receiving.port) as wire:
            wire.associate()
            assert wire.store("1.2.3", ELEMENT) == 0
            assert wire.store("1.2.3", ELEMENT) == 0
    assert receiving.recorded == ["1.2.3"]
    assert len(receiving.files) == 1


def test_success_is_sent_after_the_commit(start: Start) -> None:
    receiving = start()
    held, asked, keep = threading.Event(), threading.Event(), receiving.record_instance

    def slow(received: object) -> bool:
        asked.set()
        assert held.wait(20)
        return keep(received)

    receiving.record_instance = slow
    with Wire(receiving.port) as wire:
        wire.associate()
        wire.send(p_data((3, 3, c_store_rq("1.2.3"))) + p_data((3, 2, ELEMENT)))
        assert asked.wait(20)
        assert [f for f in receiving.files if f.parent.name != "incoming"], (
            "the file is kept before the row is committed"
        )
        wire.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            wire.socket.recv(1)
        held.set()
        wire.socket.settimeout(20)
        assert status_of(wire.read_pdu()[1]) == 0


@pytest.mark.parametrize(
    ("request_pdu", "code"),
    [
        (associate_rq((2, DX, [IMPLICIT])), "malformed_request"),  # PS3.8 9.3.2.2: ids are odd
        (associate_rq((0, DX, [IMPLICIT])), "malformed_request"),
        (associate_rq((1, DX, [IMPLICIT]), (1, SR, [IMPLICIT])), "malformed_request"),
        (associate_rq((1, DX, [])), "malformed_request"),
        (associate_rq(maximum_length=None), "malformed_request"),
        (associate_rq(maximum_length=6), "malformed_request"),  # no room for a fragment beside its header
        (associate_rq(maximum_length=3), "malformed_request"),
        (associate_rq(version=2), "malformed_request"),
        (pdu(1, b""), "malformed_request"),
        (pdu(1, associate_rq()[6:99] + item(0x20, b"\1")), "malformed_request"),
        (b"\x01\x00\xff\xff\xff\xff", "malformed_request"),
        (pdu(2, b"\0" * 68), "no_association_request"),
        (pdu(4, b""), "no_association_request"),
        (b"GET / HTTP/1.1\r\n\r\n", "no_association_request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "tls_on_plain_port"),
    ],
)
def test_malformed_association_request_is_aborted_and_noted(start: Start, request_pdu: bytes, code: str) -> None:
    receiving = start()
    with Wire(receiving.port) as wire:
        wire.send(request_pdu)
        assert wire.read_pdu()[0] == ABORT
        assert wire.read_pdu() == (0, b""), "the socket is closed"
    assert codes(receiving) == [code]


def test_other_application_context_is_rejected(start: Start) -> None:
    receiving = start()
    with Wire(receiving.port) as wire:
        wire.send(associate_rq(application_context="1.2.3.4"))
        assert wire.read_pdu() == (REJECT, b"\0\1\1\2")
    assert codes(receiving) == ["application_context"]


@pytest.mark.parametrize(
    ("config", "titles", "answer", "code"),
    [
        ({}, {"called": "OTHER"}, b"\0\1\1\7", "called_ae_title"),
        ({"peers": [{"address": "127.0.0.1", "ae_title": "CT9"}]}, {}, b"\0\1\1\3", "calling_ae_title"),
        ({}, {"called": " "}, b"\0\1\1\7", "called_ae_title"),
        ({}, {"called": "\xd6STEON"}, b"\0\1\1\7", "called_ae_title"),
        ({}, {"calling": "\0"}, b"\0\1\1\3", "calling_ae_title"),
        ({}, {"calling": "R\xd6\tM1"}, b"\0\1\1\3", "calling_ae_title"),
    ],
)
def test_unlisted_ae_title_is_rejected_with_the_reason(
    tmp_path: Path, config: dict[str, object], titles: dict[str, str], answer: bytes, code: str
) -> None:
    receiving = Receiving(tmp_path, **config)
    with Wire(receiving.port) as wire:
        wire.send(associate_rq(**titles))  # type: ignore[arg-type]
        assert wire.read_pdu() == (REJECT, answer)
    (notice,) = receiving.notices
    assert (notice.code, notice.address) == (code, "127.0.0.1")
    shown = {name: ascii(title.strip(" \0"))[1:-1] for name, title in titles.items()}
    assert notice.calling_ae_title == shown.get("calling", "ROOM1")
    assert notice.called_ae_title == shown.get("called", "OSTEON")
    for title in shown.values():
        assert f"'{title}'" in notice.reason
    receiving.close()


def test_request_of_unlisted_address_is_rejected_by_its_head_alone(tmp_path: Path) -> None:
    """Decoding half a megabyte of items would take seconds."""
    receiving = Receiving(tmp_path, peers=[{"address": "192.0.2.0/24"}])
    with Wire(receiving.port) as wire:
        wire.send(pdu(1, associate_rq()[6:74] + bytes(500_000))[:74])
        assert wire.read_pdu() == (REJECT, b"\0\1\1\1")
        assert wire.read_pdu() == (0, b"")
    (notice,) = receiving.notices
    assert (notice.subject, notice.code) == ("stranger", "address_not_listed")
    assert (notice.calling_ae_title, notice.called_ae_title) == ("", ""), "a stranger may invent titles without end"
    receiving.close()


@pytest.mark.parametrize("padding", ["\0", " \0"])
def test_ae_titles_padded_with_nul_are_accepted(start: Start, padding: str) -> None:
    receiving = start(peers=[{"address": "127.0.0.1", "ae_title": "ROOM1"}])
    with Wire(receiving.port) as wire:
        wire.associate(called="OSTEON".ljust(16, padding[-1]), calling=("ROOM1" + padding).ljust(16, "\0"))
        assert wire.store("1.2.3", ELEMENT) == 0
    with receiving.engine.connect() as c:
        assert c.execute(select(instances.c.calling_ae_title)).scalar() == "ROOM1"


def test_listed_peer_may_call_any_of_the_own_titles(start: Start) -> None:
    peers = [{"address": "127.0.0.1", "ae_title": "CT9"}, {"address": "127.0.0.0/8", "ae_title": "ROOM1"}]
    receiving = start(peers=peers, also_called=["OLDBOX"])
    with Wire(receiving.port) as wire:
        wire.associate(called="OLDBOX")
        assert wire.store("1.2.3", ELEMENT) == 0


def test_silent_connections_are_limited_and_closed(start: Start) -> None:
    receiving = start(request_s=3, associations_per_peer=2)
    before, most = threading.active_count(), 2 + SPARE
    wires = [Wire(receiving.port) for _ in range(60)]
    wait_until(
        lambda: codes(receiving).count("too_many_connections") == 60 - most,
        "the connections beyond the limit to be closed",
        2.5,
    )
    assert threading.active_count() - before <= most
    for wire in wires:
        assert wire.read_pdu() == (0, b"")
        wire.socket.close()
    wait_until(lambda: codes(receiving).count("silent") == most, "every silent connection to be noted")


def test_connections_of_strangers_leave_slots_for_listed_peers(tmp_path: Path) -> None:
    receiving = Receiving(tmp_path, peers=[{"address": "192.0.2.1"}], request_s=2, associations_per_peer=20)
    wires = [Wire(receiving.port) for _ in range(20)]
    wait_until(lambda: len(codes(receiving)) >= 12, "the connections beyond `SPARE` to be closed")
    assert set(codes(receiving)) == {"too_many_connections"}
    assert receiving.receiver.slots.connections <= 8
    for wire in wires:
        wire.socket.close()
    wait_until(lambda: receiving.is_quiet, "threads and slots to be released")
    receiving.close()


def test_slow_association_request_is_closed(start: Start) -> None:
    receiving = start(request_s=0.5)
    with Wire(receiving.port) as wire:
        for byte in associate_rq()[:3]:
            wire.send(bytes([byte]))
        assert wire.read_pdu() == (0, b"")
    assert codes(receiving) == ["silent"]


@pytest.mark.parametrize(("config", "number"), [({"associations": 2}, 2), ({"associations_per_peer": 3}, 3)])
def test_association_beyond_the_limit_is_rejected_as_transient(
    start: Start, config: dict[str, int], number: int
) -> None:
    receiving = start(**config)
    wires = [Wire(receiving.port) for _ in range(number)]
    for wire in wires:
        wire.associate()
    with Wire(receiving.port) as wire:
        wire.send(associate_rq())
        assert wire.read_pdu() == (REJECT, b"\0\2\3\2")
    assert codes(receiving) == ["too_many_associations"]
    wires.pop().socket.close()
    wait_until(lambda: receiving.receiver.slots.associations == number - 1, "a free slot")
    with Wire(receiving.port) as wire:
        wire.associate()
    for wire in wires:
        wire.socket.close()


@pytest.mark.proves("SEC-1")
def test_silent_associations_give_way_to_another_peer(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "GIVES_WAY_S", 0.2)
    receiving = start(associations=3)
    with Wire(receiving.port) as first, Wire(receiving.port) as second, Wire(receiving.port) as storing:
        for wire in (first, second, storing):
            wire.associate()
        storing.send(p_data((3, 3, c_store_rq("1.2.4"))))  # within a message it gives no way
        wait_until(lambda: len(receiving.files) == 1, "the instance to begin")
        threading.Event().wait(0.3)
        with Wire(receiving.port) as other:
            other.associate()
            assert other.store("1.2.3", ELEMENT) == 0
            assert first.read_pdu()[0] == ABORT
            assert second.store("1.2.5", ELEMENT) == 0
            storing.send(p_data((3, 2, ELEMENT)))
            assert status_of(storing.read_pdu()[1]) == 0
    wait_until(lambda: codes(receiving) == ["association_gave_way"], lambda: f"the notice, not {codes(receiving)}")
    assert sorted(receiving.recorded) == ["1.2.3", "1.2.4", "1.2.5"]


def test_silent_association_is_aborted(start: Start) -> None:
    receiving = start(idle_s=0.5)
    with Wire(receiving.port) as wire:
        wire.associate()
        assert wire.read_pdu()[0] == ABORT
    wait_until(lambda: codes(receiving) == ["association_silent"], "the notice")


def test_slow_message_of_prompt_pdus_is_aborted(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    receiving = start()
    monkeypatch.setattr(dimse, "SLOW_S", 0.5)
    with Wire(receiving.port) as wire:
        wire.associate()
        wire.socket.settimeout(0.05)
        wire.send(p_data((3, 3, c_store_rq("1.2.3"))))

        def is_aborted() -> bool:
            wire.send(p_data((3, 0, b"x")))
            with contextlib.suppress(TimeoutError):
                return wire.read_pdu()[0] == ABORT
            return False

        wait_until(is_aborted, "an abort", 20)
    wait_until(lambda: codes(receiving) == ["too_slow"], "the notice")
    wait_until(lambda: not receiving.files, "the incomplete instance to be removed")


def test_pace_of_a_message_is_measured_anew_for_each_message(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    receiving = start()
    monkeypatch.setattr(dimse, "SLOW_S", 0.2)
    with Wire(receiving.port) as wire:
        wire.associate()
        began = time.monotonic()
        while time.monotonic() < began + 0.5:
            assert wire.store("1.2.3", ELEMENT) == 0
    assert codes(receiving) == []


def test_slow_commit_does_not_count_as_silence_of_the_sender(start: Start) -> None:
    receiving = start(idle_s=0.5)
    keep, pause = receiving.record_instance, threading.Event()

    def slow(received: object) -> bool:
        pause.wait(1)
        return keep(received)

    receiving.record_instance = slow
    with Wire(receiving.port) as wire:
        wire.associate()
        assert wire.store("1.2.3", ELEMENT) == 0
        assert wire.store("1.2.4", ELEMENT) == 0


def test_slow_pdu_ends_the_association_and_its_instance_is_removed(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiving = start()
    monkeypatch.setattr(upper_layer, "PDU_S", 0.5)
    with Wire(receiving.port) as wire:
        wire.associate()
        wire.send(p_data((3, 3, c_store_rq("1.2.3"))) + p_data((3, 0, ELEMENT)))
        wait_until(lambda: receiving.files, "the first fragment in the spool")
        wire.send(p_data((3, 0, ELEMENT))[:8])
        while wire.read_pdu() != (0, b""):
            pass
    wait_until(lambda: not receiving.files, "the incomplete instance to be removed")
    assert codes(receiving) == ["too_slow"]


@pytest.mark.parametrize(("maximum_length", "number"), [(0, 1), (16384, 1), (128, 2)])
def test_response_is_sent_in_pdus_of_the_peers_maximum_length(start: Start, maximum_length: int, number: int) -> None:
    receiving = start()
    with Wire(receiving.port) as wire:
        wire.send(associate_rq(maximum_length=maximum_length))
        assert wire.read_pdu()[0] == ACCEPT
        wire.send(p_data((3, 3, c_store_rq("not a UID"))) + p_data((3, 2, ELEMENT)))
        bodies = [wire.read_pdu()[1] for _ in range(number)]
        assert all(len(body) <= (maximum_length or 16384) for body in bodies)
        assert [body[5] for body in bodies] == [1] * (number - 1) + [3], "command fragments, the last one marked"
        assert status_of(b"".join(body[6:] for body in bodies)) == 0xC000


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param(struct.pack(">BxI", P_DATA, 131073), id="a PDU longer than the maximum length"),
        pytest.param(struct.pack(">BxI", P_DATA, 0xFFFFFFFF), id="a PDU of 4 GB"),
        pytest.param(pdu(P_DATA, b""), id="no presentation data value"),
        pytest.param(pdu(P_DATA, struct.pack(">IBB", 1, 3, 3)), id="a value shorter than its header"),
        pytest.param(pdu(P_DATA, struct.pack(">IBB", 99, 3, 3)), id="a value longer than its PDU"),
        pytest.param(pdu(P_DATA, b"\0\0\2"), id="half a value"),
        pytest.param(p_data((3, 2, ELEMENT)), id="a data set without a command"),
        pytest.param(p_data((7, 3, c_store_rq("1.2.3"))), id="a context that was not accepted"),
        pytest.param(p_data((3, 3, b"")), id="an empty command set"),
        pytest.param(p_data((3, 3, b"\xff" * 40)), id="a command set of random bytes"),
        pytest.param(p_data((3, 1, b"\0" * 20000)), id="a command set beyond its limit"),
        pytest.param(p_data((3, 3, command(CommandField=1, CommandDataSetType=0))), id="a command set without a UID"),
        pytest.param(p_data((3, 3, command(CommandField=0x0020, CommandDataSetType=0, MessageID=1))), id="a C-FIND"),
        pytest.param(p_data((3, 3, command(CommandField=0x8001, CommandDataSetType=0x0101))), id="a response"),
        pytest.param(
            p_data((1, 3, command(AffectedSOPClassUID=DX, CommandField=0x30, MessageID=1, CommandDataSetType=0x0101))),
            id="a C-ECHO of a storage class",
        ),
        pytest.param(p_data((3, 3, c_store_rq("1.2.3"))) * 2, id="a command within a data set"),
        pytest.param(
            p_data((3, 3, c_store_rq("1.2.3"))) + p_data((5, 2, ELEMENT)), id="the data set in another context"
        ),
        pytest.param(
            p_data((3, 3, c_store_rq("1.2.3"))) + p_data((3, 2, ELEMENT), (3, 3, c_store_rq("1.2.4"))),
            id="the next message within the last PDU",
        ),
        pytest.param(pdu(9, b"\0" * 4), id="an unknown PDU type"),
        pytest.param(associate_rq(), id="a second association request"),
        pytest.param(pdu(2, b"\0" * 68), id="an acceptance"),
    ],
)
def test_protocol_violation_aborts_the_association(start: Start, hostile: bytes) -> None:
    receiving = start()
    with Wire(receiving.port) as wire:
        wire.associate()
        wire.send(hostile)
        kinds = []
        while (answer := wire.read_pdu())[0]:
            kinds.append(answer[0])
        assert ABORT in kinds
    wait_until(lambda: receiving.is_quiet, "threads and slots to be released")
    assert not [f for f in receiving.files if f.parent.name == "incoming"]


def test_too_large_instance_is_refused_and_the_next_is_stored(start: Start) -> None:
    receiving = start(instance_mb=1)
    fragment = p_data((3, 0, bytes(100_000)))
    with Wire(receiving.port) as wire:
        wire.associate()
        wire.send(p_data((3, 3, c_store_rq("1.2.3"))) + fragment * 11)
        wire.send(p_data((3, 2, b"")))
        status = wire.read_pdu()[1]
        assert status_of(status) == 0xC000
        assert b"larger than receive.instance_mb" in status
        assert receiving.files == []
        assert wire.store("1.2.4", ELEMENT) == 0
    (notice,) = receiving.notices
    assert (notice.subject, notice.code) == ("association", "instance_too_large")
    assert receiving.recorded == ["1.2.4"]


@pytest.mark.parametrize("storage_class", [DX, SR])
def test_far_too_large_instance_aborts_the_association(start: Start, storage_class: str) -> None:
    receiving = start(instance_mb=1)
    context = 3 if storage_class == DX else 5
    with Wire(receiving.port) as wire:
        wire.associate()
        wire.send(p_data((context, 3, c_store_rq("1.2.3", storage_class))))
        wire.send(p_data((context, 0, bytes(100_000))) * 21)
        assert wire.read_pdu()[0] == ABORT
    assert codes(receiving) == ["instance_too_large"]
    wait_until(lambda: not receiving.files, "the incomplete instance to be removed")


def test_messages_sent_without_waiting_are_stored_one_by_one(start: Start) -> None:
    """A message is read after the response to the last one; until then it waits in the sender's socket."""
    receiving = start()
    held, most, keep = threading.Event(), [0], receiving.record_instance

    def slow(received: object) -> bool:
        assert held.wait(20)
        most[0] = max(most[0], len([f for f in receiving.files if f.parent.name == "incoming"]))
        return keep(received)

    receiving.record_instance = slow
    with Wire(receiving.port) as wire:
        wire.associate()
        for number in range(50):
            wire.send(p_data((3, 3, c_store_rq(f"1.2.{number}"))) + p_data((3, 2, ELEMENT)))
        held.set()
        assert [status_of(wire.read_pdu()[1]) for _ in range(50)] == [0] * 50
    assert most[0] <= 1
    assert len(receiving.recorded) == 50


@pytest.mark.parametrize(
    ("uid", "storage_class", "status"),
    [
        ("../../etc/evil", DX, 0xC000), ("SECRETNAME^ANNA", DX, 0xC000), ("1." + "2" * 63, DX, 0xC000),
        ("..", DX, 0xC000), ("1.2.3", SR, 0x0122),
    ],
)  # fmt: skip
def test_refused_instance_is_logged_noted_and_not_stored(
    start: Start, caplog: pytest.LogCaptureFixture, uid: str, storage_class: str, status: int
) -> None:
    receiving = start()
    with Wire(receiving.port) as wire:
        wire.associate()
        wire.send(p_data((3, 3, c_store_rq(uid, storage_class))) + p_data((3, 2, ELEMENT)))
        assert status_of(wire.read_pdu()[1]) == status
        assert wire.store("1.2.3", ELEMENT) == 0, "the association goes on"
    assert receiving.recorded == ["1.2.3"]
    (notice,) = receiving.notices
    assert (notice.subject, notice.code, notice.calling_ae_title) == (
        Subject.ASSOCIATION, ReasonCode.INSTANCE_REFUSED, "ROOM1",
    )  # fmt: skip
    assert f"({status:04X})" in notice.reason
    (line,) = [record for record in caplog.records if notice.reason in record.getMessage()]
    assert line.levelno == logging.WARNING
    assert uid not in notice.reason + line.getMessage(), "a broken UID may hold a name"


@pytest.mark.parametrize("uid", ["1.2.03", "1.2.3.", ".1.2.3", "1..2", "7", "1." + "0" * 62])
def test_instance_with_an_odd_uid_of_digits_and_dots_is_stored(start: Start, uid: str) -> None:
    """fo-dicom #859, pynetdicom #88: leading zeros are in use."""
    receiving = start()
    store_a_radiograph(receiving, uid)
    assert receiving.notices == []


UNKNOWN = item(0x5F, b"made in 2031")


@pytest.mark.parametrize(
    "request_pdu",
    [
        associate_rq(user_information=UNKNOWN),
        associate_rq(user_information=item(0x55, b"VERSION NAME OF MORE THAN 16 CHARACTERS")),
        associate_rq(user_information=item(0x53, b"\0")),
        associate_rq(user_information=item(0x58, b"\x09\1" + b"\0\4USER" + b"\0\0")),
        pdu(1, associate_rq()[6:] + UNKNOWN),
        pdu(1, associate_rq()[6:74] + UNKNOWN + associate_rq()[74:]),
    ],
)
def test_unknown_or_unused_item_of_a_request_is_ignored(start: Start, request_pdu: bytes) -> None:
    """DICOM PS3.8 9.3.1: unrecognized items are skipped."""
    receiving = start()
    with Wire(receiving.port) as wire:
        wire.send(request_pdu)
        assert wire.read_pdu()[0] == ACCEPT
        assert wire.store("1.2.3", ELEMENT) == 0
    assert receiving.notices == []


def test_disk_full_within_an_instance_is_answered_out_of_resources(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiving = start()
    real, full = os.write, [True]

    def write(descriptor: int, content: bytes) -> int:
        if full[0] and len(content) == 1000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, content)

    monkeypatch.setattr(os, "write", write)
    with Wire(receiving.port) as wire:
        wire.associate()
        assert wire.store("1.2.3", bytes(1000)) == 0xA700
        assert (receiving.files, receiving.recorded) == ([], [])
        full[0] = False
        assert wire.store("1.2.3", bytes(1000)) == 0, "a repeated instance is stored"


def test_disk_below_the_reserve_is_answered_out_of_resources(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    receiving = start(reserve_mb=1)
    free_bytes = [999_999]
    monkeypatch.setattr(receiving.spool, "free_bytes", lambda: free_bytes[0])
    with Wire(receiving.port) as wire:
        wire.associate()
        assert wire.store("1.2.3", ELEMENT) == 0xA700
        assert receiving.files == []
        free_bytes[0] = 1_000_000
        assert wire.store("1.2.3", ELEMENT) == 0


def test_reserve_is_checked_within_an_instance(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    receiving = start(reserve_mb=1)
    monkeypatch.setattr(incoming_instance, "CHECK_DISK_BYTES", 2000)
    looks = iter([1_000_000, 999_999, 1_000_000])
    monkeypatch.setattr(receiving.spool, "free_bytes", lambda: next(looks, 1_000_000))
    with Wire(receiving.port) as wire:
        wire.associate()
        assert wire.store("1.2.3", bytes(3000)) == 0xA700
        assert receiving.files == []
        assert wire.store("1.2.3", bytes(1999)) == 0


@pytest.mark.parametrize(
    ("error", "name"),
    [(OperationalError("select", {}, Exception("locked")), "OperationalError"), (OSError(5), "OSError")],
)
def test_own_failure_before_the_first_byte_is_answered_out_of_resources(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception, name: str
) -> None:
    receiving = start()

    def trouble(*_: object) -> int:
        raise error

    with Wire(receiving.port) as wire, monkeypatch.context() as broken:
        wire.associate()
        broken.setattr(receiving.receiver, "_is_own_object", trouble)
        broken.setattr(receiving.spool, "free_bytes", trouble)
        assert wire.store("2.25.3", ELEMENT) == 0xA700
        broken.undo()
        assert wire.store("2.25.3", ELEMENT) == 0, "the association goes on"
    assert codes(receiving) == ["not_kept"]
    assert f"an instance cannot be kept ({name})" in receiving.notices[0].reason
    assert f"an instance cannot be kept ({name})" in caplog.text


@pytest.mark.parametrize(
    "ending", [b"", pdu(ABORT, b"\0" * 4), pdu(RELEASE_RQ, b"\0" * 4)], ids=["closed", "aborted", "released"]
)
def test_instance_cut_in_the_middle_is_removed_and_noted(start: Start, ending: bytes) -> None:
    receiving = start()
    with Wire(receiving.port) as wire:
        wire.associate()
        wire.send(p_data((3, 3, c_store_rq("1.2.3"))) + p_data((3, 0, ELEMENT)))
        wait_until(lambda: receiving.files, "the first fragment in the spool")
        wire.send(ending)
    wait_until(lambda: not receiving.files, "the incomplete instance to be removed")
    assert receiving.recorded == []
    assert codes(receiving) == ["instance_cut"]
    assert receiving.notices[0].calling_ae_title == "ROOM1"


def test_connection_closed_between_instances_is_not_noted(start: Start) -> None:
    receiving = start()
    with Wire(receiving.port) as wire:
        wire.associate()
        assert wire.store("1.2.3", ELEMENT) == 0
    wait_until(lambda: receiving.is_quiet, "threads and slots to be released")
    assert codes(receiving) == []


def test_connection_without_a_thread_returns_its_slot(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    receiving = start()
    begin = threading.Thread.start

    def full(thread: threading.Thread) -> None:
        if thread.name.endswith("(process_request_thread)"):
            raise RuntimeError("can't start new thread")
        begin(thread)

    with monkeypatch.context() as limit:
        limit.setattr(threading.Thread, "start", full)
        for _ in range(3):
            with Wire(receiving.port) as wire:
                assert wire.read_pdu() == (0, b"")
    wait_until(lambda: receiving.receiver.slots.connections == 0, "the slots to be released")


def test_association_runs_in_the_thread_of_its_connection(start: Start) -> None:
    receiving = start()
    before = threading.active_count()
    with Wire(receiving.port) as wire:
        wire.associate()
        assert wire.store("1.2.3", ELEMENT) == 0
        assert threading.active_count() == before + 1


def test_companion_is_accepted_noted_and_not_stored(start: Start) -> None:
    receiving = start()
    with Wire(receiving.port) as wire:
        wire.associate()
        assert wire.store("1.2.3", ELEMENT, SR) == 0
    assert (receiving.files, receiving.recorded) == ([], [])
    (notice,) = receiving.notices
    assert (notice.subject, notice.code) == ("instance", "not_a_radiograph")
    assert "Comprehensive SR Storage" in notice.reason


@pytest.mark.parametrize("storage_class", ["1.2.840.10008.5.1.4.1.1.3", "1.3.12.2.1107.5.9.1"])
def test_retired_and_private_companions_are_accepted_in_any_transfer_syntax(start: Start, storage_class: str) -> None:
    """Ultrasound (retired), and Siemens' non-image storage: pynetdicom knows neither."""
    receiving = start()
    with Wire(receiving.port) as wire:
        wire.send(associate_rq((3, storage_class, ["1.2.840.10008.1.2.4.50"])))
        assert wire.read_pdu()[0] == ACCEPT
        wire.send(p_data((3, 3, c_store_rq("1.2.3", storage_class))) + p_data((3, 2, ELEMENT)))
        assert status_of(wire.read_pdu()[1]) == 0
    assert codes(receiving) == ["not_a_radiograph"]


@pytest.mark.parametrize("made_by", [b"Osteon", b"Siemens "])
def test_object_of_another_box_is_recognised_by_uid_root_and_manufacturer(start: Start, made_by: bytes) -> None:
    receiving = start()
    with Wire(receiving.port) as wire:
        wire.associate()
        manufacturer = struct.pack("<HHI", 0x0008, 0x0070, len(made_by)) + made_by
        assert wire.store("2.25.77", ELEMENT + manufacturer + struct.pack("<HHI", 8, 0x1030, 2) + b"x ", SR) == 0
    assert codes(receiving) == ["own_answer" if made_by == b"Osteon" else "not_a_radiograph"]
    assert receiving.files == []


def test_own_object_is_recognised_by_its_uid_in_any_storage_class(start: Start) -> None:
    receiving = start()
    receiving.own_objects = {"2.25.78"}
    with Wire(receiving.port) as wire:
        wire.associate()
        assert wire.store("2.25.78", ELEMENT) == 0
        assert wire.store("2.25.79", ELEMENT) == 0
    assert codes(receiving) == ["own_answer"]
    assert receiving.recorded == ["2.25.79"]


@pytest.mark.parametrize("storage_class", RADIOGRAPHS)
@pytest.mark.parametrize("syntax", ACCEPTED, ids=lambda syntax: syntax.name)
def test_radiograph_in_each_transfer_syntax_is_stored_as_sent(start: Start, storage_class: str, syntax: str) -> None:
    receiving = start()
    with Wire(receiving.port) as wire:
        wire.send(associate_rq((3, storage_class, [syntax])))
        assert wire.read_pdu()[0] == ACCEPT
        wire.send(p_data((3, 3, c_store_rq("1.2.3", storage_class))) + p_data((3, 2, b"any bytes")))
        assert status_of(wire.read_pdu()[1]) == 0
    (file,) = receiving.files
    assert read_file_meta_info(file).TransferSyntaxUID == syntax
    assert file.read_bytes().endswith(b"any bytes")


def test_companions_are_rejected_if_so_configured(start: Start) -> None:
    receiving = start(companions=False)
    with Wire(receiving.port) as wire:
        wire.send(associate_rq((1, SR, [IMPLICIT])))
        kind, body = wire.read_pdu()
        assert kind == ACCEPT
        assert b"\1\0\3\0" in body, "abstract syntax not supported (PS3.8 table 9-18)"
    wait_until(lambda: codes(receiving) == ["nothing_taken"], "the notice of the rejected context")


def test_query_context_is_rejected_beside_an_accepted_radiograph(start: Start) -> None:
    receiving = start()
    with Wire(receiving.port) as wire:
        wire.send(
            associate_rq((1, DX, [IMPLICIT, "1.2.840.10008.1.2.4.202"]), (3, "1.2.840.10008.5.1.4.1.2.1.1", [IMPLICIT]))
        )
        kind, body = wire.read_pdu()
        assert kind == ACCEPT
        assert body.count(b"\x21\0\0\x19") == 2, "one item of 25 bytes for each context (PS3.8 table 9-18)"
        assert b"\x03\0\x03\0" in body, "a query is refused: abstract syntax not supported"
    wait_until(lambda: codes(receiving) == ["partly_taken"], "the notice of the rejected context")


def test_radiograph_in_unsupported_transfer_syntaxes_is_noted_with_their_names(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """MPEG-2 and full progression JPEG, which is retired; four queries beside it."""
    receiving = start()
    caplog.set_level("INFO")
    queries = [(5 + 2 * n, f"1.2.840.10008.5.1.4.1.2.{n + 1}.1", [IMPLICIT]) for n in range(3)]
    with Wire(receiving.port) as wire:
        foreign = ["1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.55"]
        wire.send(
            associate_rq(
                (1, VERIFICATION, [IMPLICIT]), (3, DX, foreign), *queries, (99, "1.2.840.10008.5.1.4.31", [IMPLICIT])
            )
        )
        assert wire.read_pdu()[0] == ACCEPT
    wait_until(
        lambda: codes(receiving) == ["transfer_syntaxes", "partly_taken"], "the notices of the rejected contexts"
    )
    first, second = (notice.reason for notice in receiving.notices)
    assert "Digital X-Ray Image Storage - For Presentation" in first
    assert "MPEG2 Main Profile" in first
    assert "JPEG Full Progression" in first
    assert second.endswith("and 1 more")
    assert "and 2 more" in caplog.text, "the log line names three of five"


def test_closing_receiver_aborts_its_associations_and_leaves_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    receiving = Receiving(tmp_path)
    with Wire(receiving.port) as idle, Wire(receiving.port) as sending, Wire(receiving.port) as silent:
        idle.associate()
        sending.associate()
        sending.send(p_data((3, 3, c_store_rq("1.2.3"))) + p_data((3, 0, ELEMENT)))
        wait_until(lambda: receiving.files, "the first fragment in the spool")
        receiving.close()
        assert idle.read_pdu()[0] == ABORT
        assert sending.read_pdu()[0] == ABORT
        assert silent.read_pdu() == (0, b""), "closed before it requested an association"
        wait_until(lambda: threading.active_count() <= before, "every thread to end")
    assert receiving.files == []
    assert codes(receiving) == []


def test_tls_ciphers_are_ephemeral_and_authenticated() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(CIPHERS)
    names = [cipher["name"] for cipher in context.get_ciphers() if cipher["protocol"] == "TLSv1.2"]
    assert names
    assert all(name.startswith("ECDHE-") and ("GCM" in name or "CHACHA20" in name) for name in names)


def test_file_removed_by_retention_during_the_commit_is_answered_out_of_resources(start: Start) -> None:
    """Retention may remove a file of the same bytes between `SpoolFile.keep` and the commit of the row."""
    receiving = start()
    with Wire(receiving.port) as wire:
        wire.associate()
        assert wire.store("1.2.3.4", b"content") == 0
        keep, (file,) = receiving.record_instance, receiving.files

        def keep_after_pruning(received: object) -> bool:
            file.unlink()
            return keep(received)

        receiving.record_instance = keep_after_pruning
        assert wire.store("1.2.3.4", b"content") == 0xA700
        receiving.record_instance = keep
        assert wire.store("1.2.3.4", b"content") == 0
    assert receiving.files == [file]
