"""The heartbeats of the roles, for the status page.

Machines that share a PostgreSQL database have rows of their own, by host name: each page shows its own machine.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, select, update

from appliance.clock import Reading, now, read_clocks
from appliance.domain.roles import ConfigurationState

from .clock_steps import lock_heartbeats, notice_step
from .database import upsert
from .tables import roles

STOPPED = "stopped"
"""Detail of a role that stopped in order."""

STARTING = "starting"
"""Detail of a role that loads its libraries, ports and engines."""

FAILED = "failed"
"""Detail of a role that a fault ended."""

STEADY = timedelta(minutes=10)
"""A role that worked for this long has started well: the next start is the first of a new count."""


SAME_BOOT_S = 2.0
"""Two readings whose boots began within this time are of one boot: a restart of a machine takes longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """The newest heartbeat of a role on this machine.

    Attributes
    ----------
    beat
        Both clocks at the heartbeat.
    detail
        The state of the role in a sentence.
    starts
        Starts in a row without `STEADY` work between them.
    failure
        Reason why the start before, or this one, ended; empty if it ended in order or the role has worked since.
    configuration
        The configuration file, compared with that of the role's start.
    """

    role: str
    started_at: datetime
    beat: Reading
    detail: str
    starts: int = 1
    failure: str = ""
    configuration: ConfigurationState = ConfigurationState.CURRENT

    @property
    def has_stopped(self) -> bool:
        """Whether the role stopped in order."""
        return self.detail == STOPPED

    @property
    def is_starting(self) -> bool:
        """Whether the role has begun and does not work yet."""
        return self.detail == STARTING

    @property
    def is_working(self) -> bool:
        """Whether the role had started, and had not ended, at its newest heartbeat."""
        return self.detail not in {STARTING, FAILED, STOPPED}

    @property
    def has_failed(self) -> bool:
        """Whether a fault ended the role."""
        return self.detail == FAILED


def record_heartbeat(
    engine: Engine,
    role: str,
    started_at: datetime,
    detail: str,
    configuration: ConfigurationState = ConfigurationState.CURRENT,
) -> None:
    """Record that `role` is alive, with its state in a sentence; notice a step of the clock since the last record."""
    columns: dict[str, Any] = {"started_at": started_at, "detail": detail, "configuration": configuration}
    if now() - started_at >= STEADY:
        columns |= {"starts": 1, "failure": ""}
    with engine.begin() as c:
        _write(c, role, columns)


def record_start(engine: Engine, role: str) -> None:
    """Record that `role` starts, and how often it did so lately without working for `STEADY`."""
    with engine.begin() as c:
        before = c.execute(select(roles).where(_is_own(role))).first()
        counts_on = before is not None and before.detail != STOPPED and before.beat_at - before.started_at < STEADY
        starts, failure = (before.starts + 1, before.failure) if before is not None and counts_on else (1, "")
        _write(c, role, {"started_at": now(), "detail": STARTING, "starts": starts, "failure": failure})


def _write(c: Connection, role: str, columns: dict[str, Any]) -> None:
    """Write the row of a role with both clocks; notice a step of the wall clock."""
    host = socket.gethostname()
    lock_heartbeats(c, host)
    clocks = read_clocks()  # only now: another role may have beaten while this one waited
    notice_step(c, clocks, host)
    row = columns | {
        "host": host,
        "role": role,
        "pid": os.getpid(),
        "beat_at": clocks.at,
        "boot_id": clocks.boot_id,
        "uptime_s": clocks.uptime_s,
    }
    upsert(c, roles, row, key=("host", "role"), on_conflict=row)


def record_role_failure(engine: Engine, role: str, reason: str) -> None:
    """Record that a fault ended a role of this machine, with its reason."""
    with engine.begin() as c:
        c.execute(update(roles).where(_is_own(role)).values(detail=FAILED, failure=reason))


def record_stop(engine: Engine, role: str) -> None:
    """Record that a role of this machine stopped in order, so that the status page does not miss it."""
    with engine.begin() as c:
        c.execute(update(roles).where(_is_own(role)).values(detail=STOPPED, starts=1, failure=""))


def _is_own(role: str) -> ColumnElement[bool]:
    return (roles.c.host == socket.gethostname()) & (roles.c.role == role)


def heartbeats(c: Connection) -> dict[str, Heartbeat]:
    """Return the newest heartbeat of each role on this machine."""
    return {
        row.role: Heartbeat(
            role=row.role,
            started_at=row.started_at,
            beat=Reading(at=row.beat_at, boot_id=row.boot_id, uptime_s=row.uptime_s),
            detail=row.detail,
            starts=row.starts,
            failure=row.failure,
            configuration=row.configuration,
        )
        for row in c.execute(select(roles).where(roles.c.host == socket.gethostname()))
    }


def as_roles_see(clocks: Reading, beats: Iterable[Heartbeat]) -> Reading:
    """Return `clocks` with the boot's name that the roles of this machine read.

    systemd-nspawn and LXC mount a boot_id of their own over the kernel's. A role whose unit has its own /proc reads the
    kernel's, and a command in the same container does not. Both read the same clocks, by which the boot began at the
    same time.

    References
    ----------
    systemd.exec(5), ProtectProc; src/nspawn/nspawn.c, setup_boot_id.
    """
    readings = [one.beat for one in beats]
    if any(beat.boot_id == clocks.boot_id for beat in readings):
        return clocks
    # a clock without a battery begins each boot at the same time: the newest heartbeat is of this one
    of_this_boot = [
        beat
        for beat in readings
        if abs(_boot_s(beat) - _boot_s(clocks)) <= SAME_BOOT_S and beat.uptime_s <= clocks.uptime_s
    ]
    newest = max(of_this_boot, key=lambda beat: beat.at, default=clocks)
    return replace(clocks, boot_id=newest.boot_id)


def _boot_s(clocks: Reading) -> float:
    """Return the time of the boot, in seconds of the wall clock since 1970."""
    return clocks.at.timestamp() - clocks.uptime_s
