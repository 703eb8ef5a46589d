"""Supervisor of the four roles on a developer's machine: restarts a role that ends, as systemd does in a hospital."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Self

from appliance.config import read_configuration
from appliance.domain.roles import ROLES

from .parent import STOP_S
from .role_lock import role_lock

RESTART_S = 1.0
"""Pause before a role that ended is started again."""

WATCH_S = 0.5
"""Interval at which `run_all` looks at the roles."""

log = logging.getLogger(__name__)


class Supervisor:
    """Child processes, one for each role; a context manager that starts and stops them.

    The standard input of a child is a pipe from this process: the child ends when this process does.

    Parameters
    ----------
    config
        Path of the configuration file that each role reads itself; None for the defaults.
    logs
        Folder for one log file of each role; None: they write to the standard error of this process.
    """

    def __init__(self, config: Path | None, logs: Path | None = None) -> None:
        self._logs = logs
        self._arguments = ["--config", str(config)] if config else []
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._restart_at: dict[str, float] = {}

    def __enter__(self) -> Self:
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
            _close_pipe(child)

    def pid(self, role: str) -> int:
        """Return the current process id of a role."""
        return self._children[role].pid

    def watch(self) -> None:
        """Restart each role that ended at least `RESTART_S` ago; call it every second or so."""
        for role, child in self._children.items():
            if child.poll() is None:
                continue
            due = self._restart_at.setdefault(role, time.monotonic() + RESTART_S)
            if time.monotonic() >= due:
                log.error("%s ended with %s and is started again", role, child.returncode)
                del self._restart_at[role]
                _close_pipe(child)
                self._start(role)

    def _start(self, role: str) -> None:
        command = [sys.executable, "-m", "appliance.service", role, "--supervised", *self._arguments]
        if self._logs is None:
            self._children[role] = subprocess.Popen(command, stdin=subprocess.PIPE)
            return
        self._logs.mkdir(parents=True, exist_ok=True)
        with (self._logs / f"{role}.log").open("ab") as log_file:
            self._children[role] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log_file, stderr=log_file)


def _close_pipe(child: subprocess.Popen[bytes]) -> None:
    if child.stdin:
        child.stdin.close()


def run_all(config: Path | None) -> None:
    """Run the four roles until SIGTERM or SIGINT.

    Raises
    ------
    ConfigurationError
        If the roles could not read the configuration.
    Fault
        ``role_runs_already`` if one of them runs on the same state.
    """
    settings = read_configuration(config)
    for role in ROLES:
        with role_lock(settings, role):
            pass  # each role takes its own when it starts
    stopping = False

    def request_stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, request_stop)
    with Supervisor(config) as supervisor:
        while not stopping:
            supervisor.watch()
            time.sleep(WATCH_S)
