"""Leases on a real SQLite file: processes that die, hang or finish late."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, func, insert, select, update
from sqlalchemy.exc import OperationalError

from appliance.clock import now
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.job import Backoff, Event, ImpossibleTransition, State
from appliance.domain.reason import ReasonCode
from appliance.domain.received import Received
from appliance.errors import Killed, Transient
from appliance.service.error_policy import Action, settling_failures
from appliance.storage import studies as studies_module
from appliance.storage.database import readers
from appliance.storage.deliveries import supersede
from appliance.storage.instances import keep_instance
from appliance.storage.outgoing import Outgoing
from appliance.storage.queue import MOST_DELAYS, Queue
from appliance.storage.results import latest_result, record_result
from appliance.storage.tables import analyses, deliveries, instances, results
from tests.support.people import anna
from tests.support.results import result
from tests.support.sources import source

ERROR = Transient(ReasonCode.UNREACHABLE, "the peer is away")


def received(number: int) -> Received:
    return Received(
        sop_instance_uid=f"1.2.{number}",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        digest=f"{number:064x}",
        size_bytes=1,
        calling_ae_title="TEST",
    )


DATABASES = ["sqlite", "postgresql"]


@pytest.fixture
def queue(engine: Engine) -> Queue:
    return queue_of(engine)


def queue_of(engine: Engine) -> Queue:
    return Queue(engine, analyses, "me", most_attempts=3, backoff=Backoff(first_s=0.0, longest_s=0.0))


def state(engine: Engine, job_id: int = 1) -> tuple[str, str]:
    with engine.connect() as c:
        row = c.execute(select(analyses.c.state, analyses.c.code).where(analyses.c.id == job_id)).one()
    return row.state, row.code


def let_the_lease_run_out(engine: Engine) -> None:
    with engine.begin() as c:
        c.execute(update(analyses).values(lease_until=now() - timedelta(seconds=1)))


@pytest.mark.proves("SAF-13")
def test_database_syncs_every_commit(on_sqlite: Engine) -> None:
    with on_sqlite.connect() as c:
        assert c.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert c.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL


def test_same_bytes_are_recorded_once(engine: Engine) -> None:
    first = received(1)
    assert keep_instance(engine, first)
    assert not keep_instance(engine, first)
    with engine.connect() as c:
        assert c.execute(select(func.count()).select_from(analyses)).scalar() == 1


def test_lease_returns_each_job_once_oldest_first(engine: Engine, queue: Queue) -> None:
    for number in range(5):
        keep_instance(engine, received(number))
    assert [lease.job_id for lease in queue.lease(most=2)] == [1, 2]
    other = Queue(engine, analyses, "other")
    assert [lease.job_id for lease in other.lease(most=9)] == [3, 4, 5]
    assert Queue(engine, analyses, "third").lease() == []


def test_lease_by_twenty_threads_never_shares_a_job(engine: Engine) -> None:
    for number in range(60):
        keep_instance(engine, received(number))
    leased: list[int] = []

    def take(owner: str) -> None:
        queue = Queue(engine, analyses, owner)
        while leases := queue.lease(most=2):
            for lease in leases:
                leased.append(lease.job_id)
                with queue.ending(lease, Event.FINISH):
                    pass

    threads = [threading.Thread(target=take, args=(f"worker {k}",)) for k in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(leased) == list(range(1, 61))


def test_result_and_end_of_its_job_are_one_transaction(engine: Engine, queue: Queue) -> None:
    keep_instance(engine, received(1))
    (lease,) = queue.lease()
    with pytest.raises(RuntimeError, match="power cut"), queue.ending(lease, Event.FINISH) as c:
        uids = {"sop_instance_uid": "1.2.3", "study_instance_uid": "1.2.4"}
        c.execute(insert(results).values(analysis_id=1, answer="negative", record="{}", created_at=now(), **uids))
        raise RuntimeError("power cut")
    assert state(engine) == ("leased", "")
    with engine.connect() as c:
        assert c.execute(select(func.count()).select_from(results)).scalar() == 0


def test_expired_lease_goes_to_another_process_and_its_former_owner_is_refused(engine: Engine, queue: Queue) -> None:
    keep_instance(engine, received(1))
    (lost,) = queue.lease()
    let_the_lease_run_out(engine)
    (taken,) = Queue(engine, analyses, "other").lease()
    assert taken.attempts == 2
    with pytest.raises(Transient, match="lease_lost"), queue.ending(lost, Event.FINISH):
        pass
    with pytest.raises(Transient, match="lease_lost"):
        queue.renew(lost)
    queue.failed(lost, ERROR)
    assert state(engine) == ("leased", "lease_expired")


def test_job_whose_outcome_did_not_fit_the_disk_is_back_when_there_is_room(on_sqlite: Engine) -> None:
    """SQLite says "database or disk is full" beyond a number of pages as it does on a disk without room."""
    queue = queue_of(on_sqlite)
    keep_instance(on_sqlite, received(1))
    (lease,) = queue.lease()
    with on_sqlite.connect() as c:
        pages = c.exec_driver_sql("PRAGMA page_count").scalar()

    def limit(connection: Any, *_: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    event.listen(on_sqlite, "checkout", limit)
    error = Transient(ReasonCode.DISK_FULL, "x" * 500_000)
    for _ in range(3):
        with pytest.raises(OperationalError, match="full"):
            queue.failed(lease, error)
        assert state(on_sqlite) == ("leased", "")
    event.remove(on_sqlite, "checkout", limit)
    with on_sqlite.connect() as c:
        c.exec_driver_sql("PRAGMA max_page_count = 1000000")
    assert Queue(on_sqlite, analyses, "other").lease() == []
    (again,) = queue.lease()
    assert (again.job_id, again.attempts) == (1, 1)  # nothing was tried in vain
    with queue.ending(again, Event.FINISH):
        pass
    assert state(on_sqlite)[0] == "done"


def test_renewed_lease_does_not_expire(engine: Engine, queue: Queue) -> None:
    keep_instance(engine, received(1))
    (lease,) = queue.lease()
    let_the_lease_run_out(engine)
    renewed = queue.renew(lease)
    assert renewed.until > now()
    assert Queue(engine, analyses, "other").lease() == []
    with queue.ending(renewed, Event.FINISH):
        pass
    assert state(engine)[0] == "done"


@pytest.mark.proves("SAF-14")
def test_job_that_kills_its_worker_every_time_is_parked(engine: Engine, queue: Queue) -> None:
    for number in range(2):
        keep_instance(engine, received(number))
    for _ in range(3):
        (lease,) = queue.lease()
        assert lease.job_id == 1
        queue.release()  # as a role does after kill -9
    assert state(engine) == ("parked", "lease_expired")
    assert [lease.job_id for lease in queue.lease()] == [2]


def test_failed_job_backs_off_until_a_person_retries_it(engine: Engine) -> None:
    queue = Queue(engine, analyses, "me", most_attempts=2, backoff=Backoff(first_s=1000, longest_s=1000))
    keep_instance(engine, received(1))
    (lease,) = queue.lease()
    assert not queue.is_last(lease)
    queue.failed(lease, ERROR)
    assert state(engine) == ("queued", "unreachable")
    assert queue.lease() == []
    queue.retry(1, anna())
    assert queue.lease()[0].attempts == 1


def test_person_can_retry_and_drop_but_not_retry_a_dropped_job(engine: Engine, queue: Queue) -> None:
    keep_instance(engine, received(1))
    queue.failed(queue.lease()[0], ERROR, for_good=True)
    assert state(engine)[0] == "parked"
    assert queue.retry(1, anna()) is State.QUEUED
    assert queue.drop(1, anna("a test radiograph")) is State.DROPPED
    with pytest.raises(ImpossibleTransition):
        queue.retry(1, anna())
    with pytest.raises(KeyError):
        queue.retry(99, anna())


def test_reader_takes_no_write_lock(engine: Engine) -> None:
    with engine.begin() as writer:
        writer.execute(insert(instances).values(**_row(1)))
        with readers(engine).connect() as reader:
            assert reader.execute(select(func.count()).select_from(instances)).scalar() == 0


def _row(number: int) -> dict[str, object]:
    values = received(number)
    return {name: getattr(values, name) for name in Received.__slots__} | {"received_at": now(), "receipt": 1}


def test_transient_error_never_parks(engine: Engine, queue: Queue) -> None:
    keep_instance(engine, received(1))
    for _ in range(10):
        queue.failed(queue.lease()[0], ERROR)
    assert state(engine) == ("queued", "unreachable")


def fail(queue: Queue, error: Exception) -> None:
    (lease,) = queue.lease()
    with settling_failures(queue, lease, "analysis 1", rejected=Action.DECLINE):
        raise error


@pytest.mark.parametrize("error", [ERROR, Killed(ReasonCode.RENDERING_DIED, "ended from outside")])
def test_attempt_that_failed_for_no_fault_of_the_job_does_not_count(
    engine: Engine, queue: Queue, error: Transient
) -> None:
    keep_instance(engine, received(1))
    for _ in range(MOST_DELAYS):
        fail(queue, error)
    (lease,) = queue.lease()
    assert not queue.is_last(lease)
    queue.release()  # the role was restarted meanwhile
    assert state(engine)[0] == "queued"


def test_job_whose_processes_are_ended_again_and_again_is_parked_at_last(engine: Engine, queue: Queue) -> None:
    keep_instance(engine, received(1))
    for _ in range(MOST_DELAYS + 3):
        assert state(engine)[0] == "queued"
        fail(queue, Killed(ReasonCode.DECODER_KILLED, "ended from outside"))
    assert state(engine) == ("parked", "decoder_killed")
    assert queue.retry(1, anna()) is State.QUEUED
    fail(queue, Killed(ReasonCode.DECODER_KILLED, "ended from outside"))
    assert state(engine)[0] == "queued"


def test_back_off_grows_with_each_delay(engine: Engine) -> None:
    queue = Queue(engine, analyses, "me", most_attempts=3, backoff=Backoff(first_s=100.0, longest_s=10_000.0))
    keep_instance(engine, received(1))
    for longest_s in (100.0, 200.0, 400.0, 800.0):
        fail(queue, ERROR)
        with engine.begin() as c:
            wait_s = (c.execute(select(analyses.c.not_before)).scalar_one() - now()).total_seconds()
            c.execute(update(analyses).values(not_before=now()))
        assert 0.5 * longest_s - 10.0 < wait_s <= longest_s


def test_newer_result_drops_pending_deliveries_of_the_older(engine: Engine, queue: Queue) -> None:
    """Other bytes under the same UID are a correction: they make revision 2, and revision 1 is not sent after it."""
    ds = source()
    for digest in ("a", "b"):
        uid = str(ds.SOPInstanceUID)
        keep_instance(engine, replace(received(1), sop_instance_uid=uid, digest=digest * 64))
        latest = latest_result(engine, uid)
        answer = replace(result(ds), revision=latest.revision + 1 if latest else 1)
        (lease,) = queue.lease()
        sc = Outgoing(
            destination="pacs", kind=ArtefactKind.SECONDARY_CAPTURE, identifier=answer.uid("sc"), digest=digest * 64
        )
        with queue.ending(lease, Event.FINISH) as c:
            record_result(c, lease.job_id, answer, [sc], source_digest=digest)
    with engine.connect() as c:
        rows = c.execute(select(deliveries).order_by(deliveries.c.id)).all()
    assert [(row.state, row.code) for row in rows] == [("dropped", "superseded"), ("queued", "")]
    assert rows[0].identifier != rows[1].identifier
    latest = latest_result(engine, str(ds.SOPInstanceUID))
    assert latest is not None
    assert (latest.revision, latest.source_digest) == (2, "b")
    assert latest_result(engine, "2.25.0") is None


def test_peek_returns_the_next_jobs_and_leaves_them_free(engine: Engine, queue: Queue) -> None:
    assert queue.peek() == []
    for number in (1, 2, 3):
        keep_instance(engine, received(number))
    assert (queue.peek(), queue.peek(9)) == ([1], [1, 2, 3])
    (first,) = queue.lease()
    assert (first.job_id, queue.peek()) == (1, [2])
    assert [lease.job_id for lease in Queue(engine, analyses, "other").lease(most=2)] == [2, 3]
    assert queue.peek() == []


def plan(engine: Engine, run: Callable[[Connection], object]) -> list[str]:
    """Return the steps in which SQLite answers every statement that `run` executes on a connection, but inserts."""
    seen: list[tuple[str, Any]] = []

    def note(_c: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        seen.append((statement, parameters))

    with engine.connect() as c:
        event.listen(c, "before_cursor_execute", note)
        run(c)
        event.remove(c, "before_cursor_execute", note)
        explained = [c.exec_driver_sql(f"EXPLAIN QUERY PLAN {s}", p) for s, p in seen if not s.startswith("INSERT")]
        return [step.detail for steps in explained for step in steps]


def test_replaced_deliveries_are_found_by_their_result_and_not_among_all_that_wait(on_sqlite: Engine) -> None:
    d = deliveries.c
    of_radiograph = select(results.c.id).where(results.c.sop_instance_uid == "1.2")
    for which, column in (
        (d.result_id.in_(of_radiograph), "result_id=?"),
        (d.study_result_id.is_not(None) & d.study_instance_uid.in_(["1.2"]), "study_instance_uid=?"),
    ):
        steps = plan(on_sqlite, lambda c, which=which: supersede(c, which, 2))  # type: ignore[misc]
        assert any(step.startswith("SEARCH deliveries") and column in step for step in steps), steps


def test_first_untried_radiograph_is_found_without_reading_all_that_wait(on_sqlite: Engine) -> None:
    steps = plan(on_sqlite, lambda c: c.execute(studies_module._FIRST))
    assert any("state=? AND attempts=?" in step and "attempts_created_at" in step for step in steps)
    assert not [step for step in steps if step.startswith("SCAN") and "CONSTANT" not in step and "subquery" not in step]
