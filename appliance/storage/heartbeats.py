"""The heartbeats of the roles, for the status page.

Machines that share a PostgreSQL database have rows of their own, by host name: each page shows its own machine.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, select, update

from appliance.clock import Reading, read_clocks

from .clock_steps import lock_heartbeats, notice_step
from .database import upsert
from .tables import roles

STOPPED = "stopped"
"""Detail of a role that stopped in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """The newest heartbeat of a role on this machine.

    Attributes
    ----------
    beat
        Both clocks at the heartbeat.
    detail
        The state of the role in a sentence.
    has_stopped
        Whether the role stopped in order.
    """

    role: str
    started_at: datetime
    beat: Reading
    detail: str

    @property
    def has_stopped(self) -> bool:
        return self.detail == STOPPED


def record_heartbeat(engine: Engine, role: str, started_at: datetime, detail: str) -> None:
    """Record that `role` is alive, with its state in a sentence; notice a step of the clock since the last record."""
    host = socket.gethostname()
    with engine.begin() as c:
        lock_heartbeats(c, host)
        clocks = read_clocks()  # only now: another role may have beaten while this one waited
        notice_step(c, clocks, host)
        row = {
            "host": host,
            "role": role,
            "pid": os.getpid(),
            "started_at": started_at,
            "beat_at": clocks.at,
            "boot_id": clocks.boot_id,
            "uptime_s": clocks.uptime_s,
            "detail": detail,
        }
        upsert(c, roles, row, key=("host", "role"), on_conflict=row)


def record_stop(engine: Engine, role: str) -> None:
    """Record that a role of this machine stopped in order, so that the status page does not miss it."""
    is_own = (roles.c.host == socket.gethostname()) & (roles.c.role == role)
    with engine.begin() as c:
        c.execute(update(roles).where(is_own).values(detail=STOPPED))


def heartbeats(c: Connection) -> dict[str, Heartbeat]:
    """Return the newest heartbeat of each role on this machine."""
    return {
        row.role: Heartbeat(
            role=row.role,
            started_at=row.started_at,
            beat=Reading(at=row.beat_at, boot_id=row.boot_id, uptime_s=row.uptime_s),
            detail=row.detail,
        )
        for row in c.execute(select(roles).where(roles.c.host == socket.gethostname()))
    }
