"""A wall clock that steps: order by counters, durations by the time since boot, and a warning on the page."""

import re
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, Select, event, func, insert, select, update
from sqlalchemy.dialects import postgresql

from appliance import clock
from appliance.clock import Reading, now, read_clocks
from appliance.config import Configuration
from appliance.domain.job import Backoff
from appliance.domain.notice import Notice, Subject
from appliance.domain.reason import ReasonCode
from appliance.errors import Transient
from appliance.gpu import GpuFigures, write_figures
from appliance.status.facts import RoleState, observe
from appliance.status.health import conditions
from appliance.storage.clock_steps import LEAST_STEP_S, RECENT_S, recent_step
from appliance.storage.commitments import record_commitment
from appliance.storage.heartbeats import as_roles_see, heartbeats, record_heartbeat
from appliance.storage.instances import AnalysisQueue, analysis_jobs, keep_instance
from appliance.storage.notices import MOST, Notebook, newest_notices
from appliance.storage.retention import prune_instances
from appliance.storage.spool import FileSpool
from appliance.storage.tables import analyses, clock_steps, deliveries, notices, roles, studies
from tests.integration.test_queue import received
from tests.integration.test_retention import analysed, delivered
from tests.support.outbox import Outbox, picture, radiograph
from tests.support.pacs import profile
from tests.support.site import Site
from tests.support.waiting import wait_until

