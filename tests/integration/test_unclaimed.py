"""Unclaimed files of the spool are removed in the end: their writer died before a row referred to them."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, update

from appliance.clock import now
from appliance.config import Configuration, Receive
from appliance.domain.job import Event
from appliance.domain.radiologist_report import RadiologistReport
from appliance.service.roles.receive import PRUNE_EVERY_S, ReceiveRole
from appliance.storage import retention
from appliance.storage.database import open_database, readers
from appliance.storage.instances import keep_instance
from appliance.storage.queue import Queue
from appliance.storage.radiologist_reports import keep_report
from appliance.storage.results import record_result
from appliance.storage.retention import prune_instances, prune_unclaimed
from appliance.storage.spool import FOLDERS, FileSpool
from appliance.storage.tables import analyses, deliveries, instances, radiologist_reports, results
from tests.integration.test_retention import DAYS, HUGE_BYTES, analysed, files, received
from tests.support.results import result
from tests.support.sources import source

DAY_S = 86400.0

CUT = """
import os, signal, sys
from pathlib import Path
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.job import Event
from appliance.storage.database import open_database
from appliance.storage.results import record_result
from appliance.storage.outgoing import Outgoing
from appliance.storage.queue import Queue
from appliance.storage.spool import FileSpool
from appliance.storage.tables import analyses
from tests.support.results import result
from tests.support.sources import source

