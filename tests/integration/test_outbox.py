"""Couriers on a real database: order, one outcome for each delivery, holds, and proof."""

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
from sqlalchemy import select

from appliance.clock import now
from appliance.config import Configuration
from appliance.domain.job import Backoff
from appliance.domain.reason import ReasonCode
from appliance.ports import Outcome
from appliance.service.roles.receive import ReceiveRole
from appliance.storage.commitments import CommitmentFailure, record_commitment
from appliance.storage.outbox import Outbox as DeliveriesOf
from appliance.storage.outbox import may_be_at_peer
from appliance.storage.tables import deliveries
from tests.support.orthanc import orthanc
from tests.support.outbox import Outbox, picture, radiograph
from tests.support.pacs import kept, profile, scripted_scp, storescp
from tests.support.peers import Peer
from tests.support.people import anna
from tests.support.ports import free_ports
from tests.support.waiting import wait_until

LONG = Backoff(first_s=3600, longest_s=3600)
SC = [SecondaryCaptureImageStorage]
NOT_COMMITTED = CommitmentFailure(
    code=ReasonCode.NOT_COMMITTED, reason="the PACS does not vouch for it", is_for_good=False
)


def uids(*radiographs: object) -> list[str]:
    return [picture(ds).identifier for ds in radiographs]  # type: ignore[arg-type]


def test_delivery_that_backs_off_holds_up_its_own_study_only(free_port: int, tmp_path: Path) -> None:
    first, second, other = radiograph(1), radiograph(2, study_number=1), radiograph(3)
    with Outbox(tmp_path, profile(free_port), backoff=LONG) as outbox:
        for ds in (first, second, other):
            outbox.answer(ds, ("pacs", picture(ds)))
        with scripted_scp(free_port, [0xA700, 0, 0, 0], SC) as calls:
            while outbox.carry():
                pass
            assert calls == uids(first, other)
            assert [row.state for row in outbox.rows] == ["queued", "queued", "done"]
            outbox.queue.retry(1, anna())
            assert outbox.carry() and not outbox.carry()
            assert calls[2:] == uids(first, second)
        assert outbox.states == {"done": 3}


def test_refused_and_parked_deliveries_hold_up_nothing(free_port: int, tmp_path: Path) -> None:
    radiographs = [radiograph(n, study_number=1) for n in range(3)]
    with Outbox(tmp_path, profile(free_port), backoff=LONG) as outbox:
        with scripted_scp(free_port, [0xC000, 0, 0xC000, 0], SC):
            for ds in radiographs[:2]:
                outbox.answer(ds, ("pacs", picture(ds)))
            assert outbox.carry()
            assert [row.state for row in outbox.rows] == ["queued", "done"]
            assert outbox.carry(), "the peer took another: its refusal may have been of the moment"
            assert [row.state for row in outbox.rows] == ["parked", "done"]
            assert outbox.rows[0].reason.endswith("; it took others between two refusals of this one")
            outbox.answer(radiographs[2], ("pacs", picture(radiographs[2])))
            assert outbox.carry()
        assert outbox.states == {"parked": 1, "done": 2}


def test_delivery_without_an_outcome_may_be_at_its_peer(tmp_path: Path) -> None:
    """It was sent, and the outcome did not fit the disk: a withdrawal follows it, although it waits again."""
    with Outbox(tmp_path, profile(1)) as outbox:
        for number in (1, 2):
            outbox.answer(radiograph(number), ("pacs", picture(radiograph(number))))
        courier = DeliveriesOf(outbox.engine, "pacs", "courier")
        assert [one.lease.attempts for one in courier.lease_due(2).values()] == [1, 1]
        assert [one.lease.attempts for one in courier.lease_due(1).values()] == [2], "both are back, and one goes again"
        assert [row.state for row in outbox.rows] == ["leased", "queued"]
        with outbox.engine.connect() as c:
            assert c.execute(select(deliveries.c.id).where(may_be_at_peer())).scalars().all() == [1, 2]


def test_artefact_that_could_not_be_made_is_parked_unsent(free_port: int, tmp_path: Path) -> None:
    with Outbox(tmp_path, profile(free_port)) as outbox, scripted_scp(free_port, [], SC) as calls:
        outbox.answer(radiograph(1), ("pacs", replace(picture(radiograph(1)), content=b"")))
        with outbox.engine.begin() as c:
            c.exec_driver_sql("UPDATE deliveries SET digest = ''")
        outbox.carry()
        assert [(row.state, row.code) for row in outbox.rows] == [("parked", "never_made")]
        assert calls == []


