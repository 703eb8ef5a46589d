"""What the outbox asks and writes beyond its queue: order within a study, what the peers have, their reports."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Engine, Row, Select, and_, delete, exists, insert, or_, select, update

from appliance.clock import now
from appliance.domain.job import Backoff, Event, State, next_state
from appliance.domain.reason import ReasonCode
from appliance.errors import Rejected

from .database import readers
from .outgoing import Outgoing, drop, queue_deliveries
from .studies import take_back
from .tables import commitments, deliveries, results, studies

UNSENT: dict[str, Any] = {"stored_at": None, "proven_at": None, "transaction_uid": ""}
"""Columns of a delivery that is to be sent, whatever became of it before."""


MOST_REFUTED = 5
"""So often is sent again what a PACS does not have although it stored it; then a person has to look."""

REPORTS_FOR = timedelta(days=30)
"""So late may a report of storage commitment be."""

NO_REPORT = "; no report of commitment since "
"""Words on what is stored and unproven, before the moment at which it was stored."""

OTHERWISE = ReasonCode.DELIVERED_OTHERWISE
"""Code of what went in another form than the best one, since the peer does not take that."""


UNPROVEN = (ReasonCode.DELIVERED, OTHERWISE, ReasonCode.ALREADY_THERE)
"""Codes of what is stored; while it waits for its proof they are no errors."""

REVOCATIONS = ("rejection", "oru_withdrawal", "fhir_withdrawal", "order_withdrawal")
"""Kinds that take back what others have said; they are not taken back themselves."""

WITHDRAWN = ReasonCode.WITHDRAWN
"""Code of what was taken back."""

REROUTED = ReasonCode.REROUTED
"""Code of what keeps on record that a peer may have what was taken elsewhere."""

NEVER_SENT = (
    ReasonCode.UNREACHABLE,
    ReasonCode.ASSOCIATION_REJECTED,
    ReasonCode.NO_FIND,
    ReasonCode.STUDY_NOT_THERE,
    ReasonCode.IDENTITY_CHANGED,
    ReasonCode.NEVER_MADE,
)
"""Codes of an attempt that ended before anything was sent."""

NOT_KEPT = (ReasonCode.STORE_REJECTED, ReasonCode.MLLP_REFUSED, ReasonCode.NOT_DICOM)
"""Codes of an attempt that ended with the peer's refusal, or ours."""


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


def begin_transaction(engine: Engine, destination: str, ids: Iterable[int], transaction_uid: str) -> None:
    """Note under which Transaction UID proof is asked for, before it is: the report may come at once."""
    moment = now()
    asked = {"transaction_uid": transaction_uid, "destination": destination, "asked_at": moment}
    with engine.begin() as c:
        c.execute(delete(commitments).where(commitments.c.asked_at < moment - REPORTS_FOR))
        c.execute(insert(commitments).values(**asked))
        mine = update(deliveries).where(deliveries.c.id.in_(list(ids)))
        c.execute(mine.values(transaction_uid=transaction_uid))


def note_sent(engine: Engine, delivery_id: int, sent: Mapping[str, Any]) -> None:
    """Write down as what and since when a peer has a delivery that was dropped while it was on the wire."""
    if sent:
        dropped = (deliveries.c.id == delivery_id) & (deliveries.c.state == State.DROPPED)
        with engine.begin() as c:
            c.execute(update(deliveries).where(dropped).values(**sent))


def record_commitment(
    engine: Engine, transaction_uid: str, committed: Collection[str], failed: Mapping[str, tuple[str, str, bool]]
) -> int:
    """Write down a report of storage commitment that came by itself; of how many deliveries.

    What is committed may have been asked for again meanwhile; what is not, is believed in the last report alone.

    Parameters
    ----------
    failed
        By SOP Instance UID: code and reason, and whether it is for a person; else it is sent again.
    """
    moment, d, asked = now(), deliveries.c, commitments.c
    with engine.begin() as c:
        is_last = d.transaction_uid == transaction_uid
        open_ = (
            select(deliveries)
            .join(commitments, asked.destination == d.destination)
            .where(
                asked.transaction_uid == transaction_uid,
                d.stored_at <= asked.asked_at,
                d.state.in_([State.QUEUED, State.LEASED]),
                or_(d.sent_uid.in_(list(committed)), and_(is_last, d.sent_uid.in_(list(failed)))),
            )
        )
        rows = c.execute(open_).all()
        for row in rows:
            values: dict[str, Any] = {"lease_owner": None}
            if row.sent_uid in committed:
                values |= _proven(row, moment)
            else:
                code, reason, is_for_good = failed[row.sent_uid]
                again = sent_again(row)
                is_enough = is_for_good or again["refuted"] >= MOST_REFUTED
                state = State.PARKED if is_enough else State.QUEUED
                values |= again | {"state": state, "code": code, "reason": reason}
            c.execute(update(deliveries).where(deliveries.c.id == row.id).values(**values))
    return len(rows)


def proven_words(row: Row[Any], how: str) -> tuple[ReasonCode, str]:
    """Code and reason of a delivery that the PACS vouches for; that it went in another form stays on record."""
    if row.code == OTHERWISE:
        return OTHERWISE, f"{_without_wait(row)}; {how}"
    return ReasonCode.IN_PACS, how


def unreported(row: Row[Any]) -> str:
    """Reason of a delivery that is stored, and asked about without an answer."""
    return f"{_without_wait(row)}{NO_REPORT}{row.stored_at:%Y-%m-%d %H:%M} UTC"


