"""A commit that adds work wakes the role that waits for it; one that wakes nobody costs one poll interval."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from appliance.clock import now
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.job import Settling
from appliance.storage import wakeups
from appliance.storage.destinations import end_pause
from appliance.storage.gate import EVERY, Gate
from appliance.storage.instances import AnalysisQueue, keep_instance
from appliance.storage.outgoing import Outgoing
from appliance.storage.results import record_result
from appliance.storage.studies import StudyQueue, queue_study
from appliance.storage.tables import studies
from appliance.storage.transitions import add_job
from appliance.storage.wakeups import Bell
from tests.integration.test_queue import received
from tests.support.people import anna
from tests.support.results import result
from tests.support.sources import source
from tests.support.waiting import PATIENCE_S, wait_until

SENT = Outgoing(destination="pacs", kind=ArtefactKind.SECONDARY_CAPTURE, identifier="1.2.3", digest="0" * 64)

LISTEN = """
import sys, time
from appliance.storage.database import unopened_database
from appliance.storage.wakeups import Bell
bell = Bell().listen(unopened_database(sys.argv[1]), "analyse")
print("listens", flush=True)
time.sleep(600)
"""


@pytest.fixture
def bell(engine: Engine) -> Iterator[Bell]:
    """The bell of the analyse role, which never looks without a wake-up."""
    yield from _patient_bell(engine, "analyse")


@pytest.fixture
def deliver_bell(engine: Engine) -> Iterator[Bell]:
    """The bell of the deliver role, likewise."""
    yield from _patient_bell(engine, "deliver")


def _patient_bell(engine: Engine, role: str) -> Iterator[Bell]:
    bell = Bell().listen(engine, role)
    bell.poll_s = PATIENCE_S
    yield bell
    bell.close()


@pytest.fixture
def fifo(engine: Engine) -> Iterator[int]:
    """The FIFO of the analyse role, read by the test itself; without a byte, a read raises `BlockingIOError`."""
    path = Path(str(engine.url.database)).with_name("wake-analyse")
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    yield descriptor
    os.close(descriptor)


def test_received_radiograph_wakes_the_analyse_role_alone(engine: Engine, bell: Bell, deliver_bell: Bell) -> None:
    keep_instance(engine, received(1))
    bell.wait(0, PATIENCE_S)
    assert bell.rings == 1
    assert deliver_bell.rings == 0


def test_result_wakes_both_roles_that_go_on_with_it(engine: Engine, bell: Bell, deliver_bell: Bell) -> None:
    keep_instance(engine, received(1))
    bell.wait(0, PATIENCE_S)
    rings = bell.rings
    with engine.begin() as c:
        record_result(c, 1, result(source()), [SENT], settling=Settling())
    bell.wait(rings, PATIENCE_S)
    deliver_bell.wait(0, PATIENCE_S)
    assert (bell.rings, deliver_bell.rings) == (rings + 1, 1)


def test_every_thread_of_a_role_is_woken(engine: Engine, deliver_bell: Bell) -> None:
    Gate(engine).shut(EVERY, anna("a test"))
    rings = deliver_bell.rings
    couriers = [threading.Thread(target=deliver_bell.wait, args=(rings, PATIENCE_S)) for _ in range(3)]
    for courier in couriers:
        courier.start()
    Gate(engine).open(EVERY, anna())
    for courier in couriers:
        courier.join(PATIENCE_S)
    assert not any(courier.is_alive() for courier in couriers)
    assert deliver_bell.rings > rings


def test_ended_pause_wakes_the_deliver_role(engine: Engine, deliver_bell: Bell) -> None:
    with engine.begin() as c:
        end_pause(c, "pacs")
    deliver_bell.wait(0, PATIENCE_S)
    assert deliver_bell.rings == 1


def test_wake_up_during_a_look_for_work_is_not_lost(engine: Engine, bell: Bell) -> None:
    rings = bell.rings
    assert AnalysisQueue(engine, "me").lease() == []
    keep_instance(engine, received(1))
    wait_until(lambda: bell.rings > rings, "the wake-up")
    started = time.monotonic()
    bell.wait(rings, PATIENCE_S)
    assert time.monotonic() - started < PATIENCE_S / 2


def test_byte_is_written_after_the_commit_and_not_for_a_rollback(engine: Engine, fifo: int) -> None:
    with engine.connect() as c:
        with c.begin() as transaction:
            add_job(c, studies, study_instance_uid="1.2")
            transaction.rollback()
        with c.begin():
            pass
    with pytest.raises(BlockingIOError):
        os.read(fifo, 1)
    with engine.begin() as c:
        add_job(c, studies, study_instance_uid="1.2")
        with pytest.raises(BlockingIOError):
            os.read(fifo, 1)
    assert os.read(fifo, 9) == b"\0"


def test_full_fifo_holds_up_no_commit(engine: Engine, fifo: int) -> None:
    with pytest.raises(BlockingIOError):
        while os.write(fifo, bytes(65536)):
            pass
    assert keep_instance(engine, received(1))


def test_work_whose_wake_up_was_lost_is_found_by_the_next_look(engine: Engine, bell: Bell) -> None:
    Path(str(engine.url.database)).with_name("wake-analyse").unlink()
    queue = AnalysisQueue(engine, "me")
    bell.poll_s = 0.2
    assert queue.lease() == []
    keep_instance(engine, received(1))
    bell.wait(0, queue.rest_s)
    assert bell.rings == 0
    assert len(queue.lease()) == 1


def test_fifo_that_a_killed_role_left_holds_up_nobody_and_is_used_again(engine: Engine) -> None:
    command = [sys.executable, "-c", LISTEN, str(engine.url)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listens\n"
        process.send_signal(signal.SIGKILL)
    keep_instance(engine, received(1))  # nobody reads
    for bell in _patient_bell(engine, "analyse"):
        keep_instance(engine, received(2))
        bell.wait(0, PATIENCE_S)
        assert bell.rings == 1


def test_plain_file_in_the_place_of_the_fifo_is_replaced(engine: Engine) -> None:
    Path(str(engine.url.database)).with_name("wake-analyse").write_bytes(b"from a backup")
    for bell in _patient_bell(engine, "analyse"):
        keep_instance(engine, received(1))
        bell.wait(0, PATIENCE_S)
        assert bell.rings == 1


def test_role_that_no_commit_can_wake_polls_at_short_intervals(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "mkfifo", refuse)
    bell = Bell().listen(engine, "analyse")
    assert bell.poll_s == wakeups.UNWOKEN_POLL_S
    keep_instance(engine, received(1))
    bell.close()


def test_job_that_waits_for_its_time_ends_the_pause_at_that_time(engine: Engine, bell: Bell) -> None:
    queue = StudyQueue(engine, "me")
    with engine.begin() as c:
        queue_study(c, "1.2", Settling(settle_s=0.3))
        add_job(c, studies, study_instance_uid="1.3", not_before=now() + timedelta(hours=1))
    wait_until(lambda: bell.rings, "the wake-up")
    assert queue.lease() == []
    assert 0 < queue.rest_s <= 0.3
    bell.wait(bell.rings, queue.rest_s)
    assert [lease.job_id for lease in queue.lease()] == [1]
    assert 3000 < queue.rest_s <= 3600
