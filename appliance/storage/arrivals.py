"""Read-only queries about radiographs that came in: when, and how many bytes a day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Float, Integer, cast, func, select, type_coerce

from .tables import instances

STEP_S = 600
"""Length of a step: radiographs of one examination come within it."""

MEASURED = timedelta(days=7)
"""Days whose radiographs tell the growth of the spool."""

ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """The radiographs that came in.

    Attributes
    ----------
    first_at, last_at
        Times of the first and the newest receipt; None before the first one.
    steps
        Numbers of the steps (`STEP_S`) since 1970 in which a radiograph came; empty unless they were asked for.
    daily_bytes
        Bytes received in a day, on average over `MEASURED`; 0 before a day has passed.
    """

    first_at: datetime | None = None
    last_at: datetime | None = None
    steps: frozenset[int] = frozenset()
    daily_bytes: float = 0.0


def read_arrivals(c: Connection, at: datetime, within: timedelta, silent_for: timedelta = timedelta()) -> Arrivals:
    """Return the arrivals.

    Parameters
    ----------
    within
        The steps are those of this time before the newest receipt.
    silent_for
        They are read only where no radiograph has come for so long: of a busy site they take 40 ms.
    """
    received_at = instances.c.received_at
    first_at, last_at = (
        c.execute(select(func.min(received_at))).scalar(),
        # what a clock that was ahead dated is not the newest
        c.execute(select(func.max(received_at)).where(received_at <= at)).scalar(),
    )
    if first_at is None or last_at is None:
        return Arrivals()
    return Arrivals(
        first_at=first_at,
        last_at=last_at,
        steps=_steps(c, last_at - within) if at - last_at >= silent_for else frozenset(),
        daily_bytes=_daily_bytes(c, first_at, at),
    )


def _steps(c: Connection, since: datetime) -> frozenset[int]:
    seconds = type_coerce(instances.c.received_at, Float) / STEP_S
    # SQLite cuts off in a cast, where PostgreSQL rounds
    step = cast(seconds if c.dialect.name == "sqlite" else func.floor(seconds), Integer)
    return frozenset(c.execute(select(step).where(instances.c.received_at >= since).distinct()).scalars())


def daily_bytes(c: Connection, at: datetime) -> float:
    """Return the bytes of radiographs received in a day, on average; 0 before a day has passed."""
    first_at = c.execute(select(func.min(instances.c.received_at))).scalar()
    return _daily_bytes(c, first_at, at) if first_at else 0.0


def _daily_bytes(c: Connection, first_at: datetime, at: datetime) -> float:
    measured = min(MEASURED, at - first_at)
    if measured < ONE_DAY:
        return 0.0
    total = select(func.sum(instances.c.size_bytes)).where(instances.c.received_at >= at - measured)
    return float(c.execute(total).scalar() or 0) / (measured / ONE_DAY)
