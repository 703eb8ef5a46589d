"""What is written together: an instance with its job, a result with the deliveries that it implies."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, exists, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from appliance.clock import now
from appliance.config import Study
from appliance.domain.job import Event, State, states_that_can
from appliance.domain.reason import ReasonCode
from appliance.domain.received import Received
from appliance.domain.result import Predecessor, Result

from .database import readers
from .outgoing import Outgoing, queue_deliveries, supersede
from .studies import queue_study, report_anew
from .tables import analyses, deliveries, instances, results, roles


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
            again = analyses.c.state.in_(states_that_can(Event.RETRY))
            requeue = update(analyses).where(analyses.c.id == known.analysis_id, again)
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


def instances_of(engine: Engine, analysis_ids: Collection[int]) -> list[Row[Any]]:
    """What analyses are about, in their order: the rows of `instances`, with the analysis' id and `code` beside."""
    query = select(instances, analyses.c.id.label("analysis_id"), analyses.c.code).join(analyses)
    with engine.connect() as c:
        return list(c.execute(query.where(analyses.c.id.in_(analysis_ids)).order_by(analyses.c.id)).all())


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
    supersede(c, deliveries.c.result_id.in_(select(results.c.id).where(of_radiograph)), result.revision)
    in_studies = set(c.execute(select(results.c.study_instance_uid).where(of_radiograph)).scalars())
    reports = deliveries.c.study_result_id.is_not(None) & deliveries.c.study_instance_uid.in_(in_studies)
    supersede(c, reports, result.revision)
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
    queue_study(c, result.study_instance_uid, settling)
    for former in in_studies - {result.study_instance_uid}:
        report_anew(c, former, settling, ReasonCode.SUPERSEDED, "its radiographs are another study's now")


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
