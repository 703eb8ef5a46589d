"""Couriers on a real database: order, one outcome for each, one gate, proof; nothing twice and nothing lost."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from appliance.clock import now
from appliance.config import Configuration
from appliance.domain.job import Backoff
from appliance.domain.reason import ReasonCode
from appliance.ports import Outcome
from appliance.service.roles.receive import ReceiveRole
from appliance.storage.commitments import CommitmentFailure, record_commitment
from tests.support.orthanc import orthanc
from tests.support.outbox import Outbox, film, picture
from tests.support.pacs import kept, profile, scripted_scp, storescp
from tests.support.peers import Peer
from tests.support.ports import free_ports
from tests.support.waiting import wait_until

LONG = Backoff(first_s=3600, longest_s=3600)
SC = [SecondaryCaptureImageStorage]
NOT_COMMITTED = CommitmentFailure(
    code=ReasonCode.NOT_COMMITTED, reason="the PACS does not vouch for it", is_for_good=False
)


def uids(*films: object) -> list[str]:
    return [picture(ds).identifier for ds in films]  # type: ignore[arg-type]


def test_what_waits_holds_up_its_own_study_and_no_other(free_port: int, tmp_path: Path) -> None:
    first, second, other = film(1), film(2, study_number=1), film(3)
    with Outbox(tmp_path, profile(free_port), backoff=LONG) as outbox:
        for ds in (first, second, other):
            outbox.answer(ds, ("pacs", picture(ds)))
        with scripted_scp(free_port, [0xA700, 0, 0, 0], SC) as calls:
            while outbox.carry():
                pass
            assert calls == uids(first, other)
            assert [row.state for row in outbox.rows] == ["queued", "queued", "done"]
            outbox.queue.retry(1)
            assert outbox.carry() and not outbox.carry()
            assert calls[2:] == uids(first, second)
        assert outbox.states == {"done": 3}


def test_what_is_parked_holds_up_nothing(free_port: int, tmp_path: Path) -> None:
    films = [film(1), film(2, study_number=1)]
    with Outbox(tmp_path, profile(free_port)) as outbox, scripted_scp(free_port, [0xC000, 0], SC):
        for ds in films:
            outbox.answer(ds, ("pacs", picture(ds)))
        assert outbox.carry()
        assert [row.state for row in outbox.rows] == ["parked", "done"]


def test_an_answer_that_was_never_made_is_not_sent_as_nothing(free_port: int, tmp_path: Path) -> None:
    with Outbox(tmp_path, profile(free_port)) as outbox, scripted_scp(free_port, [], SC) as calls:
        outbox.answer(film(1), ("pacs", replace(picture(film(1)), content=b"")))
        with outbox.engine.begin() as c:
            c.exec_driver_sql("UPDATE deliveries SET digest = ''")
        outbox.carry()
        assert [(row.state, row.code) for row in outbox.rows] == [("parked", "never_made")]
        assert calls == []


def test_many_go_on_one_association_and_each_is_settled_by_itself(free_port: int, tmp_path: Path) -> None:
    opened: list[object] = []
    said = [0x0000, 0xA700, 0xC000, 0x0111, 0xB000]
    ae = AE("PACS")
    ae.add_supported_context(SecondaryCaptureImageStorage)
    handlers = [(evt.EVT_C_STORE, lambda _: said.pop(0)), (evt.EVT_ACCEPTED, opened.append)]
    server = ae.start_server(("127.0.0.1", free_port), block=False, evt_handlers=handlers)
    with Outbox(tmp_path, profile(free_port), backoff=LONG) as outbox:
        for number in range(5):
            outbox.answer(film(number), ("pacs", picture(film(number))))
        assert outbox.carry()
        assert [(r.state, r.code) for r in outbox.rows] == [
            ("done", "delivered"),
            ("queued", "store_transient"),
            ("parked", "store_rejected"),
            ("done", "already_there"),
            ("done", "delivered"),
        ]
        assert len(opened) == 1
    server.shutdown()


def test_what_a_person_drops_while_it_waits_its_turn_is_not_sent(free_port: int, tmp_path: Path) -> None:
    calls: list[str] = []
    with Outbox(tmp_path, profile(free_port)) as outbox:

        def store(event: evt.Event) -> int:
            calls.append(event.request.AffectedSOPInstanceUID)
            if len(calls) == 1:
                outbox.queue.drop(2, "a test radiograph")
                outbox.gate.shut("nobody", "another destination's hold holds up nothing here")
            return 0x0000

        ae = AE("PACS")
        ae.add_supported_context(SecondaryCaptureImageStorage)
        server = ae.start_server(("127.0.0.1", free_port), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
        films = [film(n) for n in range(3)]
        for ds in films:
            outbox.answer(ds, ("pacs", picture(ds)))
        outbox.carry()
        server.shutdown()
        assert calls == uids(films[0], films[2])
        assert [row.state for row in outbox.rows] == ["done", "dropped", "done"]


def test_a_pacs_that_is_away_costs_one_attempt_and_is_back_for_all(peer: Peer, free_port: int, tmp_path: Path) -> None:
    folder = tmp_path / "pacs"
    folder.mkdir()
    with Outbox(tmp_path, profile(free_port, objects_at_a_time=4)) as outbox:
        for number in range(30):
            outbox.answer(film(number), ("pacs", picture(film(number))))
        assert not outbox.carry()
        rows = outbox.rows
        assert [row.attempts for row in rows] == [1] + [0] * 29
        assert len({row.not_before for row in rows}) == 1 and rows[0].code == "unreachable"
        with storescp(peer("storescp"), free_port, folder):
            outbox.carry_until(done=30)
        assert len(kept(folder)) == 30
        assert all(row.attempts == 1 for row in outbox.rows[1:])


def test_nothing_leaves_through_a_gate_that_is_shut(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        port = server.getsockname()[1]
        with Outbox(tmp_path, profile(port, timeout_s=0.5)) as outbox:
            outbox.answer(film(1), ("pacs", picture(film(1))))
            for name in ("*", "pacs"):
                outbox.gate.shut(name, "phase shadow")
                assert not outbox.carry()
                with pytest.raises(BlockingIOError):
                    server.accept()
                assert outbox.states == {"queued": 1} and outbox.rows[0].attempts == 0
                assert outbox.gate.open(name) and not outbox.gate.open(name)
            outbox.carry()  # the listener never answers
            server.accept()[0].close()
            assert outbox.rows[0].code == "unreachable"


def test_a_gate_that_is_shut_on_the_way_ends_the_journey(free_port: int, tmp_path: Path) -> None:
    with Outbox(tmp_path, profile(free_port)) as outbox:
        ae = AE("PACS")
        ae.add_supported_context(SecondaryCaptureImageStorage)

        def shut_and_accept(_: evt.Event) -> int:
            outbox.gate.shut("*", "now")
            return 0

        handlers = [(evt.EVT_C_STORE, shut_and_accept)]
        server = ae.start_server(("127.0.0.1", free_port), block=False, evt_handlers=handlers)
        for number in range(3):
            outbox.answer(film(number), ("pacs", picture(film(number))))
        outbox.carry()
        server.shutdown()
        assert [(row.state, row.attempts) for row in outbox.rows] == [("done", 1), ("queued", 0), ("queued", 0)]


# Proof --------------------------------------------------------------------------------------------


def test_delivered_is_what_c_find_shows(peer: Peer, tmp_path: Path) -> None:
    with (
        orthanc(peer("Orthanc"), tmp_path / "orthanc") as there,
        Outbox(tmp_path, profile(there.port, proof="find")) as outbox,
    ):
        for number in range(3):
            outbox.answer(film(number), ("pacs", picture(film(number))))
        assert outbox.carry()
        assert outbox.states == {"queued": 3}
        assert all(row.stored_at and not row.proven_at and row.attempts == 0 for row in outbox.rows)
        outbox.carry_until(done=3)
        assert all(row.code == "in_pacs" and row.proven_at >= row.stored_at for row in outbox.rows)


def test_what_the_pacs_lost_again_is_not_delivered(peer: Peer, tmp_path: Path) -> None:
    with (
        orthanc(peer("Orthanc"), tmp_path / "orthanc") as there,
        Outbox(tmp_path, profile(there.port, proof="find")) as outbox,
    ):
        ds = film(1)
        outbox.answer(ds, ("pacs", picture(ds)))
        outbox.carry()
        there.delete(f"/instances/{there.instances[picture(ds).identifier]}")
        wait_until(lambda: (not outbox.carry() and outbox.rows[0].code == "not_found") or outbox.carry(), "not found")
        assert outbox.rows[0].state == "queued" and outbox.rows[0].proven_at is None
        with outbox.engine.begin() as c:  # long after
            c.exec_driver_sql("UPDATE deliveries SET stored_at = stored_at - 3600")
        outbox.carry_until(done=1)
        assert outbox.rows[0].code == "in_pacs" and picture(ds).identifier in there.instances


@pytest.fixture
def receive(tmp_path: Path) -> Iterator[ReceiveRole]:
    """Our listener, for reports that come on associations of their own."""
    (port,) = free_ports(1)
    config = Configuration.model_validate({"state_dir": tmp_path, "receive": {"port": port, "reserve_mb": 0}})
    from appliance.storage.database import open_database

    role = ReceiveRole(config, open_database(config.database))
    yield role
    role.close()


def test_delivered_is_what_orthanc_commits_to_on_an_association_of_its_own(
    receive: ReceiveRole, peer: Peer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with (
        orthanc(peer("Orthanc"), tmp_path / "orthanc", receive._receiver.port) as there,
        Outbox(tmp_path, profile(there.port, proof="commitment")) as outbox,
    ):
        films = [film(n) for n in range(3)]
        for ds in films:
            outbox.answer(ds, ("pacs", picture(ds)))
        outbox.carry()
        there.delete(f"/instances/{there.instances[picture(films[1]).identifier]}")
        outbox.carry_until(done=3)
        assert {row.code for row in outbox.rows} == {"in_pacs"}
        assert all(row.proven_at and row.reason == "committed" for row in outbox.rows)
        assert "PACS reports on storage commitment: 3 of our answers" in caplog.text
        assert set(there.instances) == set(uids(*films)), "what it did not commit to was sent again"


@pytest.mark.parametrize("failure_reason", [None, 0x0112, 0x0119])
def test_a_report_may_come_on_the_association_of_the_request(
    failure_reason: int | None, free_port: int, tmp_path: Path
) -> None:
    """As few archives do it; DCMTK and Orthanc do not."""
    stored: list[str] = []

    def act(event: evt.Event) -> tuple[int, None]:
        report = Dataset()
        report.TransactionUID = event.action_information.TransactionUID
        asked = event.action_information.ReferencedSOPSequence
        if failure_reason is None:
            report.ReferencedSOPSequence = asked
        else:
            report.FailedSOPSequence = asked
            for item in report.FailedSOPSequence:
                item.FailureReason = failure_reason
        event_type = 1 if failure_reason is None else 2
        arguments = (report, event_type, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
        # after the response to the request
        threading.Timer(0.2, event.assoc.send_n_event_report, arguments).start()
        return 0x0000, None

    def store(event: evt.Event) -> int:
        stored.append(event.request.AffectedSOPInstanceUID)
        return 0x0000

    ae = AE("PACS")
    for service in (SecondaryCaptureImageStorage, StorageCommitmentPushModel):
        ae.add_supported_context(service)
    handlers = [(evt.EVT_C_STORE, store), (evt.EVT_N_ACTION, act)]
    server = ae.start_server(("127.0.0.1", free_port), block=False, evt_handlers=handlers)
    with Outbox(tmp_path, profile(free_port, proof="commitment")) as outbox:
        for number in range(2):
            outbox.answer(film(number), ("pacs", picture(film(number))))
        outbox.carry()
        assert all(row.stored_at for row in outbox.rows)
        wait_until(outbox.carry, "the report")
        rows = outbox.rows
        if failure_reason is None:
            assert all(row.state == "done" and row.proven_at for row in rows)
        elif failure_reason == 0x0119:
            assert [(row.state, row.code) for row in rows] == [("parked", "not_committed")] * 2
        else:
            assert [(row.state, row.code, row.stored_at) for row in rows] == [("queued", "not_committed", None)] * 2
            wait_until(lambda: outbox.carry() and len(stored) == 4, "both to be sent again")
    server.shutdown()


@contextmanager
def silent_archive(port: int) -> Iterator[tuple[list[str], list[Dataset]]]:
    """Takes pictures and requests for commitment, and never reports; what it stored, what it was asked."""
    stored: list[str] = []
    asked: list[Dataset] = []

    def store(event: evt.Event) -> int:
        stored.append(event.request.AffectedSOPInstanceUID)
        return 0x0000

    def act(event: evt.Event) -> tuple[int, None]:
        asked.append(event.action_information)
        return 0x0000, None

    ae = AE("PACS")
    for service in (SecondaryCaptureImageStorage, StorageCommitmentPushModel):
        ae.add_supported_context(service)
    server = ae.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, store), (evt.EVT_N_ACTION, act)]
    )
    try:
        yield stored, asked
    finally:
        server.shutdown()


def later(outbox: Outbox, seconds: float) -> None:
    """So much time goes by for what waits."""
    with outbox.engine.begin() as c:
        c.exec_driver_sql(
            "UPDATE deliveries SET not_before = not_before - ?, stored_at = stored_at - ?", (seconds, seconds)
        )
        c.exec_driver_sql("UPDATE commitments SET asked_at = asked_at - ?", (seconds,))


def test_an_archive_that_never_reports_gets_what_is_new_first_and_is_asked_ever_later(
    free_port: int, tmp_path: Path
) -> None:
    pacs = profile(free_port, proof="commitment", objects_at_a_time=2)
    with Outbox(tmp_path, pacs) as outbox, silent_archive(free_port) as (stored, asked):
        for number in range(2):
            outbox.answer(film(number), ("pacs", picture(film(number))))
        outbox.carry()
        later(outbox, 10)
        outbox.answer(film(2), ("pacs", picture(film(2))))
        outbox.carry()
        assert stored[2:] == uids(film(2)), "the oldest are due as well, and wait"
        waits = []
        for age in (0, 600, 7200):
            later(outbox, age)
            with outbox.engine.begin() as c:
                c.exec_driver_sql("UPDATE deliveries SET not_before = 0")
            outbox.carry()
            row = outbox.rows[0]
            waits.append((row.not_before - now()).total_seconds())
            assert (row.state, row.code, row.attempts) == ("queued", "delivered", 0)
            assert row.unanswered_at is not None and "no commitment result" not in row.reason
        assert 50 < waits[0] <= 60 < 590 < waits[1] < 700 < 3590 < waits[2] <= 3600
        assert len(asked) == 3 + 1  # and once beside the new picture


def test_a_late_report_of_an_earlier_request_counts(free_port: int, tmp_path: Path) -> None:
    with Outbox(tmp_path, profile(free_port, proof="commitment")) as outbox, silent_archive(free_port) as (_, asked):
        outbox.answer(film(1), ("pacs", picture(film(1))))
        outbox.carry()
        for number in (1, 2):
            later(outbox, 3600)
            outbox.carry()
            assert len(asked) == number
        first, last = (str(request.TransactionUID) for request in asked)
        (uid,) = uids(film(1))
        failed = {uid: NOT_COMMITTED}
        assert first != last
        assert record_commitment(outbox.engine, "1.2.3", [uid], {}) == 0, "a transaction of somebody else"
        assert record_commitment(outbox.engine, first, [], failed) == 0, "that was then"
        assert record_commitment(outbox.engine, first, [uid], {}) == 1
        assert outbox.states == {"done": 1} and outbox.rows[0].code == "in_pacs"


def test_what_the_pacs_never_commits_to_is_sent_ever_later_and_then_for_a_person(
    free_port: int, tmp_path: Path
) -> None:
    with (
        Outbox(tmp_path, profile(free_port, proof="commitment")) as outbox,
        silent_archive(free_port) as (stored, asked),
    ):
        outbox.answer(film(1), ("pacs", picture(film(1))))
        failed = {uids(film(1))[0]: NOT_COMMITTED}
        waits = []
        while outbox.states == {"queued": 1}:
            outbox.carry()
            later(outbox, 3600)
            outbox.carry()
            assert record_commitment(outbox.engine, str(asked[-1].TransactionUID), [], failed) == 1
            waits.append((outbox.rows[0].not_before - now()).total_seconds())
            assert outbox.rows[0].attempts == 0, "it did not fail to go"
            later(outbox, 3600)
        assert len(stored) == len(waits) == 5 and outbox.states == {"parked": 1}
        assert waits[0] > 1 and all(longer > 2 * shorter for shorter, longer in pairwise(waits[:4]))


def test_what_is_dropped_on_the_wire_is_known_to_be_there_and_costs_the_others_nothing(
    free_port: int, tmp_path: Path
) -> None:
    films = [film(1), film(2)]
    with Outbox(tmp_path, profile(free_port), backoff=LONG) as outbox:
        for ds in films:
            outbox.answer(ds, ("pacs", picture(ds)))
        outlet = outbox.couriers["pacs"].outlet
        deliver = outlet.deliver

        def dropped_meanwhile(*arguments: Any) -> Iterator[tuple[int, Outcome]]:
            for number, outcome in deliver(*arguments):
                if number == 1:
                    outbox.queue.drop(1, "a person said so")
                yield number, outcome

        outlet.deliver = dropped_meanwhile  # type: ignore[method-assign, assignment]
        with scripted_scp(free_port, [0, 0], SC) as calls:
            assert outbox.carry()
        assert calls == uids(*films)
        first, second = outbox.rows
        assert (first.state, second.state) == ("dropped", "done")
        assert first.sent_uid == uids(films[0])[0] and first.stored_at
