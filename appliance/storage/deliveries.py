"""Deliveries: each is one artefact for one destination, queued in the transaction of its result."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, select

from appliance.clock import local_minute
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.job import Event, State
from appliance.domain.reason import ReasonCode

from .database import readers
from .outgoing import Outgoing
from .tables import deliveries
from .transitions import add_job, drop_jobs, move_job


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One artefact to one destination, as the database has it.

    Attributes
    ----------
    result_id, study_result_id
        The result that the artefact renders, of a radiograph or of a study; both None for a withdrawal.
    digest
        Name of the file in the spool; empty if the artefact could not be made.
    sent_class_uid, sent_uid
        SOP Class and SOP Instance UID under which a PACS has the artefact; empty before it was stored.
    stored_at
        Time at which the PACS stored the artefact.
    unanswered_at
        Time of the newest question for proof that no result came to.
    proven_at
        Time at which the PACS vouched for the artefact.
    refuted
        How often the PACS lacked the artefact although it had stored it.
    refusals, refused_since, refused_in
        How often the peer refused the artefact, since when, and `DestinationState.recoveries` at the newest refusal.
    """

    delivery_id: int
    result_id: int | None
    study_result_id: int | None
    study_instance_uid: str
    destination: str
    kind: ArtefactKind
    page: int
    identifier: str
    digest: str
    state: State
    attempts: int
    code: ReasonCode
    reason: str
    created_at: datetime
    finished_at: datetime | None
    sent_class_uid: str
    sent_uid: str
    stored_at: datetime | None
    unanswered_at: datetime | None
    proven_at: datetime | None
    refuted: int
    refusals: int
    refused_since: datetime | None
    refused_in: int | None

    @property
    def explanation(self) -> str:
        """The reason, with the wait for a commitment result where there is one."""
        return explanation(self.reason, self.stored_at, self.unanswered_at)


def explanation(reason: str, stored_at: datetime | None, unanswered_at: datetime | None) -> str:
    """Return the reason of a delivery for people, with the wait for a commitment result where there is one."""
    if stored_at is None or unanswered_at is None:
        return reason
    return f"{reason}; no commitment result since {local_minute(stored_at)}"


def delivery_of(row: Row[Any]) -> Delivery:
    """Return the record of a row of `deliveries`."""
    return Delivery(
        delivery_id=row.id,
        result_id=row.result_id,
        study_result_id=row.study_result_id,
        study_instance_uid=row.study_instance_uid,
        destination=row.destination,
        kind=row.kind,
        page=row.page,
        identifier=row.identifier,
        digest=row.digest,
        state=row.state,
        attempts=row.attempts,
        code=row.code,
        reason=row.reason,
        created_at=row.created_at,
        finished_at=row.finished_at,
        sent_class_uid=row.sent_class_uid,
        sent_uid=row.sent_uid,
        stored_at=row.stored_at,
        unanswered_at=row.unanswered_at,
        proven_at=row.proven_at,
        refuted=row.refuted,
        refusals=row.refusals,
        refused_since=row.refused_since,
        refused_in=row.refused_in,
    )


def deliveries_by_id(engine: Engine, ids: Collection[int]) -> dict[int, Delivery]:
    """Return deliveries by their ids, in the order of the ids."""
    with readers(engine).connect() as c:
        rows = c.execute(select(deliveries).where(deliveries.c.id.in_(ids)).order_by(deliveries.c.id)).all()
    return {row.id: delivery_of(row) for row in rows}


def is_own_artefact(engine: Engine, identifier: str) -> bool:
    """Return whether an object of that SOP Instance UID is one of our own artefacts."""
    with readers(engine).connect() as c:
        return c.execute(select(deliveries.c.id).where(deliveries.c.identifier == identifier)).first() is not None


def queue_deliveries(
    c: Connection,
    outgoing: Iterable[Outgoing],
    study_instance_uid: str,
    *,
    result_id: int | None = None,
    study_result_id: int | None = None,
) -> None:
    """Queue the deliveries of a radiograph's result, of a study's, or of a withdrawal, which belongs to neither.

    The delivery of an artefact that could not be made is parked with the reason.
    """
    for o in outgoing:
        delivery_id = add_job(
            c,
            deliveries,
            result_id=result_id,
            study_result_id=study_result_id,
            study_instance_uid=study_instance_uid,
            destination=o.destination,
            kind=o.kind,
            page=o.page,
            identifier=o.identifier,
            digest=o.digest,
        )
        if o.refused:
            move_job(c, deliveries, delivery_id, Event.PARK, code=o.refused.code, reason=o.refused.reason)


def supersede(c: Connection, which: ColumnElement[bool], revision: int) -> None:
    """Drop the chosen deliveries that have not ended: `revision` replaces them."""
    drop_jobs(c, deliveries, which, ReasonCode.SUPERSEDED, f"revision {revision} takes its place")
