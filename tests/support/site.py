"""One Osteon for a test: a folder, a configuration, and its roles as real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from sqlalchemy import func, select

from appliance.config import read_configuration
from appliance.domain.phase import Phase
from appliance.storage.database import open_database, readers
from appliance.storage.heartbeats import FAILED, STARTING
from appliance.storage.tables import analyses, deliveries, roles, studies
from tests.support.phases import set_phases_of
from tests.support.ports import free_ports
from tests.support.waiting import PATIENCE_S, wait_until


class Site:
    """One appliance in `folder`; a test starts, kills and stops its roles, which are processes.

    Every site is in `phase` before the first start of ``analyse``; with None it begins as a new box does.
    """

    def __init__(
        self,
        folder: Path,
        destinations: list[dict[str, Any]] | None = None,
        pack: str = "phantom",
        phase: Phase | None = Phase.LIVE,
    ) -> None:
        self.folder = folder
        self.port, self.page_port = free_ports(2)
        self.config = folder / "osteon.toml"
        lines = [
            f"state_dir = {json.dumps(str(folder / 'state'))}",
            f"receive.port = {self.port}",
            "receive.reserve_mb = 0",
            f"status.port = {self.page_port}",
            f"analyse.pack = {json.dumps(pack)}",
            "study.settle_s = 0",
        ]
        for destination in destinations or []:
            lines += ["[[destinations]]", *(f"{k} = {json.dumps(v)}" for k, v in destination.items())]
        self.config.write_text("\n".join(lines) + "\n")
        self.engine = open_database(f"sqlite:///{folder / 'state' / 'osteon.db'}")
        self._phase = phase
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for role in list(self._processes):
            self.stop(role)
        self.engine.dispose()

    def start(self, *names: str) -> None:
        """Start roles and wait for their heartbeats."""
        if "analyse" in names and self._phase is not None:
            set_phases_of(read_configuration(self.config), self.engine, self._phase)
            self._phase = None
        for name in names:
            command = [sys.executable, "-m", "appliance.service", name, "--config", str(self.config)]
            with (self.folder / f"{name}.log").open("ab") as log:
                self._processes[name] = subprocess.Popen(command, stderr=log)
        for name in names:
            self._wait_for_heartbeat(name)

    def _wait_for_heartbeat(self, name: str) -> None:
        process = self._processes[name]

        def beats() -> bool:
            assert process.poll() is None, f"{name} ended with {process.returncode}: {self.log(name)}"
            with readers(self.engine).connect() as c:
                works = (roles.c.role == name) & roles.c.detail.not_in([STARTING, FAILED])
                return c.execute(select(roles.c.pid).where(works)).scalar() == process.pid

        wait_until(beats, lambda: f"the first heartbeat of {name}: {self.log(name)}")

    def pid(self, name: str) -> int:
        """Return the process id of a role."""
        return self._processes[name].pid

    def kill(self, name: str) -> None:
        """End a role with SIGKILL."""
        process = self._processes.pop(name)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self, name: str) -> int:
        """End a role with SIGTERM; return its exit status."""
        process = self._processes.pop(name)
        process.terminate()
        try:
            return process.wait(PATIENCE_S)
        finally:
            process.kill()  # has no effect on a process that ended

    def log(self, name: str) -> str:
        """Return the log lines that a role has written so far."""
        path = self.folder / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def counts(self, table: str) -> dict[str, int]:
        """Count the jobs of ``analyses``, ``studies`` or ``deliveries`` by state."""
        t = {"analyses": analyses, "studies": studies, "deliveries": deliveries}[table]
        with readers(self.engine).connect() as c:
            return dict(c.execute(select(t.c.state, func.count()).group_by(t.c.state)).tuples().all())

    def wait_for(self, table: str, **counts: int) -> None:
        """Wait until the jobs of `table` have exactly these counts by state."""
        wait_until(lambda: self.counts(table) == counts, lambda: f"{table} to be {counts}, not {self.counts(table)}")

    def rows(self, table: str) -> list[Any]:
        """Return every row of ``analyses``, ``studies`` or ``deliveries``, oldest first."""
        t = {"analyses": analyses, "studies": studies, "deliveries": deliveries}[table]
        with readers(self.engine).connect() as c:
            return list(c.execute(select(t).order_by(t.c.id)).all())
