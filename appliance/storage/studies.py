"""What is said of a study: when it is due, the radiographs that it is made of, its revisions, what is taken back."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, exists, insert, or_, select, update

from appliance.clock import now
from appliance.config import Study
from appliance.domain.job import State
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Predecessor, Result
from appliance.domain.study import StudyResult

from .database import readers
from .outgoing import Outgoing, drop, queue_deliveries, supersede
from .tables import analyses, deliveries, instances, results, studies, study_results

REJECTED = ReasonCode.SOURCE_REJECTED
"""Code of what is not done any more, since an archive has rejected the radiograph that it is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A radiograph of a study: its latest result, and where its bytes and its overlay lie in the spool.

    `picture_digest` is empty where there is no overlay; bytes and overlay may be gone by retention. `patient_digest` is
    empty where the radiograph names no patient.
    """

    result_id: int
    patient_digest: str
    result: Result
    digest: str
    calling_ae_title: str
    picture_digest: str


_PARTS = (
    select(results, instances.c.digest, instances.c.calling_ae_title)
    .join(analyses, results.c.analysis_id == analyses.c.id)
    .join(instances, analyses.c.instance_id == instances.c.id)
)


def queue_study(c: Connection, study_instance_uid: str, settling: Study) -> None:
    """The study is due when nothing more came for a while; whoever reports on it meanwhile finds the lease lost."""
    moment = now()
    row = c.execute(select(studies).where(studies.c.study_instance_uid == study_instance_uid)).first()
    waits = row is not None and row.state in (State.QUEUED, State.LEASED)
    since = row.created_at if row is not None and waits else moment
    due = min(moment + timedelta(seconds=settling.settle_s), since + timedelta(seconds=settling.longest_s))
    values = {
        "state": State.QUEUED,
        "attempts": 0,
        "not_before": due,
        "lease_owner": None,
        "code": "",
        "reason": "",
        "created_at": since,
        "finished_at": None,
    }
    if row is None:
        c.execute(insert(studies).values(study_instance_uid=study_instance_uid, **values))
    else:
        c.execute(update(studies).where(studies.c.id == row.id).values(**values))


def settled() -> ColumnElement[bool]:
    """Whether a due study has no radiograph in the queue that came before it was due, and might be one of its own.

    What was tried already is not waited for.
    """
    untried = or_(analyses.c.state == State.LEASED, (analyses.c.state == State.QUEUED) & (analyses.c.attempts == 0))
    came = select(analyses.c.id).join(instances, analyses.c.instance_id == instances.c.id)
    return ~came.where(untried, instances.c.received_at < studies.c.not_before).exists()


def parts_of(engine: Engine, study_id: int, *, standing: bool = True) -> list[Part]:
    """The radiographs of a study with their results, newest last.

    Parameters
    ----------
    standing
        Only the newest result of each, and none that was taken back; else every result that there ever was.
    """
    in_study = select(studies.c.study_instance_uid).where(studies.c.id == study_id).scalar_subquery()
    with engine.connect() as c:
        query = _PARTS.where(results.c.study_instance_uid == in_study)
        query = query.where(_stands()) if standing else query
        rows = c.execute(query.order_by(results.c.id)).all()
    return [
        Part(
            result_id=row.id,
            patient_digest=row.patient_digest,
            result=Result.from_json(row.record),
            digest=row.digest,
            calling_ae_title=row.calling_ae_title,
            picture_digest=row.picture_digest,
        )
        for row in rows
    ]


def _stands() -> ColumnElement[bool]:
    """Whether a result is the newest of its radiograph, in whatever study, and was not taken back."""
    later = results.alias()
    newer = exists().where(later.c.sop_instance_uid == results.c.sop_instance_uid, later.c.id > results.c.id)
    return results.c.taken_back_at.is_(None) & ~newer.correlate(results)


def latest_study_result(c: Connection, study_instance_uid: str) -> tuple[int, StudyResult] | None:
    """What was last said of a study, with its id; None if it was not reported on yet."""
    query = select(study_results).join(studies).where(studies.c.study_instance_uid == study_instance_uid)
    row = c.execute(query.order_by(study_results.c.revision.desc()).limit(1)).first()
    return (row.id, _study_result(c, study_instance_uid, row)) if row else None


def reports_of(engine: Engine, ids: Collection[int]) -> dict[int, tuple[StudyResult, list[int]]]:
    """What was said of studies, by the ids of `study_results`, each with the ids of its results."""
    columns = (*study_results.c, studies.c.study_instance_uid)
    query = select(*columns).join(studies, study_results.c.study_id == studies.c.id)
    with readers(engine).connect() as c:
        rows = c.execute(query.where(study_results.c.id.in_(ids))).all()
        return {row.id: (_study_result(c, row.study_instance_uid, row), json.loads(row.result_ids)) for row in rows}


def unsaid(c: Connection, study_id: int, revision: int) -> tuple[tuple[str, int], ...]:
    """What reports before that revision told and no result says now, in this study or another: `StudyResult.unsaid`."""
    earlier = (study_results.c.study_id == study_id) & (study_results.c.revision < revision)
    ids = {
        i for text in c.execute(select(study_results.c.result_ids).where(earlier)).scalars() for i in json.loads(text)
    }
    told = _statements(c, results.c.id.in_(ids))
    stand = _statements(c, results.c.sop_instance_uid.in_(told), _stands())
    return tuple((uid, n) for uid, most in told.items() for n in range(stand.get(uid, 0) + 1, most + 1))


def _statements(c: Connection, *which: ColumnElement[bool]) -> dict[str, int]:
    """By SOP Instance UID: the most that one of those results says of a radiograph."""
    most: dict[str, int] = {}
    query = select(results.c.sop_instance_uid, results.c.record).where(*which).order_by(results.c.id)
    for uid, record in c.execute(query).tuples():
        most[uid] = max(most.get(uid, 0), Result.from_json(record).statements)
    return most


def _study_result(c: Connection, study_instance_uid: str, row: Row[Any]) -> StudyResult:
    ids = json.loads(row.result_ids)
    records = dict(c.execute(select(results.c.id, results.c.record).where(results.c.id.in_(ids))).tuples().all())
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
        results=tuple(Result.from_json(records[i]) for i in ids),
        revision=row.revision,
        predecessor=predecessor,
        unsaid=unsaid(c, row.study_id, row.revision),
    )


def record_study_result(
    c: Connection, study_id: int, study: StudyResult, result_ids: list[int], outgoing: Iterable[Outgoing]
) -> None:
    """Write what is said of a study and its deliveries within the transaction that ends the study's job."""
    earlier = select(study_results.c.id).where(study_results.c.study_id == study_id)
    supersede(c, deliveries.c.study_result_id.in_(earlier), study.revision)
    values = {
        "study_id": study_id,
        "revision": study.revision,
        "result_ids": json.dumps(result_ids),
        "created_at": study.created_at,
    }
    key = c.execute(insert(study_results).values(**values)).inserted_primary_key
    queue_deliveries(c, outgoing, study.study_instance_uid, study_result_id=key[0] if key else None)


