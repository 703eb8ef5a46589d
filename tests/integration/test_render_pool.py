"""Radiographs are rendered in processes of their own while the next are analysed; a process that dies costs a retry."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from sqlalchemy import Row, select

from appliance.analysis.pipeline import Pipeline
from appliance.config import Analyse, Configuration, DicomDestination, Picture
from appliance.domain.finding import Box
from appliance.domain.job import Backoff, Settling, State
from appliance.domain.radiograph import Window
from appliance.domain.result import Result
from appliance.errors import OsteonError, Transient
from appliance.picture.heat import Draw, draw_heats
from appliance.ports import Analysis, Heat
from appliance.service import render_pool
from appliance.service.analyser import Analyser
from appliance.service.artefacts import Renderer
from appliance.service.instance_reader import HeaderReader
from appliance.service.pipeline_assembly import pipeline_of
from appliance.service.reading import Reading
from appliance.service.rejection_notes import RejectionNotes
from appliance.service.render_pool import RenderPool, RendersHere, process_count
from appliance.service.spool_reader import SpoolReader
from appliance.storage.database import open_database
from appliance.storage.instances import AnalysisQueue
from appliance.storage.spool import FileSpool
from appliance.storage.tables import analyses, deliveries, results
from provisioning.phantoms import instance_from_phantom, phantom
from tests.support.kept import keep
from tests.support.phases import set_phases
from tests.support.results import finding, result
from tests.support.sources import source
from tests.support.waiting import wait_until

BOX = Box(x0=60, y0=100, x1=240, y1=380)
HEAT = Heat(cells=np.random.default_rng(2).random((7, 5), np.float32), extent=BOX.as_tuple(), within=BOX.as_tuple())
GREY = (np.add.outer(np.arange(500), np.arange(400)) * 255 // 900).astype(np.uint8)
CONFIG = Configuration(analyse=Analyse(pack="phantom", compute="cpu"))


def archive(name: str = "pacs", **look: Any) -> DicomDestination:
    return DicomDestination(
        kind="dicom", name=name, host="h", port=1, called_ae_title="P", objects=("sc", "pr"), picture=Picture(**look)
    )


DESTINATIONS = (
    archive(),
    archive("beside", layout="beside", longest_px=300, colours="colour_blind"),
    archive("grey", layout="grey", compression="none"),
)


def reading() -> Reading:
    ds = source(rows=500, columns=400)
    analysis = Analysis(result=result(ds, finding(box=BOX)), heats=(HEAT,))
    return Reading(source=ds, analysis=analysis, grey=GREY, window=Window(center=2048, width=4096))


def draw_strangely(panel: NDArray[np.uint8], grey: NDArray[np.uint8], heats: Any, kind: str) -> None:
    """Draw as a kernel of a GPU would: only in the role."""
    draw_heats(panel, grey, heats, kind)  # type: ignore[arg-type]
    panel[:5, :5] = 17


@pytest.fixture(scope="module")
def spool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("spool")


@pytest.fixture(scope="module")
def pool(spool: Path) -> Iterator[RenderPool]:
    made = RenderPool(1, DESTINATIONS, spool, draw_heats)
    yield made
    made.close()


@pytest.mark.parametrize("draw", [draw_heats, draw_strangely])
def test_process_renders_the_same_bytes_as_the_role(draw: Draw, pool: RenderPool, spool: Path, tmp_path: Path) -> None:
    here = RendersHere(Renderer(destinations=DESTINATIONS, put=FileSpool(tmp_path).put, draw=draw))
    expected = here.begin(reading()).result()
    pool._draw = draw
    rendered = pool.begin(reading()).result()
    pool._draw = draw_heats
    assert rendered == expected
    assert [o.refused for o in rendered.outgoing] == [None] * 6
    for digest in {rendered.thumbnail_digest, *(o.digest for o in rendered.outgoing)}:
        assert FileSpool(spool).get(digest) == FileSpool(tmp_path).get(digest)


def test_radiograph_without_pixels_is_rendered(pool: RenderPool) -> None:
    rendered = pool.begin(replace(reading(), grey=None, window=None)).result()
    assert rendered.thumbnail_digest == "" and rendered.outgoing[0].digest


def test_process_that_crashes_costs_its_radiograph_an_attempt(pool: RenderPool) -> None:
    (pid,) = pool.pids()
    os.kill(pid, signal.SIGSTOP)
    rendering = pool.begin(reading())
    assert not rendering.is_done()
    os.kill(pid, signal.SIGSEGV)
    os.kill(pid, signal.SIGCONT)
    with pytest.raises(OsteonError, match=r"the process that renders died \(SIGSEGV\)") as raised:
        rendering.result()
    assert type(raised.value) is OsteonError and raised.value.code == "rendering_died"
    assert pool.begin(reading()).result().outgoing[0].digest
    assert pool.pids() != [pid]


def test_process_that_hangs_is_replaced(pool: RenderPool, monkeypatch: pytest.MonkeyPatch) -> None:
    os.kill(pool.pids()[0], signal.SIGSTOP)
    monkeypatch.setattr(render_pool, "LONGEST_S", 0.1)
    with pytest.raises(OsteonError, match="not done after") as raised:
        pool.begin(reading()).result()
    assert not isinstance(raised.value, Transient)
    monkeypatch.undo()
    assert pool.begin(reading()).result().outgoing[0].digest


def test_hanging_process_has_its_time_from_the_begin(pool: RenderPool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    os.kill(pool.pids()[0], signal.SIGSTOP)
    rendering = pool.begin(reading())
    late = time.monotonic() + render_pool.LONGEST_S
    with monkeypatch.context() as patch:
        patch.setattr("appliance.service.render_pool.time.monotonic", lambda: late)
        patch.setattr(Connection, "poll", lambda _self, timeout: asked.append(timeout))
        with pytest.raises(OsteonError, match="not done after"):
            rendering.result()
    assert asked == [0.0]


def test_process_is_ended_before_the_role_when_memory_is_short(pool: RenderPool) -> None:
    pool.begin(reading()).result()  # it has set its limits by now
    (pid,) = pool.pids()
    assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "900"
    size_bytes = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
    limit_bytes, _ = resource.prlimit(pid, resource.RLIMIT_AS)
    assert abs(limit_bytes - size_bytes - render_pool.LIMIT_BYTES) < 2**30


def test_error_before_a_rendering_costs_no_process(pool: RenderPool, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", fail)
        for _ in range(pool.count + 1):
            with pytest.raises(OSError, match="no space"):
                pool.begin(reading())
    monkeypatch.setattr(pool, "_draw", fail)
    for _ in range(pool.count + 1):
        with pytest.raises(OSError, match="no space"):
            pool.begin(reading())
    monkeypatch.undo()
    assert pool.begin(reading()).result().outgoing[0].digest


def test_process_that_cannot_be_started_now_is_started_later(pool: RenderPool, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> NoReturn:
        raise OSError(errno.EAGAIN, "no process")

    with monkeypatch.context() as patch:
        patch.setattr("multiprocessing.context.SpawnProcess.start", fail)
        rendering = pool.begin(reading())
        os.kill(pool.pids()[0], signal.SIGKILL)
        with pytest.raises(Transient, match="rendering_died"):
            rendering.result()
        for _ in range(2):
            with pytest.raises(Transient, match="can be started: no process"):
                pool.begin(reading())
    assert pool.begin(reading()).result().outgoing[0].digest


def test_error_of_the_disk_reaches_the_role(pool: RenderPool, spool: Path) -> None:
    spool.rename(spool.with_name("away"))
    try:
        with pytest.raises(Transient, match="the spool cannot keep the file"):
            pool.begin(reading()).result()
    finally:
        spool.with_name("away").rename(spool)
    assert pool.begin(reading()).result().outgoing[0].digest


def test_process_ends_with_a_role_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from appliance.picture.heat import draw_heats\n"
        "from appliance.service.render_pool import RenderPool\n"
        "if __name__ == '__main__':\n"
        "    print(*RenderPool(1, (), Path(sys.argv[1]), draw_heats).pids(), flush=True)\n"
        "    time.sleep(600)\n"
    )
    script = tmp_path / "role.py"
    script.write_text(code)
    with subprocess.Popen([sys.executable, script, tmp_path], stdout=subprocess.PIPE, text=True) as role:
        assert role.stdout is not None
        pids = [int(pid) for pid in role.stdout.readline().split()]
        role.kill()
    assert len(pids) == 1
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), lambda: f"{pids} to end")


@pytest.mark.parametrize(("cores", "count"), [(1, 0), (2, 1), (3, 1), (5, 3), (16, 4)])
def test_count_of_processes_follows_the_cores(cores: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(cores)))
    assert process_count() == count


class Role:
    """An analyser whose radiographs are rendered in a pool, with its database and spool."""

    def __init__(self, folder: Path, pipeline: Pipeline, pool: RenderPool) -> None:
        self.engine = open_database(Configuration(state_dir=folder).database)
        set_phases(self.engine)
        self.spool = FileSpool(folder / "spool")
        self.reader, self.headers = SpoolReader(pipeline, self.spool), HeaderReader(CONFIG.analyse)
        backoff = Backoff(first_s=0.0, longest_s=0.0)
        self.queue = AnalysisQueue(self.engine, "me", most_attempts=3, backoff=backoff)
        notes = RejectionNotes(self.queue, self.spool, self.headers, Settling())
        self.told: list[str] = []
        self.analyser = Analyser(
            self.engine, self.queue, self.reader, pool, notes, settling=Settling(), notify=self.told.append
        )

    def keep(self, ds: Dataset) -> str:
        return keep(self.engine, self.spool, ds)

    def jobs(self) -> list[tuple[State, int]]:
        with self.engine.connect() as c:
            return [(State(row.state), row.attempts) for row in c.execute(select(analyses).order_by(analyses.c.id))]

    def answers(self) -> list[Row[Any]]:
        with self.engine.connect() as c:
            return list(c.execute(select(results).order_by(results.c.id)).all())

    def close(self) -> None:
        self.analyser.close()
        self.reader.close()
        self.headers.close()
        self.engine.dispose()


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return replace(pipeline_of(CONFIG), now=lambda: datetime(2026, 11, 25, tzinfo=UTC))


@pytest.fixture
def role(tmp_path: Path, pipeline: Pipeline, pool: RenderPool) -> Iterator[Role]:
    made = Role(tmp_path, pipeline, pool)
    yield made
    made.close()


def wrist(number: int) -> Dataset:
    return instance_from_phantom(phantom("wrist", number, True))


def test_next_radiograph_is_analysed_while_the_former_is_rendered(role: Role, pool: RenderPool) -> None:
    uids = [role.keep(wrist(number)) for number in (1, 2)]
    (pid,) = pool.pids()
    os.kill(pid, signal.SIGSTOP)
    analysed: list[str] = []
    analyse = role.reader.read

    def read(examined: Any) -> Reading:
        analysed.append(examined.header.sop_instance_uid)
        if len(analysed) == 2:
            assert role.jobs() == [(State.LEASED, 1), (State.LEASED, 1)] and role.answers() == []
            os.kill(pid, signal.SIGCONT)
        return analyse(examined)

    role.reader.read = read  # type: ignore[method-assign]
    while role.analyser.step():
        pass
    assert analysed == uids
    assert role.told == ["WATCHDOG=1"] * 4  # before each is read, and before the result of each
    assert [row.sop_instance_uid for row in role.answers()] == uids
    assert role.jobs() == [(State.DONE, 1), (State.DONE, 1)]
    with role.engine.connect() as c:
        rows = c.execute(select(deliveries.c.result_id, deliveries.c.digest)).all()
    assert len(rows) == 12 and all(digest for _, digest in rows)


def test_radiograph_whose_process_was_killed_is_answered_by_its_next_attempt(role: Role, pool: RenderPool) -> None:
    role.keep(wrist(1))
    (pid,) = pool.pids()
    os.kill(pid, signal.SIGSTOP)
    assert role.analyser.step()
    os.kill(pid, signal.SIGKILL)
    while role.analyser.step():
        pass
    assert role.jobs() == [(State.DONE, 1)]
    assert len(role.answers()) == 1


def test_newer_version_waits_for_the_result_of_the_former(role: Role) -> None:
    first, second = wrist(1), wrist(1)
    second.PatientID = "OTHER"
    role.keep(first)
    role.keep(second)
    while role.analyser.step():
        pass
    assert [Result.from_json(row.record).revision for row in role.answers()] == [1, 2]


def test_role_that_stops_gives_back_what_is_rendering(role: Role, pool: RenderPool) -> None:
    role.keep(wrist(1))
    (pid,) = pool.pids()
    os.kill(pid, signal.SIGSTOP)
    assert role.analyser.step()
    assert role.jobs() == [(State.LEASED, 1)]
    role.analyser.close()
    os.kill(pid, signal.SIGCONT)
    assert role.jobs() == [(State.QUEUED, 0)] and role.answers() == []