HOUR_S = 3600.0
ERROR = Transient(ReasonCode.UNREACHABLE, "the peer is away")
THEN = Reading(at=datetime(2026, 1, 2, 10, tzinfo=UTC), boot_id="a", uptime_s=500.0)


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Set the wall clock of the appliance that many seconds on; it goes on from there."""
    return lambda seconds: monkeypatch.setattr(clock, "wall_s", lambda: time.time() + seconds)


@pytest.mark.parametrize(
    ("later", "step_s"),
    [
        (replace(THEN, at=THEN.at + timedelta(seconds=60), uptime_s=560.0), 0.0),
        (replace(THEN, at=THEN.at - timedelta(hours=1), uptime_s=560.0), -HOUR_S - 60),
        (replace(THEN, at=THEN.at + timedelta(hours=1), uptime_s=560.0), HOUR_S - 60),
        (Reading(at=THEN.at + timedelta(hours=1), boot_id="b", uptime_s=5.0), 0.0),
        (Reading(at=THEN.at - timedelta(hours=1), boot_id="b", uptime_s=5.0), -HOUR_S),
    ],
)
def test_step_between_two_readings_is_what_the_time_since_boot_does_not_explain(later: Reading, step_s: float) -> None:
    assert THEN.step_s(later) == step_s


def test_time_since_boot_is_read_from_the_kernel() -> None:
    first = read_clocks()
    second = read_clocks()
    assert first.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert 0 <= (first.age_s(second) or 0) < 60
    assert abs(first.uptime_s - float(Path("/proc/uptime").read_text().split()[0])) < 60


def test_same_bytes_received_again_count_as_newest_whatever_the_clock_says(
    engine: Engine, set_clock: Callable[[float], None]
) -> None:
    right = received(1)
    wrong = replace(right, digest="b" * 64)
    set_clock(HOUR_S)
    assert keep_instance(engine, right) and keep_instance(engine, wrong)
    set_clock(0)
    assert keep_instance(engine, right), "the correction is taken back"
    assert not keep_instance(engine, right), "nothing came since"
    assert [job.receipt for job in analysis_jobs(engine, [1, 2])] == [3, 2]


@pytest.mark.proves("SAF-22")
def test_job_that_backs_off_waits_no_longer_after_the_clock_was_set_back(
    engine: Engine, set_clock: Callable[[float], None]
) -> None:
    queue = AnalysisQueue(engine, "me", backoff=Backoff(first_s=100, longest_s=100))
    set_clock(HOUR_S)
    record_heartbeat(engine, "receive", now(), "works")
    for number in (1, 2):
        keep_instance(engine, received(number))
    failed, held = queue.lease(2)
    queue.failed(failed, ERROR)
    set_clock(0)
    record_heartbeat(engine, "receive", now(), "works")
    with engine.connect() as c:
        not_before = c.execute(select(analyses.c.not_before).where(analyses.c.id == failed.job_id)).scalar_one()
        lease_until = c.execute(select(analyses.c.lease_until).where(analyses.c.id == held.job_id)).scalar_one()
    assert 0 < (not_before - now()).total_seconds() <= 100, "the rest of its back-off"
    assert 200 < (lease_until - now()).total_seconds() <= 300, "the rest of the lease"


def test_job_made_while_the_clock_was_ahead_is_due_after_the_next_heartbeat(
    engine: Engine, set_clock: Callable[[float], None]
) -> None:
    set_clock(HOUR_S)
    record_heartbeat(engine, "receive", now(), "works")
    keep_instance(engine, received(1))
    set_clock(0)
    queue = AnalysisQueue(engine, "me")
    record_heartbeat(engine, "deliver", now(), "any role notices it")
    assert [lease.job_id for lease in queue.lease()] == [1]


def test_job_of_an_earlier_boot_with_a_clock_ahead_is_due(engine: Engine, set_clock: Callable[[float], None]) -> None:
    set_clock(24 * HOUR_S)
    record_heartbeat(engine, "receive", now(), "works")
    keep_instance(engine, received(1))
    with engine.begin() as c:
        c.execute(update(roles).values(boot_id="an earlier boot"))
    set_clock(0)
    record_heartbeat(engine, "receive", now(), "works")
    wait_until(AnalysisQueue(engine, "me").lease, "the job, made a moment after the last heartbeat of its boot")


def test_clock_set_on_makes_no_job_wait(engine: Engine, set_clock: Callable[[float], None]) -> None:
    record_heartbeat(engine, "receive", now(), "works")
    keep_instance(engine, received(1))
    set_clock(HOUR_S)
    keep_instance(engine, received(2))
    record_heartbeat(engine, "receive", now(), "works")
    assert len(AnalysisQueue(engine, "me").lease(9)) == 2


def test_step_is_recorded_once_and_a_small_one_not_at_all(engine: Engine, set_clock: Callable[[float], None]) -> None:
    for offset in (0, LEAST_STEP_S - 1, -HOUR_S, -HOUR_S):
        set_clock(offset)
        for role in ("receive", "analyse", "deliver", "status"):
            record_heartbeat(engine, role, now(), "works")
    with engine.connect() as c:
        assert c.execute(select(func.count()).select_from(clock_steps)).scalar() == 1
        clocks = read_clocks()
        step = recent_step(c, clocks)
        assert recent_step(c, replace(clocks, uptime_s=clocks.uptime_s + RECENT_S + 1)) is None
        assert recent_step(c, replace(clocks, boot_id="the next boot")) is None
    assert step and abs(step.step_s + HOUR_S + LEAST_STEP_S - 1) < 5


def test_clock_of_another_box_is_no_step(
    engine: Engine, set_clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two boxes on one database, one of them an hour ahead: neither moves the leases and waits."""
    keep_instance(engine, received(1))
    AnalysisQueue(engine, "me").lease()
    with engine.connect() as c:
        lease_until = c.execute(select(analyses.c.lease_until)).scalar_one()
    for _ in range(2):
        for box, offset in (("box1", HOUR_S), ("box2", 0)):
            monkeypatch.setattr("socket.gethostname", lambda box=box: box)
            set_clock(offset)
            record_heartbeat(engine, "receive", now(), "works")
            with engine.begin() as c:
                c.execute(update(roles).where(roles.c.host == box).values(boot_id=f"the boot of {box}"))
    with engine.connect() as c:
        assert c.execute(select(clock_steps)).all() == []
        assert c.execute(select(analyses.c.lease_until)).scalar_one() == lease_until