def _without_wait(row: Row[Any]) -> str:
    return str(row.reason.partition(NO_REPORT)[0])


def sent_again(row: Row[Any]) -> dict[str, Any]:
    """Columns of what the PACS does not have after all; each time it waits four times as long."""
    refuted = row.refuted + 1
    return UNSENT | {"refuted": refuted, "not_before": Backoff().after(2 * refuted, now())}


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
        raise Rejected(ReasonCode.NOTHING_ANSWERED, "nothing was answered under that UID: see osteon queue find UID")
    return row.id, row.study_instance_uid


def went_out(engine: Engine, study_instance_uid: str) -> list[Row[Any]]:
    """Deliveries of a study that their peers have, or may have since they were tried, and that stand."""
    with readers(engine).connect() as c:
        return list(c.execute(_went_out(study_instance_uid)))


def _went_out(study_instance_uid: str) -> Select[Any]:
    d = deliveries.c
    of_study = and_(d.study_instance_uid == study_instance_uid, d.code != WITHDRAWN, d.kind.not_in(REVOCATIONS))
    return select(deliveries).where(of_study, _may_be_there()).order_by(d.id)


def _may_be_there() -> ColumnElement[bool]:
    d = deliveries.c
    in_vain = or_(d.code == ReasonCode.NOT_TAKEN, and_(d.attempts == 1, d.code.in_([*NEVER_SENT, *NOT_KEPT])))
    is_there = or_(d.state.in_([State.DONE, State.LEASED]), d.stored_at.is_not(None), d.sent_uid != "")
    return and_(or_(is_there, and_(d.attempts > 0, ~in_vain)), d.digest != "")


def take_elsewhere(engine: Engine, delivery_id: int, destination: str) -> State:
    """Queue a delivery for another destination, at once; its new state.

    Where the former one may have it, that stays on record, for a withdrawal, until the delivery comes back to it.

    Raises
    ------
    KeyError
        If there is no such delivery.
    ImpossibleTransition
        If it is on the wire, or has ended.
    IntegrityError
        If the destination has a delivery of the same already.
    """
    d, moment = deliveries.c, now()
    with engine.begin() as c:
        row = c.execute(select(deliveries, _may_be_there().label("may_be_there")).where(d.id == delivery_id)).first()
        if row is None:
            raise KeyError(delivery_id)
        state = next_state(State(row.state), Event.RETRY)
        same = and_(d.kind == row.kind, d.identifier == row.identifier, d.code == REROUTED)
        was_there = c.execute(delete(deliveries).where(same, d.destination == destination)).rowcount > 0
        moved = {"destination": destination, "state": state, "attempts": int(was_there), "refuted": 0, "code": ""}
        moved |= {
            "reason": f"rerouted to {destination}",
            "not_before": moment,
            "lease_owner": None,
            "finished_at": None,
        }
        moved |= UNSENT | {"sent_class_uid": "", "sent_uid": ""}
        c.execute(update(deliveries).where(d.id == delivery_id).values(**moved))
        if row.may_be_there:
            left = {column.name: row._mapping[column] for column in d if column is not d.id}
            left |= {"state": State.DROPPED, "code": REROUTED, "reason": moved["reason"], "finished_at": moment}
            c.execute(insert(deliveries).values(**left))
    return state


def flagged_at(engine: Engine, study_instance_uid: str) -> dict[str, int]:
    """By destination: the report, of `study_results`, whose order update went there last and was not taken back.

    A withdrawal's update is sent whatever comes; a revision's is dropped by the next one.
    """
    d = deliveries.c
    counts = or_(_may_be_there(), and_(d.study_result_id.is_(None), d.state != State.DROPPED))
    update_of = and_(d.study_instance_uid == study_instance_uid, d.kind.in_(["order", "order_withdrawal"]))
    query = select(d.destination, d.kind, d.study_result_id).where(update_of, counts).order_by(d.id)
    with readers(engine).connect() as c:
        last = {row.destination: row for row in c.execute(query)}
    return {name: row.study_result_id for name, row in last.items() if row.kind == "order"}


def record_withdrawal(
    engine: Engine,
    study_id: int,
    study_instance_uid: str,
    gone: Collection[int],
    outgoing: Collection[Outgoing],
    reason: str,
) -> int | None:
    """Drop what has not left, mark what `outgoing` revokes, and queue that; how many were dropped.

    None, and nothing is written, if more than `gone` has left by now.
    """
    d = deliveries.c
    said = f"withdrawn: {reason}"
    with engine.begin() as c:
        if {row.id for row in c.execute(_went_out(study_instance_uid))} != set(gone):
            return None
        is_revoked = and_(d.id.in_(list(gone)), d.destination.in_([o.destination for o in outgoing]))
        ended_before = d.state.in_([State.DONE, State.DROPPED])
        c.execute(update(deliveries).where(is_revoked, ended_before).values(code=WITHDRAWN, reason=said))
        is_a_reports = or_(d.kind.not_in(REVOCATIONS), d.study_result_id.is_not(None))
        pending = and_(d.study_instance_uid == study_instance_uid, is_a_reports)
        dropped = drop(c, deliveries, pending, WITHDRAWN, said)
        drop(c, studies, studies.c.id == study_id, WITHDRAWN, said)
        take_back(c, results.c.study_instance_uid == study_instance_uid)
        queue_deliveries(c, outgoing, study_instance_uid)
    return dropped
