"""The loop that every role runs, and the only place that feeds the watchdog: a role that hangs is restarted."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from types import FrameType
from typing import Protocol

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from appliance.storage.database import now
from appliance.storage.ledger import beat, forget_role

from .notify import notifier

BEAT_S = 3.0
"""How often the status page hears of a role."""

POLL_S = 0.1
"""How long an idle role sleeps: a radiograph waits this much at most before it is looked at."""

log = logging.getLogger(__name__)


def owner(role: str) -> str:
    """Who leases: role, host and process."""
    return f"{role}@{socket.gethostname()}:{os.getpid()}"


class Role(Protocol):
    """One of the four processes."""

    name: str
    idle_s: float

    def step(self) -> bool:
        """Do one piece of work; False if there was none."""
        ...

    def detail(self) -> str:
        """How the role is doing, in a sentence without patients' data."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


def run(role: Role, engine: Engine) -> None:
    """Run `role` until SIGTERM or SIGINT; a `Fault` goes through and ends the process."""
    stop = threading.Event()

    def asked_to_stop(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, asked_to_stop)
    notify, started_at, last_beat = notifier(), now(), 0.0
    notify("READY=1")
    log.info("%s: %s", role.name, role.detail())
    try:
        while not stop.is_set():
            busy = role.step()
            notify("WATCHDOG=1")
            moment = now()
            if moment.timestamp() - last_beat >= BEAT_S:
                last_beat = moment.timestamp()
                notify(f"STATUS={role.detail()}")
                try:
                    beat(engine, role.name, started_at, role.detail())
                except OperationalError as error:
                    log.warning("%s cannot write its heartbeat: %s", role.name, type(error.orig).__name__)
            if not busy:
                stop.wait(role.idle_s)
        notify("STOPPING=1")
        forget_role(engine, role.name)
    finally:
        role.close()
