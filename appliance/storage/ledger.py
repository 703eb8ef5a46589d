"""What is written together: an instance with its job, a result with the deliveries that it implies."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, Select, exists, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from appliance.config import Study
from appliance.domain.job import TABLE, Event, State
from appliance.domain.result import Predecessor, Result
from appliance.domain.study import StudyResult
from appliance.errors import OsteonError

from .database import now, readers
from .tables import analyses, deliveries, instances, results, roles, studies, study_results

REJECTED = "source_rejected"
"""Code of what is not done any more, since an archive has rejected the radiograph that it is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """An instance as the receiver knows it."""

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    digest: str
    size_bytes: int
    calling_ae_title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """An answer that lies in the spool under `digest`, and the destination that it is for.

    `refused` is set when the answer could not be made: there is no digest, and the delivery is parked with the reason.
    """

    destination: str
    kind: str
    identifier: str
    digest: str
    refused: OsteonError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The last revision for an instance, the analysis that made it, what it was made from and when that came."""

    predecessor: Predecessor
    analysis_id: int
    source_digest: str
    received_at: datetime

    @property
    def revision(self) -> int:
        """Of the answer, from 1."""
        return self.predecessor.revision


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


def keep_instance(engine: Engine, received: Received) -> bool:
    """Record an instance and queue its analysis, durably; False if the same bytes came last, and nobody misses them.

    Bytes that came before others are what the sender means now: a correction that is taken back is analysed again. So
    are bytes that the spool had lost.
    """
    with engine.begin() as c:
        moment = now()
        if known := _known(c, received):
            c.execute(update(instances).where(instances.c.id == known.id).values(pruned_at=None))
            is_missed = known.state == State.PARKED and known.code.startswith("spool_")
            if known.is_latest and not is_missed:
                return False
            c.execute(update(instances).where(instances.c.id == known.id).values(received_at=moment))
            again = [state for state, event in TABLE if event is Event.RETRY]
            requeue = update(analyses).where(analyses.c.id == known.analysis_id, analyses.c.state.in_(again))
            c.execute(requeue.values(state=State.QUEUED, attempts=0, not_before=moment, code="", reason=""))
            return True
        values = {name: getattr(received, name) for name in Received.__slots__}
        row = c.execute(insert(instances).values(**values, received_at=moment)).inserted_primary_key
        c.execute(
            insert(analyses).values(
                instance_id=row[0] if row else None,
                state=State.QUEUED,
                attempts=0,
                not_before=moment,
                code="",
                reason="",
                created_at=moment,
            )
        )
    return True


def _known(c: Connection, received: Received) -> Row[Any] | None:
    """The instance of the same UID and bytes with its analysis, and whether it is the last that came of that UID."""
    later = instances.alias()
    is_latest = ~exists().where(
        later.c.sop_instance_uid == instances.c.sop_instance_uid, later.c.received_at > instances.c.received_at
    )
    query = (
        select(
            instances.c.id,
            analyses.c.id.label("analysis_id"),
            analyses.c.state,
            analyses.c.code,
            is_latest.label("is_latest"),
        )
        .join(analyses, analyses.c.instance_id == instances.c.id)
        .where(instances.c.sop_instance_uid == received.sop_instance_uid, instances.c.digest == received.digest)
    )
    return c.execute(query).first()


def is_answer(engine: Engine, identifier: str) -> bool:
    """Whether an object of that SOP Instance UID is an answer that we made."""
    with readers(engine).connect() as c:
        return c.execute(select(deliveries.c.id).where(deliveries.c.identifier == identifier)).first() is not None


def instance_of(engine: Engine, analysis_id: int) -> Row[Any]:
    """The row of `instances` that an analysis is about."""
    with engine.connect() as c:
        query = select(instances).join(analyses, analyses.c.instance_id == instances.c.id)
        return c.execute(query.where(analyses.c.id == analysis_id)).one()


def latest_answer(engine: Engine, sop_instance_uid: str) -> Answered | None:
    """What was last answered for an instance, whichever bytes it came as."""
    of_instance = instances.c.sop_instance_uid == sop_instance_uid
    columns = (results.c.analysis_id, results.c.source_digest, results.c.record, instances.c.received_at)
    with engine.connect() as c:
        query = select(*columns).select_from(_RESULTS_OF_INSTANCES).where(of_instance).order_by(results.c.id)
        rows = c.execute(query).all()
    if not rows:
        return None
    last = rows[-1]
    made = Result.from_json(last.record)
    return Answered(
        predecessor=Predecessor(revision=made.revision, pack_digest=made.provenance.pack_digest),
        analysis_id=last.analysis_id,
        source_digest=last.source_digest,
        received_at=last.received_at,
    )


_RESULTS_OF_INSTANCES = results.join(analyses, results.c.analysis_id == analyses.c.id).join(
    instances, analyses.c.instance_id == instances.c.id
)


def record_result(
    c: Connection,
    analysis_id: int,
    result: Result,
    outgoing: Iterable[Outgoing],
    *,
    source_digest: str = "",
    picture_digest: str = "",
    patient_digest: str = "",
    settling: Study | None = None,
) -> None:
    """Write `result` and its deliveries within the transaction that ends the analysis, and queue its study.

    What earlier revisions still have to deliver is dropped, with the reports that speak of them: a corrected answer
    must not be followed by its predecessor. What has moved to another study is left out of its former one.

    Parameters
    ----------
    source_digest
        Tells whether the instance, when it comes again, is another one.
    picture_digest
        Of the overlay as PNG, for the summary of the study.
    patient_digest
        Of the patient whom the radiograph names; empty if it names none.
    settling
        When the study is to be reported on; None: at once.
    """
    of_radiograph = results.c.sop_instance_uid == result.sop_instance_uid
    _supersede(c, deliveries.c.result_id.in_(select(results.c.id).where(of_radiograph)), result.revision)
    in_studies = set(c.execute(select(results.c.study_instance_uid).where(of_radiograph)).scalars())
    reports = deliveries.c.study_result_id.is_not(None) & deliveries.c.study_instance_uid.in_(in_studies)
    _supersede(c, reports, result.revision)
    values = {
        "analysis_id": analysis_id,
        "sop_instance_uid": result.sop_instance_uid,
        "study_instance_uid": result.study_instance_uid,
        "record": result.to_json(),
        "source_digest": source_digest,
        "picture_digest": picture_digest,
        "patient_digest": patient_digest,
        "created_at": result.created_at,
    }
    key = c.execute(insert(results).values(**values)).inserted_primary_key
    queue_deliveries(c, outgoing, result.study_instance_uid, result_id=key[0] if key else None)
    settling = settling or Study(settle_s=0)
    _queue_study(c, result.study_instance_uid, settling)
    for former in in_studies - {result.study_instance_uid}:
        _report_anew(c, former, settling, "superseded", "its radiographs are another study's now")


def _queue_study(c: Connection, study_instance_uid: str, settling: Study) -> None:
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
        query = _parts().where(results.c.study_instance_uid == in_study)
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


def _parts() -> Select[Any]:
    columns = (results, instances.c.digest, instances.c.calling_ae_title)
    return select(*columns).select_from(_RESULTS_OF_INSTANCES)


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
    )


def record_study_result(
    c: Connection, study_id: int, study: StudyResult, result_ids: list[int], outgoing: Iterable[Outgoing]
) -> None:
    """Write what is said of a study and its deliveries within the transaction that ends the study's job."""
    earlier = select(study_results.c.id).where(study_results.c.study_id == study_id)
    _supersede(c, deliveries.c.study_result_id.in_(earlier), study.revision)
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
    moment = now()
    ended = {"state": State.DROPPED, "code": REJECTED, "reason": reason, "finished_at": moment, "lease_owner": None}
    droppable = [state for state, event in TABLE if event is Event.DROP]
    rejected = results.c.sop_instance_uid.in_(sop_instance_uids)
    of_instances = select(instances.c.id).where(instances.c.sop_instance_uid.in_(sop_instance_uids))
    analysis = analyses.c.instance_id.in_(of_instances)
    c.execute(update(analyses).where(analysis, analyses.c.state.in_(droppable)).values(**ended))
    take_back(c, rejected)
    in_studies = set(c.execute(select(results.c.study_instance_uid).where(rejected)).scalars())
    of_reports = deliveries.c.study_result_id.is_not(None) & deliveries.c.study_instance_uid.in_(in_studies)
    about = or_(deliveries.c.result_id.in_(select(results.c.id).where(rejected)), of_reports)
    c.execute(update(deliveries).where(about, deliveries.c.state.in_(droppable)).values(**ended))
    for study_instance_uid in in_studies:
        _report_anew(c, study_instance_uid, settling, REJECTED, reason)


