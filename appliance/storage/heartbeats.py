"""The heartbeats of the roles, for the status page."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, select, update

from appliance.clock import Reading, read_clocks

from .clock_steps import notice_step
from .database import upsert
from .tables import roles

STOPPED = "stopped"
"""Detail of a role that stopped in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """The newest heartbeat of a role.

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
    with engine.begin() as c:
        clocks = read_clocks()
        notice_step(c, clocks)
        row = {
            "role": role,
            "pid": os.getpid(),
            "started_at": started_at,
            "beat_at": clocks.at,
            "boot_id": clocks.boot_id,
            "uptime_s": clocks.uptime_s,
            "detail": detail,
        }
        upsert(c, roles, row, key=("role",), on_conflict=row)


def record_stop(engine: Engine, role: str) -> None:
    """Record that a role stopped in order, so that the status page does not miss it."""
    with engine.begin() as c:
        c.execute(update(roles).where(roles.c.role == role).values(detail=STOPPED))


def heartbeats(c: Connection) -> dict[str, Heartbeat]:
    """Return the newest heartbeat of each role."""
    return {
        row.role: Heartbeat(
            role=row.role,
            started_at=row.started_at,
            beat=Reading(at=row.beat_at, boot_id=row.boot_id, uptime_s=row.uptime_s),
            detail=row.detail,
        )
        for row in c.execute(select(roles))
    }
