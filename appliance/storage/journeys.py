"""The steps of a study or a radiograph through the three queues, and the look-up by UID, accession number or job.

The database has accession numbers of radiologist reports alone, not of radiographs; such a report names the study.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, or_, select

from appliance.domain.job import State
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Result

from .deliveries import Delivery, delivery_of
from .inspection import QueueName
from .tables import analyses, deliveries, draws, instances, radiologist_reports, results, studies, study_results

LONGEST_NUMBER = 64
"""Characters of a UID, and more than an accession number has."""

_JOB = re.compile(rf"({'|'.join(QueueName)}):(\d{{1,9}})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A row found by a look-up, in the queue `QueueName.ANALYSIS` or `QueueName.STUDY`."""

    queue: QueueName
    row_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RadiographSteps:
    """The steps of one radiograph until its answer.

    Attributes
    ----------
    finished_at
        End of the analysis; None before.
    result
        Newest result; None if there is none.
    pruned_at
        Removal of the file from the spool; None before.
    """

    analysis_id: int
    received_at: datetime
    calling_ae_title: str
    size_bytes: int
    state: State
    code: ReasonCode
    reason: str
    attempts: int
    finished_at: datetime | None
    result: Result | None
    pruned_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySteps:
    """The report of a study: its job, and the time of each revision.

    Attributes
    ----------
    due_at
        Time of the report, while the study waits.
    revisions
        Number and time of each report.
    """

    study_id: int
    state: State
    code: ReasonCode
    reason: str
    due_at: datetime
    revisions: tuple[tuple[int, datetime], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """The steps of all radiographs of a study; without a study, of one radiograph.

    Attributes
    ----------
    reports_at
        Arrivals of radiologist reports about the study.
    kept_back
        Number of each validation whose sample the study is in, and the time of the draw: no answer of that time left.
    """

    radiographs: tuple[RadiographSteps, ...]
    study: StudySteps | None = None
    deliveries: tuple[Delivery, ...] = ()
    reports_at: tuple[datetime, ...] = ()
    kept_back: tuple[tuple[int, datetime], ...] = ()


def find_targets(c: Connection, number: str) -> list[Target]:
    """Return the studies, else the radiographs, that `number` names; newest first.

    Parameters
    ----------
    number
        UID of a radiograph, of a study or of an artefact of ours, accession number of a radiologist report, or name of
        a job.
    """
    number = number.strip()[:LONGEST_NUMBER]
    if not number or not number.isprintable():
        return []
    if job := _JOB.fullmatch(number):
        return _of_job(c, QueueName(job[1]), int(job[2]))
    ours = select(deliveries.c.study_instance_uid).where(
        or_(deliveries.c.identifier == number, deliveries.c.sent_uid == number)
    )
    r = radiologist_reports.c
    told = select(r.matched_study_instance_uid, r.study_instance_uid).where(r.accession_number == number)
    named = [number, *c.execute(ours).scalars(), *(uid for row in c.execute(told) for uid in row)]
    if found := _studies(c, named):
        return found
    received = (
        select(analyses.c.id)
        .join(instances, analyses.c.instance_id == instances.c.id)
        .where(instances.c.sop_instance_uid == number)
        .order_by(instances.c.receipt.desc())
    )
    return [Target(queue=QueueName.ANALYSIS, row_id=row_id) for row_id in c.execute(received.limit(1)).scalars()]


def journey_of_study(c: Connection, study_id: int) -> Journey | None:
    """Return the way of a study; None if there is no such study."""
    study = c.execute(select(studies).where(studies.c.id == study_id)).first()
    return None if study is None else _journey(c, study)


def journey_of_radiograph(c: Connection, analysis_id: int) -> Journey | None:
    """Return the way of the study of a radiograph, or its own before it has one; None if there is no such job."""
    study = c.execute(
        select(studies)
        .join(results, results.c.study_instance_uid == studies.c.study_instance_uid)
        .where(results.c.analysis_id == analysis_id)
        .order_by(results.c.id.desc())
        .limit(1)
    ).first()
    if study is not None:
        return _journey(c, study)
    radiographs = _radiographs(c, analyses.c.id == analysis_id)
    return Journey(radiographs=radiographs) if radiographs else None


def _of_job(c: Connection, queue: QueueName, job_id: int) -> list[Target]:
    if queue is QueueName.DELIVERY:
        uid = select(deliveries.c.study_instance_uid).where(deliveries.c.id == job_id)
        return _studies(c, c.execute(uid).scalars().all())
    table = analyses if queue is QueueName.ANALYSIS else studies
    found = c.execute(select(table.c.id).where(table.c.id == job_id)).scalars()
    return [Target(queue=queue, row_id=row_id) for row_id in found]


def _studies(c: Connection, uids: Collection[str]) -> list[Target]:
    query = select(studies.c.id).where(studies.c.study_instance_uid.in_(set(uids) - {""})).order_by(studies.c.id.desc())
    return [Target(queue=QueueName.STUDY, row_id=row_id) for row_id in c.execute(query).scalars()]


def _journey(c: Connection, study: Row[Any]) -> Journey:
    uid = study.study_instance_uid
    of_study = analyses.c.id.in_(select(results.c.analysis_id).where(results.c.study_instance_uid == uid))
    sent = select(deliveries).where(deliveries.c.study_instance_uid == uid).order_by(deliveries.c.id)
    revisions = select(study_results.c.revision, study_results.c.created_at).where(study_results.c.study_id == study.id)
    told = select(radiologist_reports.c.received_at).where(
        or_(radiologist_reports.c.matched_study_instance_uid == uid, radiologist_reports.c.study_instance_uid == uid)
    )
    in_sample = select(draws.c.validation_id, draws.c.drawn_at).where(draws.c.study_instance_uid == uid)
    return Journey(
        radiographs=_radiographs(c, of_study),
        study=StudySteps(
            study_id=study.id,
            state=study.state,
            code=study.code,
            reason=study.reason,
            due_at=study.not_before,
            revisions=tuple(c.execute(revisions.order_by(study_results.c.revision)).tuples()),
        ),
        deliveries=tuple(delivery_of(row) for row in c.execute(sent)),
        reports_at=tuple(c.execute(told).scalars()),
        kept_back=tuple(c.execute(in_sample.where(draws.c.is_blinded).order_by(draws.c.id)).tuples()),
    )


def _radiographs(c: Connection, which: ColumnElement[bool]) -> tuple[RadiographSteps, ...]:
    """Return the chosen radiographs, in the order of their receipt."""
    of_instance = (instances.c.received_at, instances.c.calling_ae_title, instances.c.size_bytes, instances.c.pruned_at)
    query = select(analyses, *of_instance).join(instances, analyses.c.instance_id == instances.c.id).where(which)
    rows = c.execute(query.order_by(analyses.c.id)).all()
    ids = [row.id for row in rows]
    record = select(results.c.analysis_id, results.c.record).where(results.c.analysis_id.in_(ids))
    records = dict(c.execute(record.order_by(results.c.id)).tuples().all())
    return tuple(
        RadiographSteps(
            analysis_id=row.id,
            received_at=row.received_at,
            calling_ae_title=row.calling_ae_title,
            size_bytes=row.size_bytes,
            state=row.state,
            code=row.code,
            reason=row.reason,
            attempts=row.attempts,
            finished_at=row.finished_at,
            result=Result.from_json(records[row.id]) if row.id in records else None,
            pruned_at=row.pruned_at,
        )
        for row in rows
    )