def reject(c: Connection, sop_instance_uids: Collection[str], reason: str, settling: Study) -> None:
    """An archive takes radiographs back: what is pending about them stays here, and reports leave them out.

    What has left already is for a person to withdraw.
    """
    rejected = results.c.sop_instance_uid.in_(sop_instance_uids)
    of_instances = select(instances.c.id).where(instances.c.sop_instance_uid.in_(sop_instance_uids))
    drop(c, analyses, analyses.c.instance_id.in_(of_instances), REJECTED, reason)
    take_back(c, rejected)
    in_studies = set(c.execute(select(results.c.study_instance_uid).where(rejected)).scalars())
    of_reports = deliveries.c.study_result_id.is_not(None) & deliveries.c.study_instance_uid.in_(in_studies)
    about = or_(deliveries.c.result_id.in_(select(results.c.id).where(rejected)), of_reports)
    drop(c, deliveries, about, REJECTED, reason)
    for study_instance_uid in in_studies:
        report_anew(c, study_instance_uid, settling, REJECTED, reason)


def take_back(c: Connection, which: ColumnElement[bool]) -> None:
    """No report speaks of these results any more."""
    c.execute(update(results).where(which, results.c.taken_back_at.is_(None)).values(taken_back_at=now()))


def report_anew(c: Connection, study_instance_uid: str, settling: Study, code: ReasonCode, reason: str) -> None:
    """A study that has lost a radiograph is reported on with what is left, or no more."""
    standing = select(results.c.id).where(results.c.study_instance_uid == study_instance_uid, _stands())
    if c.execute(standing.limit(1)).first():
        queue_study(c, study_instance_uid, settling)
        return
    drop(c, studies, studies.c.study_instance_uid == study_instance_uid, code, reason)
