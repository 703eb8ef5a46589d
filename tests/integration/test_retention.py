"""Retention removes files of ended work, and no others, however low the disk is."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, update

from appliance.clock import now
from appliance.config import Configuration, Receive
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.job import Event
from appliance.domain.reason import ReasonCode
from appliance.domain.received import Received
from appliance.errors import Rejected
from appliance.service.roles.receive import PRUNE_EVERY_S, ReceiveRole
from appliance.storage import retention
from appliance.storage.database import open_database
from appliance.storage.deliveries import is_own_artefact
from appliance.storage.instances import keep_instance
from appliance.storage.outgoing import Outgoing
from appliance.storage.queue import Queue
from appliance.storage.results import record_result
from appliance.storage.retention import prune_instances
from appliance.storage.spool import FileSpool
from appliance.storage.tables import analyses, deliveries, instances, studies
from tests.support.results import result
from tests.support.sources import source

DAYS = 30.0
HUGE_BYTES = 10**15
"""No disk has so much room."""


def received(spool: FileSpool, name: str) -> Received:
    content = f"bytes of {name}".encode()
    return Received(
        sop_instance_uid=str(source(name).SOPInstanceUID),
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        digest=spool.put(content),
        size_bytes=len(content),
        calling_ae_title="ROOM1",
    )


def analysed(engine: Engine, spool: FileSpool, name: str) -> None:
    """Record one received and analysed radiograph with a pending delivery."""
    assert keep_instance(engine, received(spool, name))
    queue = Queue(engine, analyses, "me")
    (lease,) = queue.lease()
    made = result(source(name))
    out = Outgoing(
        destination="pacs",
        kind=ArtefactKind.SECONDARY_CAPTURE,
        identifier=made.uid("sc"),
        digest=spool.put(f"sc {name}".encode()),
    )
    with queue.ending(lease, Event.FINISH) as c:
        record_result(c, lease.job_id, made, [out])


def delivered(engine: Engine) -> None:
    """End every study and every delivery."""
    for table in (studies, deliveries):
        queue = Queue(engine, table, "me")
        for lease in queue.lease(most=1000):
            with queue.ending(lease, Event.FINISH):
                pass


def age(engine: Engine, days: float) -> None:
    """Move the end of every ended job that many days into the past."""
    with engine.begin() as c:
        for table in (analyses, deliveries):
            late = update(table).where(table.c.finished_at.is_not(None))
            c.execute(late.values(finished_at=now() - timedelta(days=days)))


def files(spool_dir: Path) -> int:
    return sum(p.is_file() for p in spool_dir.rglob("*"))


def test_delivered_radiograph_is_removed_after_its_days(engine: Engine, spool: FileSpool, tmp_path: Path) -> None:
    analysed(engine, spool, "one")
    delivered(engine)
    age(engine, 29.9)
    assert prune_instances(engine, spool, days=DAYS, prune_below_bytes=0) == 0
    age(engine, 30.1)
    assert prune_instances(engine, spool, days=DAYS, prune_below_bytes=0) == 1
    assert files(tmp_path / "spool") == 0
    assert prune_instances(engine, spool, days=DAYS, prune_below_bytes=0) == 0, "once is enough"


def test_low_disk_removes_the_oldest_first(
    engine: Engine, spool: FileSpool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "AT_A_TIME", 3)
    for number in range(4):
        analysed(engine, spool, str(number))
    delivered(engine)
    assert prune_instances(engine, spool, days=DAYS, prune_below_bytes=HUGE_BYTES) == 3
    with engine.connect() as c:
        left = c.execute(select(instances.c.sop_instance_uid).where(instances.c.pruned_at.is_(None))).scalars().all()
    assert left == [source("3").SOPInstanceUID]
    assert files(tmp_path / "spool") == 2


@pytest.mark.parametrize("state", ["not analysed", "in hand", "parked", "undelivered", "delivery parked", "unreported"])
def test_radiograph_with_open_work_stays_however_low_the_disk_is(
    engine: Engine, spool: FileSpool, tmp_path: Path, state: str
) -> None:
    queue, sending = Queue(engine, analyses, "me"), Queue(engine, deliveries, "me")
    if state in ("undelivered", "delivery parked", "unreported"):
        analysed(engine, spool, "one")
    else:
        keep_instance(engine, received(spool, "one"))
    if state == "in hand":
        queue.lease()
    if state == "parked":
        queue.failed(queue.lease()[0], Rejected(ReasonCode.BUG, "a bug"), for_good=True)
    if state == "delivery parked":
        sending.failed(sending.lease()[0], Rejected(ReasonCode.STORE_REJECTED, "no"), for_good=True)
    if state == "unreported":
        with sending.ending(sending.lease()[0], Event.FINISH):
            pass
    before = files(tmp_path / "spool")
    age(engine, 1000)
    assert prune_instances(engine, spool, days=DAYS, prune_below_bytes=HUGE_BYTES) == 0
    assert files(tmp_path / "spool") == before > 0


def test_removed_radiograph_received_again_is_known_and_removed_again(
    engine: Engine, spool: FileSpool, tmp_path: Path
) -> None:
    analysed(engine, spool, "one")
    delivered(engine)
    assert prune_instances(engine, spool, days=DAYS, prune_below_bytes=HUGE_BYTES) == 1
    assert not keep_instance(engine, received(spool, "one"))
    assert files(tmp_path / "spool") == 1
    assert prune_instances(engine, spool, days=DAYS, prune_below_bytes=HUGE_BYTES) == 1
    assert files(tmp_path / "spool") == 0


def test_own_artefact_is_known_by_its_uid(engine: Engine, spool: FileSpool) -> None:
    analysed(engine, spool, "one")
    assert is_own_artefact(engine, result(source("one")).uid("sc"))
    assert not is_own_artefact(engine, "2.25.1")


def test_receive_role_sweeps_half_written_files_while_it_runs(tmp_path: Path) -> None:
    """systemd restarts a killed role at once, when the files that it left are too young to be swept."""
    config = Configuration(state_dir=tmp_path, receive=Receive(port=0))
    role = ReceiveRole(config, open_database(config.database))
    left = config.spool_dir / "incoming" / "left"
    left.write_bytes(b"half an image")
    try:
        role.step()
        assert left.exists()
        os.utime(left, (0, 0))
        role._pruned_at = -PRUNE_EVERY_S
        role.step()
        assert not left.exists()
    finally:
        role.close()
