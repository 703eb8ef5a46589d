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

from appliance.clock import now
from appliance.domain.audit import AuditAction, Intervention

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
        """Let nothing leave for `destination`, or for `EVERY`, for a person; an artefact on the wire still ends."""
        with self._engine.begin() as c:
            shut(c, destination, by.reason)
            record(c, by, AuditAction.HOLD, f"destination {destination}")

    def open(self, destination: str, by: Intervention) -> bool:
        """Lift the hold of exactly that name, for a person; return False if there was none."""
        with self._engine.begin() as c:
            wake_after_commit(c, holds)
            is_lifted = c.execute(delete(holds).where(holds.c.destination == destination)).rowcount > 0
            if is_lifted:
                record(c, by, AuditAction.RELEASE, f"destination {destination}")
        return is_lifted


def shut(c: Connection, destination: str, reason: str) -> None:
    """Let nothing leave for `destination`, or for `EVERY`."""
    values = {"destination": destination, "reason": reason, "since": now()}
    upsert(c, holds, values, key=("destination",), on_conflict=values)
