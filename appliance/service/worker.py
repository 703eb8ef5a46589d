"""The loop that every role runs, and feeds the watchdog: a role that hangs is restarted.

The `analyser`, a step of which may wait for several processes, feeds it before each wait, too.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from appliance.clock import now
from appliance.domain.reason import ReasonCode
from appliance.errors import Fault, Transient
from appliance.storage.database import database_file, defect
from appliance.storage.heartbeats import record_heartbeat, record_role_failure, record_stop
from appliance.storage.wakeups import Bell

from .configuration_watch import ConfigurationWatch
from .systemd_notify import notifier

BEAT_S = 3.0
"""Interval of a role's heartbeats, which the status page reads."""

PAUSE_S = 2.0
"""Pause after an error of the database."""

NO_FAILURE = frozenset({ReasonCode.DATABASE_UNUSABLE, ReasonCode.GPU_USABLE})
"""Codes of a fault after which no failure of the role is recorded."""

log = logging.getLogger(__name__)


def owner(role: str) -> str:
    """Name this process as the holder of leases: role, host and process id."""
    return f"{role}@{socket.gethostname()}:{os.getpid()}"


class Role(Protocol):
    """One of the four processes."""

    name: str
    bell: Bell

    def step(self) -> bool:
        """Do one piece of work; return False if there was none."""
        ...

    @property
    def rest_s(self) -> float:
        """Seconds until work is due that waits for its time; infinite if none does."""
        ...

    def detail(self) -> str:
        """Describe the state of the role in one sentence without patients' data."""
        ...

    def close(self) -> None:
        """Free ports, processes and threads."""
        ...


@contextmanager
def failure_recorded(engine: Engine, role: str) -> Iterator[None]:
    """Record the reason of an error for the status page; the error goes on and ends the process."""
    try:
        yield
    except Exception as error:
        reason = error.reason if isinstance(error, Fault) else f"{type(error).__name__}: see its log"
        # nothing is written into a database that cannot be used, and a restart on purpose is no failure
        if not (isinstance(error, Fault) and error.code in NO_FAILURE):
            with contextlib.suppress(SQLAlchemyError):
                record_role_failure(engine, role, reason)
        raise


def run_until_stopped(role: Role, engine: Engine, watch: ConfigurationWatch) -> None:
    """Run `role` until SIGTERM or SIGINT; a `Fault` is not caught and ends the process."""
    stop = threading.Event()

    def request_stop(_signal: int, _frame: FrameType | None) -> None:
        stop.set()
        role.bell.ring()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, request_stop)
    notify = notifier()
    notify("READY=1")
    log.info("%s: %s", role.name, role.detail())
    try:
        with failure_recorded(engine, role.name):
            _work(role, engine, watch, stop, notify)
        notify("STOPPING=1")
        with contextlib.suppress(SQLAlchemyError):
            record_stop(engine, role.name)
    finally:
        role.close()


def _work(
    role: Role,
    engine: Engine,
    watch: ConfigurationWatch,
    stop: threading.Event,
    notify: Callable[[str], object],
) -> None:
    """Step until `stop`, with a heartbeat every `BEAT_S`."""
    started_at, opened = now(), database_file(engine)
    last_beat = -math.inf

    def beat() -> None:
        nonlocal last_beat
        last_beat = time.monotonic()
        notify(f"STATUS={role.detail()}")
        record_heartbeat(engine, role.name, started_at, role.detail(), watch.state())

    while not stop.is_set():
        notify("WATCHDOG=1")
        rings = role.bell.rings
        if database_file(engine) != opened:
            reason = "the file of the database was removed, emptied or replaced: the role starts again with that"
            raise Fault(ReasonCode.DATABASE_UNUSABLE, reason)
        try:
            if last_beat == -math.inf:  # the first step may take long, and the role listens already
                beat()
            busy = role.step()
            if time.monotonic() - last_beat >= BEAT_S:
                beat()
        except (SQLAlchemyError, Transient) as error:
            # the database is busy, full or restarting: no work is lost, and the missing heartbeat shows on the page
            why = defect(error) if isinstance(error, SQLAlchemyError) else type(error).__name__
            log.error("%s cannot work now: %s", role.name, why)
            stop.wait(PAUSE_S)
        else:
            if not busy:
                role.bell.wait(rings, role.rest_s)
