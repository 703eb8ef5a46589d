"""The reports of studies: when one is due, its radiographs, its revisions, and rejected radiographs."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Row,
    ScalarSelect,
    and_,
    exists,
    func,
    insert,
    or_,
    select,
    union_all,
    update,
)

from appliance.clock import now
from appliance.domain.artefact_kind import REVOCATIONS, ArtefactKind
from appliance.domain.code_sets import TAKEN_BACK
from appliance.domain.job import Backoff, Event, Lease, Settling, State
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Predecessor, Result
from appliance.domain.study import StudyResult
from appliance.rollout.told import Phases, least_of, phases_from_json

from .database import readers
from .deliveries import Delivery, delivery_of, queue_deliveries, supersede
from .outgoing import Outgoing
from .queue import Queue
from .sample import is_withheld
from .tables import analyses, deliveries, instances, results, studies, study_results
from .told_records import current_phases, phases_of_parts, told_or_taken_back
from .transitions import add_job, drop_jobs, move_job


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPart:
    """A radiograph of a study: one result, with the files in the spool that it was made from and with.

    Attributes
    ----------
    patient_digest
        Digest of the patient; empty where the radiograph names none.
    result
        The full record.
    phases
        The phases by which the record was told when it was recorded.
    digest
        File of the radiograph; retention may have removed it.
    picture_digest
        File of the overlay; empty where there is none, and retention may have removed it.
    """

    result_id: int
    patient_digest: str
    result: Result
    phases: Phases
    digest: str
    calling_ae_title: str
    received_at: datetime
    picture_digest: str


ILLUSTRATIONS = (ArtefactKind.SECONDARY_CAPTURE, ArtefactKind.PRESENTATION_STATE)
"""Kinds that a structured report refers to."""

_PARTS = (
    select(results, instances.c.digest, instances.c.calling_ae_title, instances.c.received_at)
    .join(analyses, results.c.analysis_id == analyses.c.id)
    .join(instances, analyses.c.instance_id == instances.c.id)
)


class StudyQueue(Queue):
    """The studies to report on."""

    def __init__(
        self, engine: Engine, owner: str, *, most_attempts: int | None = None, backoff: Backoff | None = None
    ) -> None:
        super().__init__(engine, studies, owner, most_attempts=most_attempts, backoff=backoff)

    def lease(self, most: int = 1) -> list[Lease]:
        """Lease up to `most` settled studies, the one first that has been due for longest."""
        if not self._has_work():
            return []
        with readers(self._engine).connect() as c:
            first_due, untried_since = c.execute(_FIRST).one()
        if first_due and untried_since and first_due > untried_since:  # none has settled, however many are due
            return []
        return self._lease(_has_settled(), most=most, order=studies.c.not_before)


def queue_study(c: Connection, study_instance_uid: str, settling: Settling) -> None:
    """Queue the study, due when it has settled; a role that reports on it just now finds its lease lost."""
    moment = now()
    row = c.execute(select(studies).where(studies.c.study_instance_uid == study_instance_uid)).first()
    if row is None:
        due = settling.due(moment, moment)
        add_job(c, studies, study_instance_uid=study_instance_uid, not_before=due, created_at=moment)
        return
    since = row.created_at if row.state in (State.QUEUED, State.LEASED) else moment
    fresh = {
        "attempts": 0,
        "delays": 0,
        "not_before": settling.due(moment, since),
        "lease_owner": None,
        "code": ReasonCode.NONE,
        "reason": "",
        "created_at": since,
        "finished_at": None,
    }
    move_job(c, studies, row.id, Event.NEW_RESULT, **fresh)


def _untried_since() -> ScalarSelect[Any]:
    """Return the time at which the first radiograph came that waits for its first analysis; null if none waits.

    A radiograph that was tried already is not waited for.
    """
    a = analyses.c
    first = [
        select(func.min(a.created_at).label("at")).where(waits)
        for waits in (a.state == State.LEASED, and_(a.state == State.QUEUED, a.attempts == 0, a.delays == 0))
    ]
    return select(func.min(union_all(*first).subquery().c.at)).scalar_subquery()


def _has_settled() -> ColumnElement[bool]:
    """Return the condition that no radiograph waits for its first analysis that came before the study was due.

    Such a radiograph might belong to the study.
    """
    return studies.c.not_before <= func.coalesce(_untried_since(), studies.c.not_before)


_FIRST: Final = select(
    select(func.min(studies.c.not_before)).where(studies.c.state == State.QUEUED).scalar_subquery(), _untried_since()
)
"""Query for the time at which the first study is due, and `_untried_since`."""


def parts_of_study(engine: Engine, study_id: int, *, standing: bool = True) -> list[StudyPart]:
    """Return the radiographs of a study with their results, newest last.

    Parameters
    ----------
    standing
        Return the newest result of each radiograph, without rejected ones; False: return every result ever made.
    """
    in_study = select(studies.c.study_instance_uid).where(studies.c.id == study_id).scalar_subquery()
    with engine.connect() as c:
        query = _PARTS.where(results.c.study_instance_uid == in_study)
        query = query.where(_stands()) if standing else query
        rows = c.execute(query.order_by(results.c.id)).all()
    return [
        StudyPart(
            result_id=row.id,
            patient_digest=row.patient_digest,
            result=Result.from_json(row.record),
            phases=phases_from_json(row.phases),
            digest=row.digest,
            calling_ae_title=row.calling_ae_title,
            received_at=row.received_at,
            picture_digest=row.picture_digest,
        )
        for row in rows
    ]


def _stands() -> ColumnElement[bool]:
    """Return the condition that a result is the newest of its radiograph, in any study, and was not taken back."""
    later = results.alias()
    newer = exists().where(later.c.sop_instance_uid == results.c.sop_instance_uid, later.c.id > results.c.id)
    return results.c.taken_back_at.is_(None) & ~newer.correlate(results)


def latest_study_result(c: Connection, study_instance_uid: str) -> tuple[int, StudyResult] | None:
    """Return the newest told result of a study with its id; None if the study was not reported on yet."""
    query = select(study_results).join(studies).where(studies.c.study_instance_uid == study_instance_uid)
    row = c.execute(query.order_by(study_results.c.revision.desc()).limit(1)).first()
    return (row.id, _study_result(c, study_instance_uid, row)) if row else None


def study_results_by_id(engine: Engine, ids: Collection[int]) -> dict[int, tuple[StudyResult, list[int]]]:
    """Return told results of studies by their ids, each with the ids of the radiographs' results in it."""
    columns = (*study_results.c, studies.c.study_instance_uid)
    query = select(*columns).join(studies, study_results.c.study_id == studies.c.id)
    with readers(engine).connect() as c:
        rows = c.execute(query.where(study_results.c.id.in_(ids))).all()
        return {row.id: (_study_result(c, row.study_instance_uid, row), json.loads(row.result_ids)) for row in rows}


