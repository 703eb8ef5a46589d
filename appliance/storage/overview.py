"""Read-only queries for the status page, the metrics and the demonstration.

The page is loaded every few seconds, and the tables grow for years. Open jobs are counted by an index (state, code,
destination, id), and those that have ended by another (state, finished_at, destination), for the last day.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, Table, and_, func, or_, select

from appliance.clock import now
from appliance.domain.code_sets import STORED, SUBSTITUTED
from appliance.domain.job import ENDED, State
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Result

from .deliveries import Delivery, delivery_of
from .tables import analyses, deliveries, instances, radiologist_reports, results, studies

OPEN = tuple(state for state in State if state not in ENDED)

ENDED_WITHIN = timedelta(days=1)
"""Jobs that ended longer ago are not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateCount:
    """The jobs of one queue in one state; of jobs that have ended, those of the last day (`ENDED_WITHIN`).

    Attributes
    ----------
    destination
        Name of the destination; empty except for deliveries.
    oldest
        Time at which the oldest of the open jobs was made; for studies, was due.
    newest_end
        Time at which the last of the jobs ended; None for open ones.
    """

    destination: str
    state: State
    jobs: int
    oldest: datetime | None = None
    newest_end: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeCount:
    """The open deliveries to one destination in one state with one code; `oldest` is when the first was made."""

    state: State
    code: ReasonCode
    jobs: int
    oldest: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedResult:
    """A result with its id in the database."""

    result_id: int
    result: Result


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysedInstance:
    """An instance with the job of its analysis and its newest result."""

    analysis_id: int
    sop_instance_uid: str
    received_at: datetime
    calling_ae_title: str
    state: State
    code: ReasonCode
    reason: str
    newest: RecordedResult | None


def count_analyses(c: Connection) -> list[StateCount]:
    """Return the analyses per state."""
    return _state_counts(c, analyses)


def count_studies(c: Connection) -> list[StateCount]:
    """Return the studies per state."""
    due = studies.c.not_before

    def due_since(state: State) -> datetime | None:
        return c.execute(select(due).where(studies.c.state == state).order_by(due).limit(1)).scalar()

    counts = _state_counts(c, studies)
    return [replace(count, oldest=due_since(count.state)) if count.oldest else count for count in counts]


def count_deliveries(c: Connection) -> list[StateCount]:
    """Return the deliveries per destination and state."""
    return _state_counts(c, deliveries)


def last_successes(c: Connection, destinations: Iterable[str]) -> dict[str, datetime]:
    """Return, by destination, the time at which it took an artefact last, where it ever did."""
    d = deliveries.c
    newest = {}
    for name in destinations:  # one by one, each is a step into an index
        is_done = (d.destination == name) & (d.state == State.DONE)
        newest[name] = c.execute(select(func.max(d.finished_at)).where(is_done)).scalar()
    return {name: at for name, at in newest.items() if at}


def newest_instances(c: Connection, most: int) -> list[AnalysedInstance]:
    """Return up to `most` instances, newest first."""
    return _analysed_instances(c, _INSTANCES.order_by(analyses.c.id.desc()).limit(most))


def all_instances(c: Connection) -> list[AnalysedInstance]:
    """Return every instance, oldest first."""
    return _analysed_instances(c, _INSTANCES.order_by(analyses.c.id))


def deliveries_by_study(c: Connection, study_instance_uids: Collection[str]) -> dict[str, list[Delivery]]:
    """Return, by Study Instance UID, the deliveries of the radiographs and reports of a study, oldest first."""
    query = select(deliveries).where(deliveries.c.study_instance_uid.in_(study_instance_uids))
    found: dict[str, list[Delivery]] = {}
    for row in c.execute(query.order_by(deliveries.c.id)):
        found.setdefault(row.study_instance_uid, []).append(delivery_of(row))
    return found


def unreported_studies(c: Connection, study_instance_uids: Collection[str]) -> set[str]:
    """Return those of the studies that wait for their report."""
    waits = studies.c.state.in_([State.QUEUED, State.LEASED])
    query = select(studies.c.study_instance_uid).where(waits, studies.c.study_instance_uid.in_(study_instance_uids))
    return set(c.execute(query).scalars())


def failing_deliveries(c: Connection, overdue_since: datetime) -> list[Delivery]:
    """Return, for each destination, the newest delivery that is parked, failed before, or misses a commitment result.

    Parameters
    ----------
    overdue_since
        A commitment result is missed for artefacts that were stored before.
    """
    d = deliveries.c
    is_overdue = and_(d.unanswered_at.is_not(None), d.stored_at < overdue_since)
    failing = and_(
        d.state.in_([State.QUEUED, State.LEASED, State.PARKED]),
        d.code > ReasonCode.NONE,  # the empty code is the least: a range of the index
        or_(d.state == State.PARKED, d.code.not_in(STORED), is_overdue),
    )
    newest = select(func.max(d.id)).where(failing).group_by(d.destination)
    return [delivery_of(row) for row in c.execute(select(deliveries).where(d.id.in_(newest)).order_by(d.id))]


