"""The gate before every destination: while it is shut, nothing leaves, however long the queue is.

The courier (`appliance.service.courier`) is the only code that connects to destinations. It asks here before each
connection and before each artefact.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, Engine, bindparam, delete, select

from appliance.clock import local_minute, now
from appliance.domain.audit import AuditAction, Intervention
from appliance.domain.reason import ReasonCode
from appliance.errors import Rejected

from .audit import record
from .database import readers, upsert
from .tables import holds
from .wakeups import wake_after_commit

EVERY = "*"
"""Name that stands for every destination."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A hold on one destination, or on `EVERY`: since when nothing leaves, and the reason."""

    destination: str
    reason: str
    since: datetime


def release_command(destination: str) -> str:
    """Return the command that lifts the hold of that name."""
    return "osteon queue release" + ("" if destination == EVERY else f" --to {shlex.quote(destination)}")


_SHUTS: Final = select(holds.c.destination).where(holds.c.destination.in_([EVERY, bindparam("destination")])).limit(1)


class Gate:
    """The holds on destinations; a destination without a hold is open."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def holds(self) -> list[Hold]:
        """Return every hold, by name of the destination."""
        with readers(self._engine).connect() as c:
            rows = c.execute(select(holds).order_by(holds.c.destination)).all()
        return [Hold(destination=r.destination, reason=r.reason, since=r.since) for r in rows]

    def is_shut(self, destination: str) -> bool:
        """Return whether nothing may leave for `destination`."""
        with readers(self._engine).connect() as c:
            return c.execute(_SHUTS, {"destination": destination}).first() is not None

    def shut(self, destination: str, by: Intervention) -> None:
        """Let nothing leave for `destination`, or for `EVERY`, for a person; an artefact on the wire still ends.

        Raises
        ------
        Rejected
            ``held_already``: the release of two holds in one would lift both.
        """
        with self._engine.begin() as c:
            if (standing := _hold(c, destination)) is not None:
                name = "every destination" if destination == EVERY else destination
                reason = f"{name} is held since {local_minute(standing.since)}: {standing.reason}"
                raise Rejected(ReasonCode.HELD_ALREADY, reason)
            shut(c, destination, by.reason)
            record(c, by, AuditAction.HOLD, f"destination {destination}")

    def open(self, destination: str, by: Intervention, since: datetime | None = None) -> bool:
        """Lift the hold of exactly that name, for a person; return False if there was none.

        Parameters
        ----------
        since
            Beginning of the hold that the person saw; None for the command line, which shows none.

        Raises
        ------
        Rejected
            ``hold_changed`` if the hold began at another time.
        """
        with self._engine.begin() as c:
            standing = _hold(c, destination)
            if standing is None:
                return False
            if since not in (None, standing.since):
                reason = f"another hold was set at {local_minute(standing.since)}: {standing.reason}"
                raise Rejected(ReasonCode.HOLD_CHANGED, reason)
            wake_after_commit(c, holds)
            c.execute(delete(holds).where(holds.c.destination == destination))
            record(c, by, AuditAction.RELEASE, f"destination {destination}", f"held: {standing.reason}")
        return True


def _hold(c: Connection, destination: str) -> Hold | None:
    row = c.execute(select(holds).where(holds.c.destination == destination)).first()
    return Hold(destination=row.destination, reason=row.reason, since=row.since) if row else None


def shut(c: Connection, destination: str, reason: str) -> None:
    """Let nothing leave for `destination`, or for `EVERY`; the reason of a hold that stands is kept behind `reason`."""
    standing = _hold(c, destination)
    words = f"{reason}; before that: {standing.reason}" if standing else reason
    values = {"destination": destination, "reason": words, "since": now()}
    upsert(c, holds, values, key=("destination",), on_conflict=values)