def take_back(c: Connection, which: ColumnElement[bool]) -> None:
    """No report speaks of these results any more."""
    c.execute(update(results).where(which, results.c.taken_back_at.is_(None)).values(taken_back_at=now()))


def _report_anew(c: Connection, study_instance_uid: str, settling: Study, code: str, reason: str) -> None:
    """A study that has lost a radiograph is reported on with what is left, or no more."""
    standing = select(results.c.id).where(results.c.study_instance_uid == study_instance_uid, _stands())
    if c.execute(standing.limit(1)).first():
        _queue_study(c, study_instance_uid, settling)
        return
    ended = {"state": State.DROPPED, "code": code, "reason": reason, "finished_at": now(), "lease_owner": None}
    droppable = [state for state, event in TABLE if event is Event.DROP]
    of_study = studies.c.study_instance_uid == study_instance_uid
    c.execute(update(studies).where(of_study, studies.c.state.in_(droppable)).values(**ended))


def _supersede(c: Connection, which: ColumnElement[bool], revision: int) -> None:
    droppable = [state for state, event in TABLE if event is Event.DROP]
    reason = f"revision {revision} takes its place"
    c.execute(
        update(deliveries)
        .where(which, deliveries.c.state.in_(droppable))
        .values(state=State.DROPPED, code="superseded", reason=reason, finished_at=now())
    )


def queue_deliveries(c: Connection, outgoing: Iterable[Outgoing], study_instance_uid: str, **of: int | None) -> None:
    """Write the deliveries of a result, of a study's or of none, as `of` says."""
    moment = now()
    for o in outgoing:
        c.execute(
            insert(deliveries).values(
                **of,
                study_instance_uid=study_instance_uid,
                destination=o.destination,
                kind=o.kind,
                identifier=o.identifier,
                digest=o.digest,
                state=State.PARKED if o.refused else State.QUEUED,
                attempts=0,
                not_before=moment,
                code=o.refused.code if o.refused else "",
                reason=o.refused.reason if o.refused else "",
                created_at=moment,
            )
        )


def beat(engine: Engine, role: str, started_at: datetime, detail: str) -> None:
    """Tell the status page that `role` is alive, and in a sentence how it is doing."""
    values = {"role": role, "pid": os.getpid(), "started_at": started_at, "beat_at": now(), "detail": detail}
    upsert = (sqlite if engine.dialect.name == "sqlite" else postgresql).insert(roles).values(**values)
    with engine.begin() as c:
        c.execute(upsert.on_conflict_do_update(index_elements=[roles.c.role], set_=values))


def forget_role(engine: Engine, role: str) -> None:
    """A role that stopped in order is not missing."""
    with engine.begin() as c:
        c.execute(update(roles).where(roles.c.role == role).values(detail="stopped"))
