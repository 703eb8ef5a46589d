"""Steps of the wall clock: noticed with the heartbeats of the roles, kept for the status page.

A step back would hold up every job that waits, since its time is by then further away than it was meant to be. So
waiting times and leases are moved back with the clock. A step forward only shortens a wait.

Machines that share a database have clocks of their own: each compares its clock with its own heartbeats.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Float, Row, insert, select, type_coerce, update

from appliance.clock import Reading

from .tables import analyses, clock_steps, deliveries, destinations, roles, studies

LEAST_STEP_S = 10.0
"""A step of less delays a job by no more than that, and needs no person."""

_ENDS_OF_WAITS: Final = (
    *(column for table in (analyses, studies, deliveries) for column in (table.c.not_before, table.c.lease_until)),
    deliveries.c.refused_since,
    destinations.c.paused_until,
)

RECENT_S = 24 * 3600.0
"""A step is reported, and held against the ages of files, for a day."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockStep:
    """A step of the wall clock: by how many seconds, negative if back, and the time that it showed afterwards."""

    step_s: float
    at: datetime


def lock_heartbeats(c: Connection, host: str) -> None:
    """Let one role of `host` at a time notice a step, so that two do not both move the waits.

    The next statement of the role that waited sees the heartbeat of the other (PostgreSQL, section 13.2.1). SQLite has
    one writer anyway.
    """
    c.execute(select(roles.c.role).where(roles.c.host == host).order_by(roles.c.role).with_for_update()).all()


def notice_step(c: Connection, clocks: Reading, host: str) -> None:
    """Compare the clocks with the newest heartbeat of `host`; after a step record it and move waits back with it."""
    step_s = _step_since_newest_heartbeat(c, clocks, host)
    if abs(step_s) < LEAST_STEP_S:
        return
    log.warning("the clock of this machine was set %s by %.0f s", "on" if step_s > 0 else "back", abs(step_s))
    row = {"step_s": step_s, "at": clocks.at, "boot_id": clocks.boot_id, "uptime_s": clocks.uptime_s}
    c.execute(insert(clock_steps).values(**row))
    if step_s < 0:
        for end in _ENDS_OF_WAITS:
            moved = {end.name: type_coerce(end, Float) + step_s}
            c.execute(update(end.table).where(end > clocks.at).values(moved))


def recent_step(c: Connection, clocks: Reading) -> ClockStep | None:
    """Return the newest step in the last `RECENT_S` of this boot; None if there was none."""
    s = clock_steps.c
    recent = (s.boot_id == clocks.boot_id) & (s.uptime_s >= clocks.uptime_s - RECENT_S)
    row = c.execute(select(clock_steps).where(recent).order_by(s.id.desc()).limit(1)).first()
    return ClockStep(step_s=row.step_s, at=row.at) if row else None


def was_set_back_since(c: Connection, moment: datetime) -> bool:
    """Return whether the wall clock may have been set back since it showed `moment`, as far as steps are recorded.

    The clock showed no more than ``at - step_s`` just before a step; smaller steps are not recorded.
    """
    s = clock_steps.c
    before = type_coerce(s.at, Float) - s.step_s + LEAST_STEP_S
    steps = select(s.id).where(s.step_s < 0, before >= moment.timestamp())
    return c.execute(steps.limit(1)).first() is not None


def _step_since_newest_heartbeat(c: Connection, clocks: Reading, host: str) -> float:
    beats = [_reading(row) for row in c.execute(select(roles).where(roles.c.host == host))]
    of_this_boot = [beat for beat in beats if beat.boot_id == clocks.boot_id]
    if of_this_boot:
        return max(of_this_boot, key=lambda beat: beat.uptime_s).step_s(clocks)
    return max(beats, key=lambda beat: beat.at).step_s(clocks) if beats else 0.0


def _reading(row: Row[Any]) -> Reading:
    return Reading(at=row.beat_at, boot_id=row.boot_id, uptime_s=row.uptime_s)
