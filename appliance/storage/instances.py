"""The instances received, each with the job of its analysis."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, exists, func, insert, select, update

from appliance.clock import now
from appliance.domain.code_sets import SPOOL_LOST
from appliance.domain.job import Backoff, Event, State
from appliance.domain.reason import ReasonCode
from appliance.domain.received import Received

from .queue import Queue
from .tables import analyses, instances
from .transitions import add_job, move_jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisJob:
    """The job of analysing one instance.

    Attributes
    ----------
    receipt
        Number of the receipt under its SOP Instance UID: a higher one came later.
    code
        Code of the newest failure; empty if no attempt failed.
    """

    analysis_id: int
    instance: Received
    receipt: int
    code: ReasonCode


class AnalysisQueue(Queue):
    """The radiographs to analyse."""

    def __init__(
        self, engine: Engine, owner: str, *, most_attempts: int | None = None, backoff: Backoff | None = None
    ) -> None:
        super().__init__(engine, analyses, owner, most_attempts=most_attempts, backoff=backoff)


def keep_instance(engine: Engine, received: Received) -> bool:
    """Record an instance and queue its analysis, durably; return False for a repeat that changes nothing.

    The newest bytes of a SOP Instance UID count. Bytes that were replaced since and are received again undo the
    correction, and are analysed again; so are bytes that the spool had lost.
    """
    with engine.begin() as c:
        moment, receipt = now(), _next_receipt(c, received.sop_instance_uid)
        if known := _known_instance(c, received):
            c.execute(update(instances).where(instances.c.id == known.id).values(pruned_at=None))
            is_lost = known.state is State.PARKED and known.code in SPOOL_LOST
            if known.is_latest and not is_lost:
                return False
            c.execute(update(instances).where(instances.c.id == known.id).values(received_at=moment, receipt=receipt))
            fresh = {
                "attempts": 0,
                "delays": 0,
                "not_before": moment,
                "code": ReasonCode.NONE,
                "reason": "",
                "created_at": moment,
            }
            move_jobs(c, analyses, analyses.c.id == known.analysis_id, Event.RETRY, **fresh)
            return True
        row = asdict(received) | {"received_at": moment, "receipt": receipt}
        key = c.execute(insert(instances).values(**row)).inserted_primary_key
        add_job(c, analyses, instance_id=key[0] if key else None)
    return True


def _next_receipt(c: Connection, sop_instance_uid: str) -> int:
    newest = select(func.max(instances.c.receipt)).where(instances.c.sop_instance_uid == sop_instance_uid)
    return (c.execute(newest).scalar() or 0) + 1


def last_received_at(c: Connection, sop_instance_uid: str) -> datetime | None:
    """Return the latest time at which bytes of that SOP Instance UID were received; None if none ever were."""
    newest = select(func.max(instances.c.received_at)).where(instances.c.sop_instance_uid == sop_instance_uid)
    return c.execute(newest).scalar()


def _known_instance(c: Connection, received: Received) -> Row[Any] | None:
    """Return the instance of the same UID and bytes with its analysis, and whether no other bytes came since."""
    later = instances.alias()
    is_latest = ~exists().where(
        later.c.sop_instance_uid == instances.c.sop_instance_uid, later.c.receipt > instances.c.receipt
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


def analysis_jobs(engine: Engine, analysis_ids: Collection[int]) -> list[AnalysisJob]:
    """Return the jobs of those analyses with their instances, oldest analysis first."""
    query = select(instances, analyses.c.id.label("analysis_id"), analyses.c.code).join(analyses)
    with engine.connect() as c:
        rows = c.execute(query.where(analyses.c.id.in_(analysis_ids)).order_by(analyses.c.id)).all()
    return [
        AnalysisJob(
            analysis_id=row.analysis_id,
            instance=Received(
                sop_instance_uid=row.sop_instance_uid,
                sop_class_uid=row.sop_class_uid,
                transfer_syntax_uid=row.transfer_syntax_uid,
                digest=row.digest,
                size_bytes=row.size_bytes,
                calling_ae_title=row.calling_ae_title,
            ),
            receipt=row.receipt,
            code=row.code,
        )
        for row in rows
    ]