folder = Path(sys.argv[1])
spool, queue = FileSpool(folder / "spool"), Queue(open_database(f"sqlite:///{folder / 'osteon.db'}"), analyses, "cut")
(lease,) = queue.lease()
digest = spool.put(b"rendered before the cut")
made = Outgoing(destination="pacs", kind=ArtefactKind.SECONDARY_CAPTURE, identifier="1.2.3", digest=digest)
with queue.ending(lease, Event.FINISH) as c:
    record_result(c, lease.job_id, result(source("one")), [made], picture_digest=spool.put(b"picture"))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def cut_off(folder: Path) -> None:
    """Kill an analysis with its artefacts in the spool before its transaction ends."""
    done = subprocess.run([sys.executable, "-c", CUT, str(folder)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL


def swept(engine: Engine, spool: FileSpool, days: float = DAYS) -> int:
    return sum(prune_unclaimed(engine, spool, folder, days=days) for folder in range(FOLDERS))


def written_ago(folder: Path, days: float) -> None:
    """Set the age of every file in the spool."""
    for path in (folder / "spool").rglob("*"):
        if path.is_file():
            os.utime(path, (0, time.time() - days * DAY_S))


def in_use_for(engine: Engine, days: float) -> None:
    with engine.begin() as c:
        c.execute(update(instances).values(received_at=now() - timedelta(days=days)))


def test_files_of_an_interrupted_transaction_are_removed_and_claimed_files_stay(
    engine: Engine, spool: FileSpool, tmp_path: Path
) -> None:
    assert keep_instance(engine, received(spool, "one"))
    cut_off(tmp_path)
    assert files(tmp_path / "spool") == 3
    queue = Queue(engine, analyses, "me")
    queue.release()
    (lease,) = queue.lease()
    with queue.ending(lease, Event.FINISH) as c:
        record_result(c, lease.job_id, result(source("one")), [], picture_digest=spool.put(b"picture, drawn again"))
    analysed(engine, spool, "two")
    said = RadiologistReport(
        sending_application="RIS",
        sending_facility="",
        control_id="1",
        accession_number="",
        study_instance_uid="",
        result_status="F",
    )
    keep_report(engine, said, spool.put(b"a report"))
    in_use_for(engine, 100)
    assert swept(engine, spool) == 0, "it may just be written"
    written_ago(tmp_path, 29.9)
    assert swept(engine, spool) == 0
    written_ago(tmp_path, 30.1)
    assert swept(engine, spool) == 2
    assert swept(engine, spool) == 0
    for claimed in (b"bytes of one", b"bytes of two", b"sc two", b"picture, drawn again", b"a report"):
        assert spool.get(hashlib.sha256(claimed).hexdigest()) == claimed
    assert files(tmp_path / "spool") == 5


def test_pruning_scans_no_table(
    engine: Engine, spool: FileSpool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They only grow, and the receiver asks every minute; more lies in the folder than one query asks for."""
    monkeypatch.setattr(retention, "AT_A_TIME", 3)
    names = [n for n in range(2000) if hashlib.sha256(b"bytes of %d" % n).digest()[0] == 0]
    kept, *orphans = (received(spool, str(n)) for n in names)
    assert len(orphans) > 3 and keep_instance(engine, kept)
    in_use_for(engine, 100)
    written_ago(tmp_path, 40)
    asked: list[tuple[str, Any]] = []
    event.listen(engine, "before_cursor_execute", lambda *given: asked.append((given[2], given[3])))
    assert prune_unclaimed(engine, spool, 0, days=DAYS) == len(orphans)
    assert spool.has(kept.digest)
    with readers(engine).connect() as c:
        plans = [c.exec_driver_sql(f"EXPLAIN QUERY PLAN {s}", p).all() for s, p in asked if s.startswith("SELECT")]
    steps = [step.detail for plan in plans for step in plan]
    for table in (instances, deliveries, results, radiologist_reports):
        assert any(step.startswith(f"SEARCH {table.name} ") for step in steps)
    assert not [step for step in steps if step.startswith("SCAN")]


def test_young_file_stays_however_short_the_retention(engine: Engine, spool: FileSpool, tmp_path: Path) -> None:
    keep_instance(engine, received(spool, "one"))
    spool.put(b"rendered, and its row is about to be written")
    in_use_for(engine, 100)
    written_ago(tmp_path, 0.9)
    assert swept(engine, spool, 0.001) == 0
    written_ago(tmp_path, 1.1)
    assert swept(engine, spool, 0.001) == 1


def test_file_that_is_kept_again_counts_as_new(engine: Engine, spool: FileSpool, tmp_path: Path) -> None:
    """The same bytes come while the orphan of an earlier writer is due: their row is not there yet."""
    keep_instance(engine, received(spool, "one"))
    in_use_for(engine, 100)
    digest = spool.put(b"orphan")
    written_ago(tmp_path, 40)
    spool.put(b"orphan")
    assert swept(engine, spool) == 0
    written_ago(tmp_path, 40)
    folder = int(digest[:2], 16)
    (due,) = spool.written(folder, 30 * DAY_S, 100 * DAY_S)
    spool.put(b"orphan")  # after it was found due, before it is removed
    spool.remove_old(due, 30 * DAY_S)
    assert spool.get(digest) == b"orphan"


@pytest.mark.parametrize("days", [None, 10])
def test_file_older_than_the_database_stays(
    days: float | None, engine: Engine, spool: FileSpool, tmp_path: Path
) -> None:
    """A new database over an old spool: a database_url that was mistyped must not cost a radiograph."""
    spool.put(b"a radiograph of the other database")
    if days:
        keep_instance(engine, received(spool, "one"))
        in_use_for(engine, days)
    before = files(tmp_path / "spool")
    written_ago(tmp_path, 400)
    assert swept(engine, spool) == 0
    assert files(tmp_path / "spool") == before


def test_file_written_again_after_pruning_without_its_row_is_removed(
    engine: Engine, spool: FileSpool, tmp_path: Path
) -> None:
    """Killed after the file was kept, and before the row said that it is there again."""
    queue = Queue(engine, analyses, "me")
    keep_instance(engine, received(spool, "one"))
    with queue.ending(queue.lease()[0], Event.DECLINE):
        pass
    assert prune_instances(engine, spool, days=DAYS, prune_below_bytes=HUGE_BYTES) == 1
    received(spool, "one")
    in_use_for(engine, 100)
    written_ago(tmp_path, 40)
    assert swept(engine, spool) == 1
    assert files(tmp_path / "spool") == 0


def test_receive_role_prunes_one_folder_after_the_other(tmp_path: Path) -> None:
    config = Configuration(state_dir=tmp_path, receive=Receive(port=0))
    engine = open_database(config.database)
    role = ReceiveRole(config, engine)
    try:
        spool = FileSpool(config.spool_dir)
        keep_instance(engine, received(spool, "one"))
        in_use_for(engine, 100)
        digests = [spool.put(b"orphan %d" % number) for number in range(3)]
        written_ago(tmp_path, 40)
        for _ in range(FOLDERS):
            role._pruned_at = -PRUNE_EVERY_S
            while role.step():  # it looks for radiographs without a row first
                pass
        assert not any(map(spool.has, digests))
        assert spool.has(received(spool, "one").digest)
    finally:
        role.close()
        engine.dispose()
