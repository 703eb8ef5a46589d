"""The one gate through which results leave: shut for one destination or for all, it holds whatever the queue says.

The outbox (`appliance.service.courier`) is the only code that opens a connection with results, and it asks here
before each of them and before each artefact.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from appliance.clock import now

from .database import readers
from .tables import holds

EVERY = "*"
"""Stands for every destination."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Why nothing leaves for a destination, and since when."""

    destination: str
    reason: str
    since: datetime


class Gate:
    """Open until somebody shuts it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def holds(self) -> list[Hold]:
        """Everything that is held."""
        with readers(self._engine).connect() as c:
            rows = c.execute(select(holds).order_by(holds.c.destination)).all()
        return [Hold(destination=r.destination, reason=r.reason, since=r.since) for r in rows]

    def is_shut(self, destination: str) -> bool:
        """Whether nothing may leave for `destination`."""
        query = select(holds.c.destination).where(holds.c.destination.in_([EVERY, destination]))
        with readers(self._engine).connect() as c:
            return c.execute(query.limit(1)).first() is not None

    def shut(self, destination: str, reason: str) -> None:
        """Let nothing leave for `destination`, or for `EVERY`; what is on the wire ends."""
        values = {"destination": destination, "reason": reason, "since": now()}
        upsert = (sqlite if self._engine.dialect.name == "sqlite" else postgresql).insert(holds).values(**values)
        with self._engine.begin() as c:
            c.execute(upsert.on_conflict_do_update(index_elements=[holds.c.destination], set_=values))

    def open(self, destination: str) -> bool:
        """Take back a hold of exactly that name; False if there was none."""
        with self._engine.begin() as c:
            return c.execute(delete(holds).where(holds.c.destination == destination)).rowcount > 0
