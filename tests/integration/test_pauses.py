"""An outage is no verdict on a message: refusals, pauses of a destination, and their cost with a long queue."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import SecondaryCaptureImageStorage
from sqlalchemy import Engine, event, insert, select, update

from appliance.clock import now
from appliance.config import FhirDestination, Hl7Destination
from appliance.domain.job import Backoff
from appliance.domain.reason import ReasonCode
from appliance.errors import Away, Refused
from appliance.storage import destinations as destinations_module
from appliance.storage.database import readers
from appliance.storage.outbox import MOST_REFUSALS, REFUSED_FOR
from appliance.storage.outbox import Outbox as DestinationOutbox
from appliance.storage.tables import deliveries, destinations
from tests.integration.test_fhir_server import bundle
from tests.support.outbox import Outbox, message, picture, radiograph
from tests.support.pacs import profile, scripted_scp
from tests.support.peers import NodePeer
from tests.support.people import anna

LONG = Backoff(first_s=3600, longest_s=3600)
START = Callable[..., NodePeer]
SC = [SecondaryCaptureImageStorage]


def answer(outbox: Outbox, *numbers: int, study_number: int | None = None) -> None:
    for number in numbers:
        ds = radiograph(number, study_number=study_number)
        outbox.answer(ds, ("pacs", picture(ds)))


def uids(*numbers: int) -> list[str]:
    return [picture(radiograph(number)).identifier for number in numbers]


@pytest.mark.parametrize("status", ["302", "400", "401", "403", "404", "405", "503"])
def test_proxy_that_answers_for_the_fhir_server_parks_nothing(status: str, tmp_path: Path, node_peer: START) -> None:
    server = node_peer("fhir_server.js", ",".join([status] * 9))
    fhir = FhirDestination(kind="fhir", name="fhir", base_url=f"http://127.0.0.1:{server.port}/R4")
    with Outbox(tmp_path, fhir) as outbox:
        for number in range(3):
            outbox.answer(radiograph(number), ("fhir", bundle()))
        while not outbox.states.get("done"):
            outbox.carry("fhir")
            assert "parked" not in outbox.states
        outbox.carry_until(done=3)


@pytest.mark.parametrize("status", [0xA900, 0xC000, 0x0122, 0xA778, 0xA700])
@pytest.mark.proves("SAF-16")
def test_pacs_that_refuses_everything_for_a_while_parks_nothing(status: int, tmp_path: Path, free_port: int) -> None:
    with (
        Outbox(tmp_path, profile(free_port)) as outbox,
        scripted_scp(free_port, [status] * 9 + [0] * 3, SC) as calls,
    ):
        answer(outbox, 1, 2, 3)
        while not outbox.states.get("done"):
            outbox.carry()
            assert "parked" not in outbox.states
        outbox.carry_until(done=3)
    assert len(calls) == 12 and set(calls[-3:]) == set(uids(1, 2, 3)), "each arrived once"


def test_ris_that_refuses_one_message_and_takes_others_gets_it_twice(tmp_path: Path, node_peer: START) -> None:
    ris = node_peer("mllp_receiver.js", "AR,AA,AR,AA")
    config = Hl7Destination(kind="hl7", name="ris", host="127.0.0.1", port=ris.port)
    with Outbox(tmp_path, config, backoff=LONG) as outbox:
        for number in range(3):
            outbox.answer(radiograph(number), ("ris", message(radiograph(number))))
        for _ in range(4):
            assert outbox.carry("ris")
        assert [(row.state, row.code) for row in outbox.rows] == [
            ("parked", "mllp_refused"),
            ("done", "delivered"),
            ("done", "delivered"),
        ]
        assert outbox.rows[0].refusals == 2
        ids = [row.identifier for row in outbox.rows]
        assert [ris.received()["id"] for _ in range(4)] == [ids[0], ids[1], ids[0], ids[2]]


def test_artefact_refused_for_a_day_is_parked_although_nothing_else_is_sent(tmp_path: Path, free_port: int) -> None:
    with (
        Outbox(tmp_path, profile(free_port)) as outbox,
        scripted_scp(free_port, [0xC000] * (MOST_REFUSALS + 2), SC) as calls,
    ):
        answer(outbox, 1)

        def refuse_once_more() -> None:
            calls_before = len(calls)
            while len(calls) == calls_before:
                outbox.carry()

        for _ in range(MOST_REFUSALS):
            refuse_once_more()
        assert outbox.states == {"queued": 1}, "not a day"
        with outbox.engine.begin() as c:
            c.execute(update(deliveries).values(refused_since=now() - REFUSED_FOR, refusals=MOST_REFUSALS - 2))
        refuse_once_more()
        assert outbox.states == {"queued": 1}, "not often enough"
        refuse_once_more()
        (row,) = outbox.rows
        assert (row.state, row.code) == ("parked", "store_rejected")
        assert f"refused {MOST_REFUSALS} times since {now() - REFUSED_FOR:%Y-%m-%d}" in row.reason


def test_new_radiograph_is_sent_while_a_destination_pauses_that_refuses_older_ones(
    tmp_path: Path, free_port: int
) -> None:
    with (
        Outbox(tmp_path, profile(free_port), backoff=LONG) as outbox,
        scripted_scp(free_port, [0xC000] * 4 + [0] + [0xC000] * 4 + [0] * 2, SC) as calls,
    ):
        answer(outbox, *range(6))
        assert outbox.carry()
        assert calls == uids(0, 1, 2, 3), "then it pauses"
        state = outbox.state()
        assert state.is_paused and not state.is_away and (state.failures, state.pauses) == (4, 1)
        assert not outbox.carry() and len(calls) == 4
        answer(outbox, 6)
        assert outbox.carry()
        assert calls[4:] == uids(6)
        state = outbox.state()
        assert (state.failures, state.pauses, state.recoveries, state.is_paused) == (0, 0, 1, False)
        assert outbox.carry()
        assert calls[5:] == uids(*range(6))
        assert outbox.states == {"parked": 4, "done": 3}, "four were refused again, and another was taken between"


def test_new_artefact_of_a_study_that_is_held_up_waits_for_its_turn(tmp_path: Path, free_port: int) -> None:
    with (
        Outbox(tmp_path, profile(free_port), backoff=LONG) as outbox,
        scripted_scp(free_port, [0xA700] * 4, SC) as calls,
    ):
        answer(outbox, *range(5))
        outbox.carry()
        ds = radiograph(9, study_number=4)
        outbox.answer(ds, ("pacs", picture(ds)))
        assert not outbox.carry() and calls == uids(0, 1, 2, 3)


def test_refused_artefacts_at_the_head_of_the_queue_delay_no_other(tmp_path: Path, free_port: int) -> None:
    refused = 40
    with (
        Outbox(tmp_path, profile(free_port)) as outbox,
        scripted_scp(free_port, [0xC000] * refused + [0] * 2 + [0xC000] * refused, SC) as calls,
    ):
        answer(outbox, *range(refused + 2))
        while not outbox.states.get("done"):
            outbox.carry()
        assert calls[: refused + 1] == uids(*range(refused + 1)), "none is tried twice before the others were tried"


def test_pause_that_a_server_asks_for_is_kept_in_the_database_and_ended_by_a_person(
    tmp_path: Path, node_peer: START
) -> None:
    server = node_peer("fhir_server.js", "503:86400")
    fhir = FhirDestination(kind="fhir", name="fhir", base_url=f"http://127.0.0.1:{server.port}/R4")
    with Outbox(tmp_path, fhir) as outbox:
        for number in range(3):
            outbox.answer(radiograph(number), ("fhir", bundle()))
        assert not outbox.carry("fhir")
        state = outbox.state("fhir")
        assert state.paused_until and timedelta(minutes=4) < state.paused_until - now() <= timedelta(minutes=5)
        assert [(row.attempts, row.code) for row in outbox.rows] == [(1, "fhir_asked_to_wait"), (0, ""), (0, "")]
        assert not outbox.carry("fhir"), "it is not asked in between"
        outbox.queue.retry(2, anna())
        outbox.carry_until(done=3)


def test_pause_ends_with_the_clock_that_was_set_back(tmp_path: Path, free_port: int) -> None:
    from appliance.storage.heartbeats import record_heartbeat

    with Outbox(tmp_path, profile(free_port)) as outbox:
        record_heartbeat(outbox.engine, "deliver", now(), "works")
        answer(outbox, 1)
        assert not outbox.carry()
        with outbox.engine.begin() as c:  # as if the clock had been an hour ahead until now
            c.exec_driver_sql("UPDATE roles SET beat_at = beat_at + 3600")
            c.exec_driver_sql("UPDATE destinations SET paused_until = paused_until + 3600")
        record_heartbeat(outbox.engine, "deliver", now(), "works")
        paused_until = outbox.state().paused_until
        assert paused_until and paused_until < now() + timedelta(minutes=10)


# Cost with a long queue ---------------------------------------------------------------------------

LONG_QUEUE = 3000


@pytest.fixture
def long_queue(tmp_path: Path) -> Iterator[tuple[Engine, DestinationOutbox]]:
    """A queue of so many deliveries to one destination, four to a study."""
    with Outbox(tmp_path, profile(1)) as outbox:
        moment = now()
        common = {"state": "queued", "not_before": moment, "created_at": moment, "destination": "pacs", "kind": "sc"}
        rows = [
            common | {"study_instance_uid": f"1.2.{n // 4}", "identifier": f"1.3.{n}", "digest": "d"}
            for n in range(LONG_QUEUE)
        ]
        with outbox.engine.begin() as c:
            c.execute(insert(deliveries), rows)
        yield outbox.engine, DestinationOutbox(outbox.engine, "pacs", "me", backoff=LONG)


@contextmanager
def statements(engine: Engine) -> Iterator[list[tuple[str, Any, int]]]:
    """Collect the statements that run on `engine`, with their parameters and the rows that each wrote."""
    seen: list[tuple[str, Any, int]] = []

    def note(_: Any, cursor: Any, statement: str, parameters: Any, *__: Any) -> None:
        seen.append((statement, parameters, cursor.rowcount if not statement.startswith("SELECT") else 0))

    event.listen(engine, "after_cursor_execute", note)
    yield seen
    event.remove(engine, "after_cursor_execute", note)


def rows_written(seen: list[tuple[str, Any, int]]) -> int:
    return sum(rows for statement, _, rows in seen if statement.startswith(("INSERT", "UPDATE", "DELETE")))


def test_peer_that_is_away_costs_a_few_rows_however_many_deliveries_wait(
    long_queue: tuple[Engine, DestinationOutbox],
) -> None:
    engine, outbox = long_queue
    with statements(engine) as seen:
        (first, *others) = outbox.lease_due(20).values()
        assert len(others) == 19
        outbox.pause(first, Away(ReasonCode.UNREACHABLE, "away"))
        for leased in others:
            outbox.put_back(leased.lease)
        assert outbox.lease_due(20) == {}
    assert rows_written(seen) == 20 + 20 + 1 + 1, "the lease of a batch, its end, the destination, and the counter"
    with engine.begin() as c:
        c.execute(update(destinations).values(paused_until=now()))
    with statements(engine) as seen:
        (probe,) = outbox.lease_due(20).values()
        assert probe.lease.job_id == first.lease.job_id
        outbox.pause(probe, Away(ReasonCode.UNREACHABLE, "away"))
        assert outbox.lease_due(20) == {}
    assert rows_written(seen) == 4, "the lease, its end, the destination, and the counter"


def test_return_of_a_peer_writes_the_failed_deliveries_only(long_queue: tuple[Engine, DestinationOutbox]) -> None:
    engine, outbox = long_queue
    for leased in outbox.lease_due(3).values():
        outbox.refuse(leased, Refused(ReasonCode.STORE_REJECTED, "no"))
    with statements(engine) as seen:
        (probe,) = outbox.lease_due(20).values()
        outbox.recover(probe)
    assert rows_written(seen) == 1 + 1 + 3, "the lease, the destination, and the refused"


@pytest.mark.parametrize("failures", [0, 3, 4])
@pytest.mark.parametrize("is_away", [False, True])
def test_lease_sorts_and_scans_no_table(
    failures: int, is_away: bool, long_queue: tuple[Engine, DestinationOutbox]
) -> None:
    engine, outbox = long_queue
    state = destinations_module.DestinationState(destination="pacs", failures=failures, is_away=is_away)
    with engine.begin() as c:
        destinations_module._written(c, state)
    with statements(engine) as seen:
        leased = outbox.lease_due(20)
        assert list(leased) == (list(range(1, 21)) if not failures else [1])
        for one in leased.values():
            outbox.put_back(one.lease)
        with engine.begin() as c:
            c.execute(update(deliveries).values(stored_at=now()))
        assert outbox.lease_due(20)
    with readers(engine).connect() as c:
        plans = {
            step.detail
            for statement, parameters, _ in seen
            if statement.startswith("SELECT") and "deliveries" in statement
            for step in c.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        }
    assert any("ix_deliveries_destination_state_stored_at_id" in step for step in plans)
    plans.discard("SCAN CONSTANT ROW")  # of the three answers of a look
    assert not [step for step in plans if step.startswith("SCAN") or "ORDER BY" in step]


def test_analyses_are_leased_without_a_sort(long_queue: tuple[Engine, DestinationOutbox]) -> None:
    from appliance.storage.instances import AnalysisQueue, keep_instance
    from tests.integration.test_queue import received

    engine, _ = long_queue
    for number in range(5):
        keep_instance(engine, received(number))
    with statements(engine) as seen:
        assert AnalysisQueue(engine, "me").lease() and AnalysisQueue(engine, "me").peek()
    with readers(engine).connect() as c:
        plans = [
            step.detail
            for statement, parameters, _ in seen
            if statement.startswith("SELECT")
            for step in c.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]
    assert not {step for step in plans if step.startswith("SCAN") or "ORDER BY" in step} - {"SCAN CONSTANT ROW"}
    with readers(engine).connect() as c:
        assert c.execute(select(destinations)).all() == []