def test_artefacts_on_one_association_have_one_outcome_each(free_port: int, tmp_path: Path) -> None:
    opened: list[object] = []
    said = [0x0000, 0xA700, 0xC000, 0x0111, 0xB000, 0xC000]
    ae = AE("PACS")
    ae.add_supported_context(SecondaryCaptureImageStorage)
    handlers = [(evt.EVT_C_STORE, lambda _: said.pop(0)), (evt.EVT_ACCEPTED, opened.append)]
    server = ae.start_server(("127.0.0.1", free_port), block=False, evt_handlers=handlers)
    with Outbox(tmp_path, profile(free_port), backoff=LONG) as outbox:
        for number in range(5):
            outbox.answer(radiograph(number), ("pacs", picture(radiograph(number))))
        assert outbox.carry() and len(opened) == 1
        outcomes = [(r.state, r.code) for r in outbox.rows]
        assert outcomes == [
            ("done", "delivered"),
            ("queued", "store_transient"),
            ("queued", "store_rejected"),
            ("done", "already_there"),
            ("done", "delivered"),
        ]
        assert outbox.carry()
        outcomes[2] = ("parked", "store_rejected")
        assert [(r.state, r.code) for r in outbox.rows] == outcomes
    server.shutdown()


def test_delivery_dropped_before_its_turn_is_not_sent(free_port: int, tmp_path: Path) -> None:
    calls: list[str] = []
    with Outbox(tmp_path, profile(free_port)) as outbox:

        def store(event: evt.Event) -> int:
            calls.append(event.request.AffectedSOPInstanceUID)
            if len(calls) == 1:
                outbox.queue.drop(2, anna("a test radiograph"))
                outbox.gate.shut("nobody", anna("another destination's hold holds up nothing here"))
            return 0x0000

        ae = AE("PACS")
        ae.add_supported_context(SecondaryCaptureImageStorage)
        server = ae.start_server(("127.0.0.1", free_port), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
        radiographs = [radiograph(n) for n in range(3)]
        for ds in radiographs:
            outbox.answer(ds, ("pacs", picture(ds)))
        outbox.carry()
        server.shutdown()
        assert calls == uids(radiographs[0], radiographs[2])
        assert [row.state for row in outbox.rows] == ["done", "dropped", "done"]


def test_pacs_that_is_away_costs_one_attempt_and_its_return_ends_every_back_off(
    peer: Peer, free_port: int, tmp_path: Path
) -> None:
    folder = tmp_path / "pacs"
    folder.mkdir()
    with Outbox(tmp_path, profile(free_port, objects_at_a_time=4)) as outbox:
        for number in range(30):
            outbox.answer(radiograph(number), ("pacs", picture(radiograph(number))))
        assert not outbox.carry()
        rows = outbox.rows
        assert [row.attempts for row in rows] == [1] + [0] * 29
        assert rows[0].code == "unreachable" and outbox.state().pauses == 1
        with storescp(peer("storescp"), free_port, folder):
            outbox.carry_until(done=30)
        assert len(kept(folder)) == 30
        assert all(row.attempts == 1 for row in outbox.rows[1:])


def test_held_destination_gets_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        port = server.getsockname()[1]
        with Outbox(tmp_path, profile(port, timeout_s=0.5)) as outbox:
            outbox.answer(radiograph(1), ("pacs", picture(radiograph(1))))
            for name in ("*", "pacs"):
                outbox.gate.shut(name, anna("phase shadow"))
                assert not outbox.carry()
                with pytest.raises(BlockingIOError):
                    server.accept()
                assert outbox.states == {"queued": 1} and outbox.rows[0].attempts == 0
                assert outbox.gate.open(name, anna()) and not outbox.gate.open(name, anna())
            outbox.carry()  # the listener never answers
            server.accept()[0].close()
            assert outbox.rows[0].code == "unreachable"


def test_hold_set_during_a_run_stops_the_remaining_deliveries(free_port: int, tmp_path: Path) -> None:
    with Outbox(tmp_path, profile(free_port)) as outbox:
        ae = AE("PACS")
        ae.add_supported_context(SecondaryCaptureImageStorage)

        def shut_and_accept(_: evt.Event) -> int:
            outbox.gate.shut("*", anna("now"))
            return 0

        handlers = [(evt.EVT_C_STORE, shut_and_accept)]
        server = ae.start_server(("127.0.0.1", free_port), block=False, evt_handlers=handlers)
        for number in range(3):
            outbox.answer(radiograph(number), ("pacs", picture(radiograph(number))))
        outbox.carry()
        server.shutdown()
        assert [(row.state, row.attempts) for row in outbox.rows] == [("done", 1), ("queued", 0), ("queued", 0)]


# Proof --------------------------------------------------------------------------------------------


@pytest.mark.proves("SAF-15")
def test_delivery_proven_by_c_find_is_done(peer: Peer, tmp_path: Path) -> None:
    with (
        orthanc(peer("Orthanc"), tmp_path / "orthanc") as there,
        Outbox(tmp_path, profile(there.port, proof="find")) as outbox,
    ):
        for number in range(3):
            outbox.answer(radiograph(number), ("pacs", picture(radiograph(number))))
        assert outbox.carry()
        assert outbox.states == {"queued": 3}
        assert all(row.stored_at and not row.proven_at and row.attempts == 0 for row in outbox.rows)
        outbox.carry_until(done=3)
        assert all(row.code == "in_pacs" and row.proven_at >= row.stored_at for row in outbox.rows)


@pytest.mark.proves("SAF-15")
def test_object_that_c_find_does_not_find_is_not_done(peer: Peer, tmp_path: Path) -> None:
    with (
        orthanc(peer("Orthanc"), tmp_path / "orthanc") as there,
        Outbox(tmp_path, profile(there.port, proof="find")) as outbox,
    ):
        ds = radiograph(1)
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
    """Our listener, for commitment results that a PACS sends on its own association."""
    (port,) = free_ports(1)
    config = Configuration.model_validate({"state_dir": tmp_path, "receive": {"port": port, "reserve_mb": 0}})
    from appliance.storage.database import open_database

    role = ReceiveRole(config, open_database(config.database))
    yield role
    role.close()


def test_delivery_committed_by_orthanc_on_its_own_association_is_done(
    receive: ReceiveRole, peer: Peer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with (
        orthanc(peer("Orthanc"), tmp_path / "orthanc", receive._receiver.port) as there,
        Outbox(tmp_path, profile(there.port, proof="commitment")) as outbox,
    ):
        radiographs = [radiograph(n) for n in range(3)]
        for ds in radiographs:
            outbox.answer(ds, ("pacs", picture(ds)))
        outbox.carry()
        there.delete(f"/instances/{there.instances[picture(radiographs[1]).identifier]}")
        outbox.carry_until(done=3)
        assert {row.code for row in outbox.rows} == {"in_pacs"}
        assert all(row.proven_at and row.reason == "committed" for row in outbox.rows)
        assert "commitment result of PACS: it concerns 3 of our deliveries" in caplog.text
        assert set(there.instances) == set(uids(*radiographs)), "what it did not commit to was sent again"


@pytest.mark.parametrize("failure_reason", [None, 0x0112, 0x0119])
def test_commitment_result_on_the_association_of_the_request_counts(
    failure_reason: int | None, free_port: int, tmp_path: Path
) -> None:
    """A few archives report so; DCMTK and Orthanc do not."""
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
            outbox.answer(radiograph(number), ("pacs", picture(radiograph(number))))
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
    """An archive that stores and never reports a commitment result; yields the stored UIDs and the requests."""
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


def pass_time(outbox: Outbox, seconds: float) -> None:
    """Move the times of the deliveries and requests that much into the past."""
    with outbox.engine.begin() as c:
        c.exec_driver_sql(
            "UPDATE deliveries SET not_before = not_before - ?, stored_at = stored_at - ?", (seconds, seconds)
        )
        c.exec_driver_sql("UPDATE commitments SET asked_at = asked_at - ?", (seconds,))


def test_archive_without_commitment_results_gets_new_objects_first_and_is_asked_ever_later(
    free_port: int, tmp_path: Path
) -> None:
    pacs = profile(free_port, proof="commitment", objects_at_a_time=2)
    with Outbox(tmp_path, pacs) as outbox, silent_archive(free_port) as (stored, asked):
        for number in range(2):
            outbox.answer(radiograph(number), ("pacs", picture(radiograph(number))))
        outbox.carry()
        pass_time(outbox, 10)
        outbox.answer(radiograph(2), ("pacs", picture(radiograph(2))))
        outbox.carry()
        assert stored[2:] == uids(radiograph(2)), "the oldest are due as well, and wait"
        waits = []
        for age in (0, 600, 7200):
            pass_time(outbox, age)
            with outbox.engine.begin() as c:
                c.exec_driver_sql("UPDATE deliveries SET not_before = 0")
            outbox.carry()
            row = outbox.rows[0]
            waits.append((row.not_before - now()).total_seconds())
            assert (row.state, row.code, row.attempts) == ("queued", "delivered", 0)
            assert row.unanswered_at is not None and "no commitment result" not in row.reason
        assert 50 < waits[0] <= 60 < 590 < waits[1] < 700 < 3590 < waits[2] <= 3600
        assert len(asked) == 3 + 1  # and once beside the new picture


def test_late_commitment_result_of_an_earlier_request_counts(free_port: int, tmp_path: Path) -> None:
    with Outbox(tmp_path, profile(free_port, proof="commitment")) as outbox, silent_archive(free_port) as (_, asked):
        outbox.answer(radiograph(1), ("pacs", picture(radiograph(1))))
        outbox.carry()
        for number in (1, 2):
            pass_time(outbox, 3600)
            outbox.carry()
            assert len(asked) == number
        first, last = (str(request.TransactionUID) for request in asked)
        (uid,) = uids(radiograph(1))
        failed = {uid: NOT_COMMITTED}
        assert first != last
        assert record_commitment(outbox.engine, "1.2.3", [uid], {}) == 0, "a transaction of somebody else"
        assert record_commitment(outbox.engine, first, [], failed) == 0, "that was then"
        assert record_commitment(outbox.engine, first, [uid], {}) == 1
        assert outbox.states == {"done": 1} and outbox.rows[0].code == "in_pacs"


def test_object_that_is_never_committed_is_sent_ever_later_and_then_parked(free_port: int, tmp_path: Path) -> None:
    with (
        Outbox(tmp_path, profile(free_port, proof="commitment")) as outbox,
        silent_archive(free_port) as (stored, asked),
    ):
        outbox.answer(radiograph(1), ("pacs", picture(radiograph(1))))
        failed = {uids(radiograph(1))[0]: NOT_COMMITTED}
        waits = []
        while outbox.states == {"queued": 1}:
            outbox.carry()
            pass_time(outbox, 3600)
            outbox.carry()
            assert record_commitment(outbox.engine, str(asked[-1].TransactionUID), [], failed) == 1
            waits.append((outbox.rows[0].not_before - now()).total_seconds())
            assert outbox.rows[0].attempts == 0, "it did not fail to go"
            pass_time(outbox, 3600)
        assert len(stored) == len(waits) == 5 and outbox.states == {"parked": 1}
        assert waits[0] > 1 and all(longer > 2 * shorter for shorter, longer in pairwise(waits[:4]))


def test_delivery_dropped_on_the_wire_is_recorded_as_sent_and_does_not_hold_up_others(
    free_port: int, tmp_path: Path
) -> None:
    radiographs = [radiograph(1), radiograph(2)]
    with Outbox(tmp_path, profile(free_port), backoff=LONG) as outbox:
        for ds in radiographs:
            outbox.answer(ds, ("pacs", picture(ds)))
        outlet = outbox.couriers["pacs"].outlet
        deliver = outlet.deliver

        def dropped_meanwhile(*arguments: Any) -> Iterator[tuple[int, Outcome]]:
            for number, outcome in deliver(*arguments):
                if number == 1:
                    outbox.queue.drop(1, anna("a person said so"))
                yield number, outcome

        outlet.deliver = dropped_meanwhile  # type: ignore[method-assign, assignment]
        with scripted_scp(free_port, [0, 0], SC) as calls:
            assert outbox.carry()
        assert calls == uids(*radiographs)
        first, second = outbox.rows
        assert (first.state, second.state) == ("dropped", "done")
        assert first.sent_uid == uids(radiographs[0])[0] and first.stored_at