def earlier_deliveries(engine: Engine, study_id: int, revision: int, result_ids: Collection[int]) -> list[Delivery]:
    """Return the deliveries that the structured report of `revision` refers to.

    These are the pictures and presentation states of its radiographs that destinations have or get, and the reports of
    the revision before.
    """
    d, s = deliveries.c, study_results.c
    stands = and_(d.digest != "", d.state.not_in([State.PARKED, State.DROPPED]), d.code.not_in(TAKEN_BACK))
    shown = and_(d.result_id.in_(result_ids), d.kind.in_(ILLUSTRATIONS), stands)
    before = select(s.id).where(s.study_id == study_id, s.revision == revision - 1)
    report = and_(d.study_result_id.in_(before), d.kind == ArtefactKind.STRUCTURED_REPORT, d.digest != "")
    with readers(engine).connect() as c:
        return [delivery_of(row) for row in c.execute(select(deliveries).where(or_(shown, report)).order_by(d.id))]


def retracted_statements(c: Connection, study_id: int, revision: int) -> tuple[tuple[str, int], ...]:
    """Return statements of reports before `revision` that no result makes now, in this study or another.

    Statements are those of told records; a result that is told no more has one, which says so. The form is that of
    `StudyResult.retracted`: SOP Instance UID and number of the region.
    """
    earlier = (study_results.c.study_id == study_id) & (study_results.c.revision < revision)
    earlier_counts: dict[str, int] = {}
    for row in c.execute(select(study_results).where(earlier)):
        for result in told_results(c, row):
            uid = result.sop_instance_uid
            earlier_counts[uid] = max(earlier_counts.get(uid, 0), result.statements)
    counts = _count_statements(c, earlier_counts)
    return tuple(
        (uid, number) for uid, most in earlier_counts.items() for number in range(counts.get(uid, 0) + 1, most + 1)
    )


def _count_statements(c: Connection, sop_instance_uids: Collection[str]) -> dict[str, int]:
    """Return, by SOP Instance UID, the number of statements that the standing result of a radiograph makes now."""
    now_told = current_phases(c)
    query = select(results.c.sop_instance_uid, results.c.record, results.c.phases)
    rows = c.execute(query.where(results.c.sop_instance_uid.in_(sop_instance_uids), _stands()))
    return {
        row.sop_instance_uid: told_or_taken_back(
            row.record, least_of(phases_from_json(row.phases), now_told)
        ).statements
        for row in rows
    }