def test_heartbeat_locks_those_of_its_host_before_it_reads_the_clock(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL runs the heartbeats of two roles side by side: both would apply the same step."""
    said: list[str] = []

    def note(_c: object, statement: object, *_: object) -> None:
        if isinstance(statement, Select):
            said.append(str(statement.compile(dialect=postgresql.dialect())))  # type: ignore[no-untyped-call]

    def read() -> Reading:
        said.append("clock")
        return read_clocks()

    monkeypatch.setattr("appliance.storage.heartbeats.read_clocks", read)
    event.listen(engine, "before_execute", note)
    record_heartbeat(engine, "receive", now(), "works")
    lock, clock_read, comparison = said
    assert "roles.host = " in lock and "ORDER BY roles.role FOR UPDATE" in lock
    assert clock_read == "clock"
    assert "roles.host = " in comparison, "a statement of its own: it sees the heartbeat of the role that came first"


def test_role_that_died_is_missing_although_the_clock_was_set_back(
    engine: Engine, set_clock: Callable[[float], None], tmp_path: Path
) -> None:
    for role in ("receive", "analyse", "deliver", "status"):
        record_heartbeat(engine, role, now(), "works")
    with engine.begin() as c:  # 20 seconds pass, in which only `analyse` is silent
        c.execute(update(roles).where(roles.c.role == "analyse").values(uptime_s=roles.c.uptime_s - 20))
    set_clock(-HOUR_S)
    record_heartbeat(engine, "receive", now(), "works")
    facts = observe(engine, Configuration.model_validate({"state_dir": tmp_path}), now())
    states = {role.role: role.state for role in facts.roles}
    assert states == dict.fromkeys(states, RoleState.ALIVE) | {"analyse": RoleState.MISSING}
    broken = {c.name: c.sentence for c in conditions(facts) if not c.ok}
    assert set(broken) == {"clock", "role.analyse"}
    assert "was set back by 60 min" in broken["clock"]


def test_role_of_an_earlier_boot_is_missing(engine: Engine, tmp_path: Path) -> None:
    record_heartbeat(engine, "receive", now(), "works")
    with engine.begin() as c:  # it began an hour before this one
        c.execute(update(roles).values(boot_id="an earlier boot", uptime_s=roles.c.uptime_s + HOUR_S))
    facts = observe(engine, Configuration.model_validate({"state_dir": tmp_path}), now())
    assert facts.roles[0].state is RoleState.MISSING


def test_study_that_settles_is_due_after_the_clock_was_set_back(
    engine: Engine, set_clock: Callable[[float], None]
) -> None:
    set_clock(HOUR_S)
    record_heartbeat(engine, "receive", now(), "works")
    with engine.begin() as c:
        due = {"not_before": now() + timedelta(seconds=120), "created_at": now()}
        c.execute(insert(studies).values(study_instance_uid="1.2.3", state="queued", **due))
    set_clock(0)
    record_heartbeat(engine, "receive", now(), "works")
    with engine.connect() as c:
        not_before = c.execute(select(studies.c.not_before)).scalar_one()
    assert 60 < (not_before - now()).total_seconds() <= 120


@pytest.mark.proves("SAF-22")
def test_commitment_result_counts_although_the_clock_was_set_back_before_the_request(
    tmp_path: Path, free_port: int, set_clock: Callable[[float], None]
) -> None:
    with Outbox(tmp_path, profile(free_port, proof="commitment")) as outbox:
        ds = radiograph(1)
        outbox.answer(ds, ("pacs", picture(ds)))
        box = outbox.couriers["pacs"]._outbox
        box.begin_transaction([], "1.2.1")
        (leased,) = box.lease_due(1).values()
        set_clock(HOUR_S)
        sent_as = ("1.2.840.10008.5.1.4.1.1.7", "1.2.9")
        box.wait_for_proof(leased.lease, ReasonCode.DELIVERED, "stored", sent_as, now())
        set_clock(0)
        box.begin_transaction([1], "1.2.2")
        assert record_commitment(outbox.engine, "1.2.1", ["1.2.9"], {}) == 0, "it was asked before the object was sent"
        assert record_commitment(outbox.engine, "1.2.2", ["1.2.9"], {}) == 1


def test_notices_written_while_the_clock_was_ahead_make_room_for_new_ones(
    engine: Engine, set_clock: Callable[[float], None]
) -> None:
    notice = Notice(
        subject=Subject.ASSOCIATION,
        code=ReasonCode.CALLED_AE_TITLE,
        reason="it called 'X'",
        calling_ae_title="",
        called_ae_title="X",
        address="192.0.2.7",
    )
    notebook = Notebook()
    set_clock(24 * HOUR_S)
    for number in range(MOST):
        notebook.note(replace(notice, calling_ae_title=f"OLD{number}"))
    notebook.write(engine)
    set_clock(0)
    notebook.note(replace(notice, calling_ae_title="NEW"))
    notebook.write(engine)
    with engine.connect() as c:
        (newest,) = newest_notices(c, Subject.ASSOCIATION, 1)
        assert c.execute(select(func.count()).select_from(notices)).scalar() == MOST
    assert newest.notice.calling_ae_title == "NEW"


def test_clock_set_on_by_a_year_removes_no_file_because_of_its_age(
    engine: Engine, tmp_path: Path, set_clock: Callable[[float], None]
) -> None:
    spool = FileSpool(tmp_path / "spool")
    record_heartbeat(engine, "receive", now(), "works")
    analysed(engine, spool, "one")
    delivered(engine)
    set_clock(365 * 24 * HOUR_S)
    assert prune_instances(engine, spool, days=1e5, prune_below_bytes=0) == 0
    record_heartbeat(engine, "receive", now(), "works")
    assert prune_instances(engine, spool, days=30, prune_below_bytes=0) == 0
    with engine.begin() as c:  # a day later
        c.execute(update(clock_steps).values(uptime_s=clock_steps.c.uptime_s - RECENT_S - 1))
    assert prune_instances(engine, spool, days=30, prune_below_bytes=0) == 1


def test_real_role_that_starts_after_the_clock_was_set_back_does_the_jobs_that_waited(tmp_path: Path) -> None:
    destination = {"kind": "dicom", "name": "pacs", "host": "127.0.0.1", "port": 9, "called_ae_title": "P"}
    with Site(tmp_path, [destination]) as site, Outbox(tmp_path / "state") as outbox:
        ds = radiograph(1)
        record_heartbeat(site.engine, "receive", now(), "works")
        outbox.answer(ds, ("pacs", picture(ds)))
        with site.engine.begin() as c:  # as if the clock had been an hour ahead until now
            c.execute(update(roles).values(beat_at=now() + timedelta(hours=1)))
            c.execute(update(deliveries).values(not_before=now() + timedelta(hours=1)))
        site.start("deliver")
        wait_until(lambda: outbox.rows[0].code, "the first attempt")
        assert (step := re.search(r"was set back by (\d+) s", site.log("deliver"))), site.log("deliver")
        assert 3600 <= int(step[1]) <= 3660  # plus the time until the role saw it


def test_command_that_reads_another_boot_id_than_the_roles_sees_them_at_work(
    engine: Engine, set_clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """systemd-nspawn mounts a boot_id of its own, and the units of the roles have a /proc of their own."""
    record_heartbeat(engine, "receive", now(), "works")
    record_heartbeat(engine, "analyse", now(), "works")
    set_clock(-HOUR_S)
    write_figures(tmp_path, GpuFigures(temperature_c=50), read_clocks())
    record_heartbeat(engine, "receive", now(), "works")
    monkeypatch.setattr("appliance.clock._boot_id", lambda: "that of the container")
    facts = observe(engine, Configuration.model_validate({"state_dir": tmp_path}), now())
    assert [role.state for role in facts.roles[:3]] == [RoleState.ALIVE, RoleState.ALIVE, RoleState.MISSING]
    assert facts.clock_step and facts.gpu


def test_heartbeats_of_an_earlier_boot_are_not_of_this_one(engine: Engine) -> None:
    """A clock without a battery begins each boot at the same time."""
    record_heartbeat(engine, "receive", now(), "works")
    record_heartbeat(engine, "analyse", now(), "works")
    clocks = read_clocks()
    with engine.begin() as c:
        earlier = {"boot_id": "an earlier boot", "uptime_s": clocks.uptime_s + 300, "beat_at": now()}
        c.execute(update(roles).where(roles.c.role == "receive").values(earlier))
    with engine.connect() as c:
        beats = heartbeats(c)
    assert as_roles_see(clocks, beats.values()) == clocks
    del beats["analyse"]
    assert as_roles_see(clocks, beats.values()) == clocks, "a role of this boot has no longer uptime than the box"
