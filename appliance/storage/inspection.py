"""Jobs of the three queues as people see them: in `osteon queue` and on the status page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, case, or_, select

from appliance.domain.artefact_kind import kind_and_page
from appliance.domain.job import State
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Result

from .deliveries import Delivery, delivery_of, explanation
from .tables import analyses, deliveries, instances, results, studies


class QueueName(StrEnum):
    """The queue that a job is in; with the id it makes the name of a job, such as ``analysis:12``."""

    ANALYSIS = "analysis"
    STUDY = "study"
    DELIVERY = "delivery"


TABLES: Final = {QueueName.ANALYSIS: analyses, QueueName.STUDY: studies, QueueName.DELIVERY: deliveries}

SETTLED: Final = frozenset({State.DONE, State.DROPPED})
"""States of a job that a person need not look at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSummary:
    """One job, without patient data.

    Attributes
    ----------
    peer
        AE title of the sender of a radiograph, or name of the destination; empty for a study.
    artefact
        Kind and page of the artefact; empty except for a delivery.
    """

    queue: QueueName
    job_id: int
    state: State
    code: ReasonCode
    reason: str
    attempts: int
    created_at: datetime
    finished_at: datetime | None
    peer: str
    artefact: str

    @property
    def name(self) -> str:
        """Name of the job, such as ``delivery:40``."""
        return f"{self.queue}:{self.job_id}"

    @property
    def since(self) -> datetime:
        """Time at which the job ended, or was made."""
        return self.finished_at or self.created_at


def open_jobs(c: Connection, queue: QueueName) -> Iterator[JobSummary]:
    """Yield the jobs that wait, are parked or were not analysed, oldest first."""
    table = TABLES[queue]
    return _summaries(c, queue, _jobs(queue).where(table.c.state.not_in(SETTLED)).order_by(table.c.id))


def all_jobs(c: Connection, queue: QueueName) -> Iterator[JobSummary]:
    """Yield every job, oldest first."""
    return _summaries(c, queue, _jobs(queue).order_by(TABLES[queue].c.id))


def jobs_about(c: Connection, queue: QueueName, uid: str) -> Iterator[JobSummary]:
    """Yield the jobs about the instance or the study of that UID, oldest first."""
    return _summaries(c, queue, _jobs(queue).where(_is_about(queue, uid)).order_by(TABLES[queue].c.id))


def newest_jobs_in_state(c: Connection, queue: QueueName, state: State, most: int) -> list[JobSummary]:
    """Return up to `most` jobs in that state, newest first."""
    table = TABLES[queue]
    newest = (table.c.finished_at.desc(), table.c.id.desc())  # the order of an index; open jobs have no end
    ids = c.execute(select(table.c.id).where(table.c.state == state).order_by(*newest).limit(most)).scalars().all()
    return list(_summaries(c, queue, _jobs(queue).where(table.c.id.in_(ids)).order_by(*newest)))


def open_deliveries(c: Connection, destination: str, most: int) -> list[JobSummary]:
    """Return up to `most` deliveries to a destination that are not done: parked ones first, then the oldest."""
    d = deliveries.c
    rank = case((d.state == State.PARKED, 0), else_=1)
    waits = d.state.in_([State.QUEUED, State.LEASED, State.PARKED])
    query = select(deliveries).where(d.destination == destination, waits).order_by(rank, d.id).limit(most)
    return list(_summaries(c, QueueName.DELIVERY, query))


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDetails:
    """All that the database holds about one job.

    Attributes
    ----------
    job
        Columns of the job by name.
    instance
        Columns of the instance of an analysis by name; None for another job.
    result
        Newest result of an analysis; None if there is none.
    source_sop_instance_uid
        SOP Instance UID of the radiograph that the artefact of a delivery is about; None for another job.
    """

    job: dict[str, object]
    instance: dict[str, object] | None = None
    result: Result | None = None
    source_sop_instance_uid: str | None = None


def job_details(c: Connection, queue: QueueName, job_id: int) -> JobDetails | None:
    """Return all that is known about a job; None if there is no such job."""
    table = TABLES[queue]
    row = c.execute(select(table).where(table.c.id == job_id)).first()
    if row is None:
        return None
    job = dict(row._mapping)
    if queue is QueueName.ANALYSIS:
        instance = c.execute(select(instances).where(instances.c.id == row.instance_id)).one()
        newest = select(results.c.record).where(results.c.analysis_id == job_id).order_by(results.c.id.desc())
        record = c.execute(newest.limit(1)).scalar()
        result = Result.from_json(record) if record else None
        return JobDetails(job=job, instance=dict(instance._mapping), result=result)
    if queue is QueueName.DELIVERY and row.result_id is not None:
        source = select(results.c.sop_instance_uid).where(results.c.id == row.result_id)
        return JobDetails(job=job, source_sop_instance_uid=c.execute(source).scalar_one())
    return JobDetails(job=job)


def find_delivery(c: Connection, delivery_id: int) -> Delivery | None:
    """Return a delivery; None if there is no such delivery."""
    row = c.execute(select(deliveries).where(deliveries.c.id == delivery_id)).first()
    return delivery_of(row) if row else None


def _jobs(queue: QueueName) -> Select[Any]:
    if queue is QueueName.ANALYSIS:
        return select(analyses, instances.c.calling_ae_title).join(instances)
    return select(TABLES[queue])


def _summaries(c: Connection, queue: QueueName, query: Select[Any]) -> Iterator[JobSummary]:
    for row in c.execute(query):
        peer, artefact, reason = _texts(queue, row)
        yield JobSummary(
            queue=queue,
            job_id=row.id,
            state=row.state,
            code=row.code,
            reason=reason,
            attempts=row.attempts,
            created_at=row.created_at,
            finished_at=row.finished_at,
            peer=peer,
            artefact=artefact,
        )


def _texts(queue: QueueName, row: Row[Any]) -> tuple[str, str, str]:
    """Return peer, artefact and reason of a job."""
    match queue:
        case QueueName.ANALYSIS:
            return row.calling_ae_title, "", row.reason
        case QueueName.DELIVERY:
            reason = explanation(row.reason, row.stored_at, row.unanswered_at)
            return row.destination, kind_and_page(row.kind, row.page), reason
        case QueueName.STUDY:
            return "", "", row.reason


def _is_about(queue: QueueName, uid: str) -> ColumnElement[bool]:
    """Return the condition that a job is about the instance or study of that UID, by the results of the study."""
    of_instance = select(analyses.c.id).join(instances).where(instances.c.sop_instance_uid == uid)
    in_study = select(results.c.analysis_id).where(results.c.study_instance_uid == uid)
    wanted = or_(analyses.c.id.in_(of_instance), analyses.c.id.in_(in_study))
    if queue is QueueName.ANALYSIS:
        return wanted
    table: Table = TABLES[queue]
    return table.c.study_instance_uid.in_(select(results.c.study_instance_uid).join(analyses).where(wanted))
