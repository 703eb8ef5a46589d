"""Storage commitment: the requests, and the results that a PACS reports on an association of its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, and_, delete, func, insert, or_, select

from appliance.clock import now
from appliance.domain.job import Event, State
from appliance.domain.reason import ReasonCode

from .deliveries import delivery_of
from .proofs import MOST_REFUTED, proven_outcome, refuted_columns
from .tables import commitments, deliveries
from .transitions import move_job

KEPT_FOR = timedelta(days=30)
"""A request is kept for so long; a commitment result that comes later is ignored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentFailure:
    """The reason for which a PACS does not vouch for an object.

    Attributes
    ----------
    is_for_good
        Whether sending the object again cannot help.
    """

    code: ReasonCode
    reason: str
    is_for_good: bool


def keep_request(c: Connection, transaction_uid: str, destination: str) -> None:
    """Record a request for storage commitment, and forget requests older than `KEPT_FOR`."""
    moment = now()
    c.execute(delete(commitments).where(commitments.c.asked_at < moment - KEPT_FOR))
    row = {"transaction_uid": transaction_uid, "destination": destination, "asked_at": moment}
    c.execute(insert(commitments).values(**row))


def newest_request() -> ColumnElement[int]:
    """Return the id of the newest request, 0 without one: an object that is stored now is part of later ones only."""
    return func.coalesce(select(func.max(commitments.c.id)).scalar_subquery(), 0)


def record_commitment(
    engine: Engine, transaction_uid: str, committed: Collection[str], failed: Mapping[str, CommitmentFailure]
) -> int:
    """Record a commitment result that a PACS reported by itself; return the number of deliveries concerned.

    An object is taken as committed although a newer request was made since. A failure counts only in the result of the
    newest request.

    Parameters
    ----------
    committed
        SOP Instance UIDs.
    failed
        By SOP Instance UID.
    """
    d, asked = deliveries.c, commitments.c
    is_newest = d.transaction_uid == transaction_uid
    open_deliveries = (
        select(deliveries)
        .join(commitments, asked.destination == d.destination)
        .where(
            asked.transaction_uid == transaction_uid,
            d.stored_after < asked.id,
            d.state.in_([State.QUEUED, State.LEASED]),
            or_(d.sent_uid.in_(list(committed)), and_(is_newest, d.sent_uid.in_(list(failed)))),
        )
    )
    with engine.begin() as c:
        found = [delivery_of(row) for row in c.execute(open_deliveries)]
        for delivery in found:
            if delivery.sent_uid in committed:
                moment = now()
                code, reason = proven_outcome(delivery, "committed")
                event = Event.CONFIRM
                columns: dict[str, Any] = {"proven_at": moment, "finished_at": moment, "unanswered_at": None}
            else:
                failure = failed[delivery.sent_uid]
                code, reason = failure.code, failure.reason
                columns = refuted_columns(delivery)
                is_enough = failure.is_for_good or columns["refuted"] >= MOST_REFUTED
                event = Event.PARK if is_enough else Event.REFUTE
            columns |= {"code": code, "reason": reason, "lease_owner": None}
            move_job(c, deliveries, delivery.delivery_id, event, **columns)
    return len(found)
