"""The four roles as four processes on a desk, restarted when they die: what systemd does in a hospital."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from appliance.service.roles.start import ROLES

RESTART_S = 1.0
STOP_S = 15.0

log = logging.getLogger(__name__)


class Supervisor:
    """Children by role name.

    Parameters
    ----------
    config
        Path of the configuration file that each role reads for itself; None for the defaults.
    logs
        Folder for a log of each role; None: they share our standard error.
    """

    def __init__(self, config: Path | None, logs: Path | None = None) -> None:
        self._logs = logs
        self._arguments = ["--config", str(config)] if config else []
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._restart_at: dict[str, float] = {}

    def __enter__(self) -> Supervisor:
        for role in ROLES:
            self._start(role)
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children.values():
            child.terminate()
        deadline = time.monotonic() + STOP_S
        for role, child in self._children.items():
            try:
                child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.error("%s did not stop in %.0f s and is killed", role, STOP_S)
                child.kill()
                child.wait()

    def pid(self, role: str) -> int:
        """Process id of a role, as of now."""
        return self._children[role].pid

    def watch(self) -> None:
        """Restart what died; call it every second or so."""
        for role, child in self._children.items():
            if child.poll() is None:
                continue
            due = self._restart_at.setdefault(role, time.monotonic() + RESTART_S)
            if time.monotonic() >= due:
                log.error("%s ended with %s and is started again", role, child.returncode)
                del self._restart_at[role]
                self._start(role)

    def _start(self, role: str) -> None:
        command = [sys.executable, "-m", "appliance.service", role, *self._arguments]
        if self._logs is None:
            self._children[role] = subprocess.Popen(command)
            return
        self._logs.mkdir(parents=True, exist_ok=True)
        with (self._logs / f"{role}.log").open("ab") as log_file:
            self._children[role] = subprocess.Popen(command, stdout=log_file, stderr=log_file)


def run_all(config: Path | None) -> None:
    """Run the four roles until SIGTERM or SIGINT."""
    stopping = False

    def asked_to_stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, asked_to_stop)
    with Supervisor(config) as supervisor:
        while not stopping:
            supervisor.watch()
            time.sleep(0.5)