def told_results(c: Connection, row: Row[Any]) -> tuple[Result, ...]:
    """Return the told records of the radiographs of a row of `study_results`."""
    ids = json.loads(row.result_ids)
    records = dict(c.execute(select(results.c.id, results.c.record).where(results.c.id.in_(ids))).tuples().all())
    return tuple(told_or_taken_back(records[i], used) for i, used in zip(ids, phases_of_parts(row.phases), strict=True))


def _study_result(c: Connection, study_instance_uid: str, row: Row[Any]) -> StudyResult:
    predecessor = None
    if row.revision > 1:
        of_study = study_results.c.study_id == row.study_id
        query = select(study_results).where(of_study, study_results.c.revision == row.revision - 1)
        newest = json.loads(c.execute(query).one().result_ids)[-1]
        record = c.execute(select(results.c.record).where(results.c.id == newest)).scalar_one()
        made_by = Result.from_json(record).provenance
        predecessor = Predecessor(revision=row.revision - 1, pack_digest=made_by.pack_digest)
    return StudyResult(
        study_instance_uid=study_instance_uid,
        created_at=row.created_at,
        results=told_results(c, row),
        revision=row.revision,
        predecessor=predecessor,
        left_out=row.left_out,
        retracted=retracted_statements(c, row.study_id, row.revision),
    )


def record_study_result(
    c: Connection,
    study_id: int,
    study: StudyResult,
    result_ids: list[int],
    outgoing: Iterable[Outgoing],
    phases: Sequence[Phases] | None = None,
) -> None:
    """Write the result of a study and its deliveries within the transaction that ends the study's job.

    The deliveries of a study that a validation has drawn are not queued.

    Parameters
    ----------
    result_ids, phases
        The results that `study` tells of, in its order, and the phases by which each was told (None: those of now).
    """
    earlier = select(study_results.c.id).where(study_results.c.study_id == study_id)
    supersede(c, deliveries.c.study_result_id.in_(earlier), study.revision)
    values = {
        "study_id": study_id,
        "revision": study.revision,
        "result_ids": json.dumps(result_ids),
        "phases": json.dumps([dict(each) for each in phases or [current_phases(c)] * len(result_ids)]),
        "left_out": study.left_out,
        "created_at": study.created_at,
    }
    key = c.execute(insert(study_results).values(**values)).inserted_primary_key
    if not is_withheld(c, study.study_instance_uid):
        queue_deliveries(c, outgoing, study.study_instance_uid, study_result_id=key[0] if key else None)


def drop_reports(c: Connection, study_id: int) -> None:
    """Drop the pending reports of a study of which nothing is told any more."""
    earlier = select(study_results.c.id).where(study_results.c.study_id == study_id)
    reports = and_(deliveries.c.study_result_id.in_(earlier), deliveries.c.kind.not_in(REVOCATIONS))
    drop_jobs(c, deliveries, reports, ReasonCode.IN_SHADOW, "its sites are in shadow")


def reject_radiographs(c: Connection, sop_instance_uids: Collection[str], reason: str, settling: Settling) -> None:
    """Drop everything pending about radiographs that an archive rejected, and leave them out of later reports.

    Artefacts that have left already are for a person to withdraw.
    """
    rejected = results.c.sop_instance_uid.in_(sop_instance_uids)
    of_instances = select(instances.c.id).where(instances.c.sop_instance_uid.in_(sop_instance_uids))
    drop_jobs(c, analyses, analyses.c.instance_id.in_(of_instances), ReasonCode.SOURCE_REJECTED, reason)
    take_results_back(c, rejected)
    in_studies = set(c.execute(select(results.c.study_instance_uid).where(rejected)).scalars())
    of_reports = deliveries.c.study_result_id.is_not(None) & deliveries.c.study_instance_uid.in_(in_studies)
    about = or_(deliveries.c.result_id.in_(select(results.c.id).where(rejected)), of_reports)
    drop_jobs(c, deliveries, about, ReasonCode.SOURCE_REJECTED, reason)
    for study_instance_uid in in_studies:
        report_again_or_drop(c, study_instance_uid, settling, ReasonCode.SOURCE_REJECTED, reason)


def take_results_back(c: Connection, which: ColumnElement[bool]) -> None:
    """Leave these results out of every later report."""
    c.execute(update(results).where(which, results.c.taken_back_at.is_(None)).values(taken_back_at=now()))


def report_again_or_drop(
    c: Connection, study_instance_uid: str, settling: Settling, code: ReasonCode, reason: str
) -> None:
    """Queue a study that has lost a radiograph; drop its job if no radiograph is left."""
    standing = select(results.c.id).where(results.c.study_instance_uid == study_instance_uid, _stands())
    if c.execute(standing.limit(1)).first():
        queue_study(c, study_instance_uid, settling)
        return
    drop_jobs(c, studies, studies.c.study_instance_uid == study_instance_uid, code, reason)
