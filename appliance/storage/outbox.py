"""What the outbox asks and writes beyond its queue: order within a study, what the peers have, their reports."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Engine, Row, and_, exists, or_, select, update

from appliance.domain.job import Event, State, next_state

from .database import now, readers
from .tables import deliveries

UNSENT: dict[str, Any] = {"stored_at": None, "proven_at": None, "transaction_uid": ""}
"""Columns of a delivery that is to be sent, whatever became of it before."""


OTHERWISE = "delivered_otherwise"
"""Code of what went in another form than the best one, since the peer does not take that."""


def in_order() -> ColumnElement[bool]:
    """Whether no earlier delivery of the same study to the same destination is being sent, or waits out a back-off.

    What is parked holds up nothing, and what is stored and waits for its proof does not either.
    """
    d, earlier = deliveries.c, deliveries.alias()
    e = earlier.c
    waits = or_(e.state == State.LEASED, and_(e.state == State.QUEUED, e.not_before > now()))
    same = and_(e.study_instance_uid == d.study_instance_uid, e.destination == d.destination, e.id < d.id)
    return ~exists().where(same, waits, e.stored_at.is_(None)).correlate(deliveries)


def deliveries_of(engine: Engine, ids: Collection[int]) -> list[Row[Any]]:
    """Rows of `deliveries`, in their order."""
    with readers(engine).connect() as c:
        return list(c.execute(select(deliveries).where(deliveries.c.id.in_(ids)).order_by(deliveries.c.id)))


def begin_transaction(engine: Engine, ids: Iterable[int], transaction_uid: str) -> None:
    """Note under which Transaction UID proof is asked for, before it is: the report may come at once."""
    with engine.begin() as c:
        mine = update(deliveries).where(deliveries.c.id.in_(list(ids)))
        c.execute(mine.values(transaction_uid=transaction_uid))


def record_commitment(
    engine: Engine, transaction_uid: str, committed: Collection[str], failed: Mapping[str, tuple[str, str, bool]]
) -> int:
    """Write down a report of storage commitment that came by itself; of how many deliveries.

    Parameters
    ----------
    failed
        By SOP Instance UID: code and reason, and whether it is for a person; else it is sent again.
    """
    moment = now()
    with engine.begin() as c:
        open_ = select(deliveries).where(
            deliveries.c.transaction_uid == transaction_uid,
            deliveries.c.state.in_([State.QUEUED, State.LEASED]),
            deliveries.c.sent_uid.in_([*committed, *failed]),
        )
        rows = c.execute(open_).all() if transaction_uid else []
        for row in rows:
            values: dict[str, Any] = {"lease_owner": None}
            if row.sent_uid in committed:
                values |= _proven(row, moment)
            else:
                code, reason, is_for_good = failed[row.sent_uid]
                state = State.PARKED if is_for_good else State.QUEUED
                values |= UNSENT | {"state": state, "code": code, "reason": reason, "not_before": moment}
            c.execute(update(deliveries).where(deliveries.c.id == row.id).values(**values))
    return len(rows)


def proven_words(row: Row[Any], how: str) -> tuple[str, str]:
    """Code and reason of a delivery that the PACS vouches for; that it went in another form stays on record."""
    return (row.code, f"{row.reason}; {how}") if row.code == OTHERWISE else ("in_pacs", how)


def _proven(row: Row[Any], moment: datetime) -> dict[str, Any]:
    code, reason = proven_words(row, "committed")
    state = next_state(State(row.state), Event.CONFIRM)
    return {"state": state, "code": code, "reason": reason, "proven_at": moment, "finished_at": moment}
