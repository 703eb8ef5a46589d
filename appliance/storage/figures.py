"""The radiographs of the last days with their answers and the times of their delivery, for the figures of the page."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, case, func, select

from appliance.domain.finding import Answer
from appliance.domain.job import State
from appliance.domain.reason import ReasonCode

from .tables import Instant, analyses, deliveries, instances, results


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """The way of one radiograph through the appliance.

    Attributes
    ----------
    answer
        Answer of its newest result; None before the analysis ends.
    code
        Reason why it was not analysed; empty otherwise.
    delivered_at
        By destination, the time at which the last artefact of the radiograph was delivered; without destinations that
        lack one.
    """

    received_at: datetime
    answer: Answer | None
    code: ReasonCode = ReasonCode.NONE
    delivered_at: dict[str, datetime] = field(default_factory=dict)


def passages(c: Connection, since: datetime, before: datetime) -> list[Passage]:
    """Return the radiographs received in a span of time, oldest first, each once.

    Those that came again without a change are left out.
    """
    query = (
        select(instances.c.id, instances.c.received_at, analyses.c.state, analyses.c.code)
        .add_columns(results.c.id.label("result_id"), results.c.answer)
        .join(analyses, analyses.c.instance_id == instances.c.id)
        .outerjoin(results, results.c.analysis_id == analyses.c.id)
        .where(instances.c.received_at >= since, instances.c.received_at < before)
        .where(analyses.c.code != ReasonCode.UNCHANGED)
        .order_by(instances.c.received_at, results.c.id)
    )
    newest = {row.id: row for row in c.execute(query)}  # of several results, the last
    result_ids = [row.result_id for row in newest.values() if row.result_id]
    delivered = _delivered(c, min(result_ids), max(result_ids)) if result_ids else {}
    return [
        Passage(
            received_at=row.received_at,
            answer=row.answer or (Answer.NOT_ANALYSED if row.state is State.NOT_ANALYSED else None),
            code=row.code if row.state is State.NOT_ANALYSED else ReasonCode.NONE,
            delivered_at=delivered.get(row.result_id, {}),
        )
        for row in newest.values()
    ]


def _delivered(c: Connection, first: int, last: int) -> dict[int, dict[str, datetime]]:
    """Return, by result and destination, the time of the last delivery of a radiograph's artefacts, if all are done."""
    d = deliveries.c
    at = func.max(func.coalesce(d.stored_at, d.finished_at), type_=Instant).label("at")
    query = (
        select(d.result_id, d.destination, at)
        .where(d.result_id.between(first, last), d.state != State.DROPPED)
        .group_by(d.result_id, d.destination)
        .having(func.sum(case((d.state == State.DONE, 0), else_=1)) == 0)
    )
    found: dict[int, dict[str, datetime]] = {}
    for row in c.execute(query):
        found.setdefault(row.result_id, {})[row.destination] = row.at
    return found
