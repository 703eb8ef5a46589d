"""Trials of one box, with the pack of phantoms, and a look for all that they must not leave."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Engine, func, select, update

from appliance.analysis.pipeline import Pipeline
from appliance.clock import now
from appliance.config import Analyse, Configuration
from appliance.picture.heat import draw_heats
from appliance.service.examined_instance import Examined
from appliance.service.instance_reader import Reader
from appliance.service.reading import Reading
from appliance.service.trials import Trials
from appliance.status.metrics import OsteonCollector
from appliance.storage.database import open_database
from appliance.storage.tables import analyses, deliveries, instances, results, studies, study_results, trials
from appliance.storage.trials import Trial, TrialQueue, TrialStore

RULES = Analyse(pack="phantom", compute="cpu")
TABLES = (instances, analyses, results, studies, study_results, deliveries)
"""Everything that a radiograph leaves."""


class Bench:
    """Trials with their database and folder; `read` may be replaced."""

    def __init__(self, folder: Path, pipeline: Pipeline) -> None:
        self.folder = folder / "trials"
        self.config = Configuration(state_dir=folder, analyse=RULES)
        self.engine: Engine = open_database(self.config.database)
        self.store = TrialStore(self.engine, self.config.trials_dir)
        self.queue = TrialQueue(self.engine, "me")
        self.woken = threading.Event()
        reader = Reader.__new__(Reader)  # of the reader only the half without child processes
        reader._pipeline = pipeline
        self.read: Callable[[Examined], Reading] = reader.read
        self.trials = self.restarted()

    def restarted(self) -> Trials:
        self.queue.release()
        return Trials(
            self.queue,
            self.store,
            lambda examined: self.read(examined),  # noqa: PLW0108  a test may replace it
            rules=RULES,
            draw=draw_heats,
            wake=self.woken.set,
        )

    def add(self, content: bytes, name: str = "one") -> None:
        file = self.store.incoming()
        file.write(content)
        self.store.add(name, file.keep())

    def run(self) -> None:
        """Step until nothing is due."""
        while self.trials.step() or self.trials._begun:
            if self.trials._begun:
                assert self.woken.wait(60)
                self.woken.clear()

    def trial(self, name: str = "one") -> Trial:
        found = self.store.find(name)
        assert found is not None
        return found

    @property
    def files(self) -> set[str]:
        return {path.name for path in self.folder.rglob("*") if path.is_file()}

    def age(self, seconds: float) -> None:
        """Let rows and files be older."""
        with self.engine.begin() as c:
            c.execute(update(trials).values(created_at=now() - timedelta(seconds=seconds)))
        for path in self.folder.rglob("*"):
            if path.is_file():
                os.utime(path, (time.time() - seconds,) * 2)

    def figures(self) -> str:
        metrics = OsteonCollector(self.engine, self.config, "no pack", "1").collect()
        return "\n".join(str(m) for m in metrics if "disk" not in m.name and "role" not in m.name)

    def assert_no_trace(self) -> None:
        with self.engine.connect() as c:
            assert {t.name: c.execute(select(func.count()).select_from(t)).scalar() for t in TABLES} == {
                t.name: 0 for t in TABLES
            }
        assert not (self.config.spool_dir.exists())
