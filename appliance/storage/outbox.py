"""What the outbox asks and writes beyond its queue: order within a study, what the peers have, their reports."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Engine, Row, Select, and_, exists, or_, select, update

from appliance.domain.job import Event, State, next_state
from appliance.errors import Rejected

from .database import now, readers
from .ledger import Outgoing, queue_deliveries
from .tables import deliveries, results, studies

UNSENT: dict[str, Any] = {"stored_at": None, "proven_at": None, "transaction_uid": ""}
"""Columns of a delivery that is to be sent, whatever became of it before."""


OTHERWISE = "delivered_otherwise"
"""Code of what went in another form than the best one, since the peer does not take that."""


UNPROVEN = ("delivered", OTHERWISE, "already_there")
"""Codes of what is stored; while it waits for its proof they are no errors."""

REVOCATIONS = ("rejection", "oru_withdrawal", "fhir_withdrawal")
"""Kinds that take back what others have said; they are not taken back themselves."""

WITHDRAWN = "withdrawn"
"""Code of what was taken back."""


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


def study_of(engine: Engine, uid: str) -> tuple[int, str]:
    """Id and UID of the study that is `uid`, or has a radiograph or an answer of that UID.

    Raises
    ------
    Rejected
        ``nothing_answered``.
    """
    of_radiograph = select(results.c.study_instance_uid).where(results.c.sop_instance_uid == uid)
    is_answer = or_(deliveries.c.identifier == uid, deliveries.c.sent_uid == uid)
    of_answer = select(deliveries.c.study_instance_uid).where(is_answer)
    named = studies.c.study_instance_uid
    query = select(studies.c.id, named).where(or_(named == uid, named.in_(of_radiograph), named.in_(of_answer)))
    with readers(engine).connect() as c:
        row = c.execute(query).first()
    if row is None:
        raise Rejected("nothing_answered", "nothing was answered under that UID: see osteon queue find UID")
    return row.id, row.study_instance_uid


def went_out(engine: Engine, study_instance_uid: str) -> list[Row[Any]]:
    """Deliveries of a study that their peers have, or may have since they are on the wire, and that stand."""
    with readers(engine).connect() as c:
        return list(c.execute(_went_out(study_instance_uid)))


def _went_out(study_instance_uid: str) -> Select[Any]:
    d = deliveries.c
    has = or_(d.state.in_([State.DONE, State.LEASED]), d.stored_at.is_not(None))
    of_study = and_(d.study_instance_uid == study_instance_uid, d.code != WITHDRAWN, d.kind.not_in(REVOCATIONS))
    return select(deliveries).where(of_study, has, d.digest != "").order_by(d.id)


def record_withdrawal(
    engine: Engine,
    study_id: int,
    study_instance_uid: str,
    revoked: Collection[int],
    outgoing: Iterable[Outgoing],
    reason: str,
) -> int | None:
    """Drop what has not left, mark what is revoked, and queue the revocations; how many were dropped.

    None, and nothing is written, if more than `revoked` has left by now.
    """
    d = deliveries.c
    said = {"code": WITHDRAWN, "reason": f"withdrawn: {reason}"}
    open_states = [State.QUEUED, State.LEASED, State.PARKED]
    with engine.begin() as c:
        if {row.id for row in c.execute(_went_out(study_instance_uid))} != set(revoked):
            return None
        c.execute(update(deliveries).where(d.id.in_(list(revoked)), d.state == State.DONE).values(**said))
        pending = update(deliveries).where(
            d.study_instance_uid == study_instance_uid, d.state.in_(open_states), d.kind.not_in(REVOCATIONS)
        )
        ended = {"state": State.DROPPED, "finished_at": now(), "lease_owner": None}
        dropped = c.execute(pending.values(**said, **ended)).rowcount
        report = update(studies).where(studies.c.id == study_id, studies.c.state.in_(open_states))
        c.execute(report.values(**said, **ended))
        queue_deliveries(c, outgoing, study_instance_uid)
    return dropped
