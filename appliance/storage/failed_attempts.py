"""The number of attempts that failed, by queue and reason code: a counter that outlives every role."""

from __future__ import annotations

from sqlalchemy import Connection, select

from appliance.domain.reason import ReasonCode

from .database import upsert
from .tables import failed_attempts


def count_failed_attempt(c: Connection, queue: str, code: ReasonCode) -> None:
    """Count an attempt of a job in `queue`: ``analyses``, ``studies`` or the name of a destination."""
    row = {"queue": queue, "code": code, "times": 1}
    upsert(c, failed_attempts, row, key=("queue", "code"), on_conflict={"times": failed_attempts.c.times + 1})


def failed_attempt_counts(c: Connection) -> dict[tuple[str, ReasonCode], int]:
    """Return the attempts that failed, by queue and code."""
    return {(row.queue, row.code): row.times for row in c.execute(select(failed_attempts))}
