"""Read-only queries for the status page, the metrics and the demonstration."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, func, or_, select

from appliance.domain.code_sets import STORED, SUBSTITUTED
from appliance.domain.job import State
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Result

from .deliveries import Delivery, delivery_of
from .tables import analyses, deliveries, instances, radiologist_reports, results, studies


@dataclass(frozen=True, slots=True, kw_only=True)
class StateCount:
    """The jobs of one queue in one state.

    Attributes
    ----------
    destination
        Name of the destination; empty except for deliveries.
    oldest
        Time at which the oldest of the jobs was made; for studies, was due.
    newest_end
        Time at which the newest of the jobs ended.
    """

    destination: str
    state: State
    jobs: int
    oldest: datetime | None
    newest_end: datetime | None


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
    return _state_counts(c, _count_by_state(analyses, analyses.c.created_at))


def count_studies(c: Connection) -> list[StateCount]:
    """Return the studies per state."""
    return _state_counts(c, _count_by_state(studies, studies.c.not_before))


def count_deliveries(c: Connection) -> list[StateCount]:
    """Return the deliveries per destination and state."""
    return _state_counts(c, _count_by_state(deliveries, deliveries.c.created_at, deliveries.c.destination))


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
        d.code != ReasonCode.NONE,
        or_(d.state == State.PARKED, d.code.not_in(STORED), is_overdue),
    )
    newest = select(func.max(d.id)).where(failing).group_by(d.destination)
    return [delivery_of(row) for row in c.execute(select(deliveries).where(d.id.in_(newest)).order_by(d.id))]


def substituted_deliveries(c: Connection) -> list[Delivery]:
    """Return, for each destination and kind, the newest delivery that the peer did not take in its best form."""
    d = deliveries.c
    substituted = and_(d.code.in_(SUBSTITUTED), d.state.in_([State.DONE, State.DROPPED]))
    newest = select(func.max(d.id)).where(substituted).group_by(d.destination, d.kind)
    return [delivery_of(row) for row in c.execute(select(deliveries).where(d.id.in_(newest)).order_by(d.id))]


def results_after(c: Connection, result_id: int) -> list[RecordedResult]:
    """Return the results that were recorded after that one, oldest first."""
    query = select(results.c.id, results.c.record).where(results.c.id > result_id).order_by(results.c.id)
    return [RecordedResult(result_id=row.id, result=Result.from_json(row.record)) for row in c.execute(query)]


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


def _count_by_state(table: Table, since: ColumnElement[Any], *groups: ColumnElement[Any]) -> Select[Any]:
    return select(
        table.c.state,
        func.count().label("jobs"),
        func.min(since).label("oldest"),
        func.max(table.c.finished_at).label("newest_end"),
        *groups,
    ).group_by(table.c.state, *groups)


def _state_counts(c: Connection, query: Select[Any]) -> list[StateCount]:
    return [
        StateCount(
            destination=row._mapping.get("destination", ""),
            state=row.state,
            jobs=row.jobs,
            oldest=row.oldest,
            newest_end=row.newest_end,
        )
        for row in c.execute(query)
    ]