def open_by_code(c: Connection, destination: str) -> list[CodeCount]:
    """Return the open deliveries to a destination per state and code."""
    d = deliveries.c
    query = select(d.state, d.code, func.count().label("jobs"), func.min(d.created_at).label("oldest"))
    of_destination = query.where(d.destination == destination, d.state.in_(OPEN))
    rows = c.execute(of_destination.group_by(d.state, d.code).order_by(d.state, d.code))
    return [CodeCount(state=row.state, code=row.code, jobs=row.jobs, oldest=row.oldest) for row in rows]


def substituted_deliveries(c: Connection) -> list[Delivery]:
    """Return, for each destination and kind, the newest delivery that the peer did not take in its best form.

    Deliveries that ended longer ago than `ENDED_WITHIN` are left out.
    """
    d = deliveries.c
    recent = and_(d.state.in_([State.DONE, State.DROPPED]), d.finished_at > now() - ENDED_WITHIN)
    code = func.lower(d.code)  # as an expression, so that the index by times is used: a PACS may substitute each object
    newest = select(func.max(d.id)).where(recent, code.in_(SUBSTITUTED)).group_by(d.destination, d.kind)
    return [delivery_of(row) for row in c.execute(select(deliveries).where(d.id.in_(newest)).order_by(d.id))]


def results_after(c: Connection, result_id: int) -> list[RecordedResult]:
    """Return the results that were recorded after that one, oldest first."""
    query = select(results.c.id, results.c.record).where(results.c.id > result_id).order_by(results.c.id)
    return [RecordedResult(result_id=row.id, result=Result.from_json(row.record)) for row in c.execute(query)]


def newest_result_id(c: Connection) -> int:
    """Return the id of the newest result; 0 if there is none."""
    return c.execute(select(func.max(results.c.id))).scalar() or 0


def newest_result(c: Connection) -> Result | None:
    """Return the newest result; None if there is none."""
    record = c.execute(select(results.c.record).order_by(results.c.id.desc()).limit(1)).scalar()
    return Result.from_json(record) if record else None


def count_not_analysed(c: Connection) -> dict[ReasonCode, int]:
    """Return the number of radiographs that were not analysed, by reason code."""
    query = select(analyses.c.code, func.count()).where(analyses.c.state == State.NOT_ANALYSED)
    return dict(c.execute(query.group_by(analyses.c.code)).tuples().all())


def count_radiologist_reports(c: Connection) -> dict[str, int]:
    """Return the number of radiologist reports by result status (OBR-25)."""
    status = radiologist_reports.c.result_status
    return dict(c.execute(select(status, func.count()).group_by(status)).tuples().all())


_INSTANCES = select(
    analyses.c.id,
    analyses.c.state,
    analyses.c.code,
    analyses.c.reason,
    instances.c.sop_instance_uid,
    instances.c.received_at,
    instances.c.calling_ae_title,
).join(instances, analyses.c.instance_id == instances.c.id)


def _analysed_instances(c: Connection, query: Select[Any]) -> list[AnalysedInstance]:
    rows = c.execute(query).all()
    newest = _newest_results(c, [row.id for row in rows])
    return [
        AnalysedInstance(
            analysis_id=row.id,
            sop_instance_uid=row.sop_instance_uid,
            received_at=row.received_at,
            calling_ae_title=row.calling_ae_title,
            state=row.state,
            code=row.code,
            reason=row.reason,
            newest=newest.get(row.id),
        )
        for row in rows
    ]


def _newest_results(c: Connection, analysis_ids: Sequence[int]) -> dict[int, RecordedResult]:
    query = select(results.c.id, results.c.analysis_id, results.c.record).where(results.c.analysis_id.in_(analysis_ids))
    return {
        row.analysis_id: RecordedResult(result_id=row.id, result=Result.from_json(row.record))
        for row in c.execute(query.order_by(results.c.id))
    }


def _state_counts(c: Connection, table: Table) -> list[StateCount]:
    return [*_open_counts(c, table), *_ended_counts(c, table)]


def _open_counts(c: Connection, table: Table) -> Iterator[StateCount]:
    """Count the open jobs of a table per destination and state."""
    t = table.c
    by = [t.state, t.code, t.destination] if "destination" in t else [t.state, t.code]
    query = select(*by, func.count().label("jobs"), func.min(t.id).label("first")).where(t.state.in_(OPEN))
    groups: dict[tuple[str, State], tuple[int, int]] = {}
    for row in c.execute(query.group_by(*by)):
        key = (row._mapping.get("destination", ""), row.state)
        jobs, first = groups.get(key, (0, row.first))
        groups[key] = jobs + row.jobs, min(first, row.first)
    firsts = [first for _, first in groups.values()]
    made = dict(c.execute(select(t.id, t.created_at).where(t.id.in_(firsts))).tuples().all())
    for (destination, state), (jobs, first) in groups.items():
        yield StateCount(destination=destination, state=state, jobs=jobs, oldest=made[first])


def _ended_counts(c: Connection, table: Table) -> Iterator[StateCount]:
    """Count the jobs of a table per destination and state that have ended in the last day."""
    t = table.c
    by = [t.state, t.destination] if "destination" in t else [t.state]
    query = select(*by, func.count().label("jobs"), func.max(t.finished_at).label("newest_end"))
    recent = query.where(t.state.in_(ENDED), t.finished_at > now() - ENDED_WITHIN)
    for row in c.execute(recent.group_by(*by)):
        destination = row._mapping.get("destination", "")
        yield StateCount(destination=destination, state=row.state, jobs=row.jobs, newest_end=row.newest_end)
