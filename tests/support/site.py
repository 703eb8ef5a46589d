"""A running Osteon for tests: a folder, a configuration, and real processes or single roles."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from appliance.storage.database import open_database, readers
from appliance.storage.tables import analyses, deliveries, roles, studies

PATIENCE_S = 60.0


def free_ports(number: int) -> list[int]:
    """TCP ports on loopback that were free a moment ago, all different."""
    sockets = [socket.socket() for _ in range(number)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [int(s.getsockname()[1]) for s in sockets]
    for s in sockets:
        s.close()
    return ports


def wait_until(condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Poll until `condition` holds."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {patience_s:.0f} s for: {what}"
        time.sleep(0.02)


class Site:
    """One appliance in `folder`; its roles are processes that a test starts, kills and stops."""

    def __init__(self, folder: Path, destinations: list[dict[str, Any]] | None = None, pack: str = "phantom") -> None:
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
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        for role in list(self._processes):
            self.stop(role)
        self.engine.dispose()

    def start(self, *names: str) -> None:
        """Start roles and wait for their heartbeats."""
        for name in names:
            command = [sys.executable, "-m", "appliance.service", name, "--config", str(self.config)]
            with (self.folder / f"{name}.log").open("ab") as log:
                self._processes[name] = subprocess.Popen(command, stderr=log)
        for name in names:
            wait_until(lambda name=name: self._is_up(name), f"{name} to be up: {self.log(name)}")

    def _is_up(self, name: str) -> bool:
        process = self._processes[name]
        assert process.poll() is None, f"{name} ended with {process.returncode}: {self.log(name)}"
        with readers(self.engine).connect() as c:
            return c.execute(select(roles.c.pid).where(roles.c.role == name)).scalar() == process.pid

    def kill(self, name: str) -> None:
        """kill -9."""
        process = self._processes.pop(name)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self, name: str) -> int:
        """SIGTERM; the exit status."""
        process = self._processes.pop(name)
        process.terminate()
        return process.wait(20)

    def log(self, name: str) -> str:
        """What the role said so far."""
        path = self.folder / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def counts(self, table: str) -> dict[str, int]:
        """Jobs by state, of ``analyses``, ``studies`` or ``deliveries``."""
        t = {"analyses": analyses, "studies": studies, "deliveries": deliveries}[table]
        with readers(self.engine).connect() as c:
            return dict(c.execute(select(t.c.state, func.count()).group_by(t.c.state)).tuples().all())

    def wait_for(self, table: str, **counts: int) -> None:
        """Until the jobs of `table` are exactly so many by state."""
        wait_until(lambda: self.counts(table) == counts, f"{table} to be {counts}, not {self.counts(table)}")

    def rows(self, table: str) -> list[Any]:
        """Every row of ``analyses``, ``studies`` or ``deliveries``, oldest first."""
        t = {"analyses": analyses, "studies": studies, "deliveries": deliveries}[table]
        with readers(self.engine).connect() as c:
            return list(c.execute(select(t).order_by(t.c.id)).all())
