"""The deliveries as a queue: verbs for the courier of one destination, and for a person at the command line."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Engine, and_, bindparam, delete, exists, false, or_, select, update
from sqlalchemy.exc import IntegrityError

from appliance.clock import now
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.audit import AuditAction, Intervention
from appliance.domain.code_sets import ASKED_TO_WAIT, NEVER_SENT, OWN_FAILURES, REFUSED
from appliance.domain.job import Backoff, Event, Lease, State
from appliance.domain.reason import ReasonCode
from appliance.errors import Away, OsteonError, Rejected, Transient

from .audit import record_job
from .commitments import keep_request, newest_request
from .deliveries import Delivery, deliveries_by_id, delivery_of
from .destinations import DestinationState, destination_state, end_pause, record_failure, record_recovery
from .proofs import MOST_REFUTED, UNREFUSED, UNSENT, proven_outcome, refuted_columns
from .queue import Queue
from .tables import deliveries, results, study_results
from .told_records import current_phases, outdated_deliveries
from .transitions import add_job, move_job

MOST_REFUSALS: Final = 10
REFUSED_FOR: Final = timedelta(hours=24)
"""Refusals, and the time that they span, after which a delivery is parked although the peer takes nothing else: a
proxy or a full archive is repaired within a day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasedDelivery:
    """A delivery, and the lease on it."""

    lease: Lease
    delivery: Delivery


class DeliveryQueue(Queue):
    """The deliveries to every destination."""

    def __init__(self, engine: Engine, owner: str, *, backoff: Backoff | None = None) -> None:
        super().__init__(engine, deliveries, owner, backoff=backoff)

    def lease(self, most: int = 1) -> list[Lease]:
        """Lease up to `most` due deliveries that no earlier one of the same study and destination holds up."""
        if not self._has_work():
            return []
        return self._lease(_is_in_order(one_of_a_study=False), most=most)

    def retry(self, job_id: int, by: Intervention) -> State:
        """Send a delivery again, at once, for a person; a pause of its destination ends.

        Earlier attempts stay on record as one attempt, for a withdrawal. Of dropped deliveries only those that take an
        artefact back can be sent after all: nothing else would make them anew.

        Raises
        ------
        KeyError
            If there is no such delivery.
        ImpossibleTransition
            If the state of the delivery allows no retry.
        Rejected
            ``withdrawn``, or ``outdated`` if a newer artefact has a delivery to the same destination.
        """
        with self._engine.begin() as c:
            delivery = _delivery(c, job_id)
            _require_current(c, delivery, delivery.destination)
            fresh = UNSENT | UNREFUSED | {"refuted": 0, "attempts": min(delivery.attempts, 1)}
            end_pause(c, delivery.destination)
            is_reinstated = delivery.code is ReasonCode.DROPPED and delivery.kind.revokes
            event = Event.REINSTATE if is_reinstated else Event.RETRY
            return self._retry(c, job_id, by, event, **fresh)  # its audit entry comes last, as everywhere: no deadlock

    def reroute(self, delivery_id: int, destination: str, by: Intervention) -> State:
        """Queue a delivery for another destination, at once, for a person; return its new state.

        If the former destination may have the artefact, that stays on record for a withdrawal, as a dropped delivery,
        until the delivery comes back.

        Raises
        ------
        KeyError
            If there is no such delivery.
        ImpossibleTransition
            If the delivery is on the wire, or has ended.
        Rejected
            ``withdrawn``; ``outdated`` or ``already_there`` if the destination has a delivery of a newer artefact, or
            of the same one.
        """
        with self._engine.begin() as c:
            delivery = _delivery(c, delivery_id)
            _require_current(c, delivery, destination)
            try:
                state = _reroute(c, delivery, destination)
            except IntegrityError:
                reason = f"the same artefact has a delivery to {destination} already: drop delivery:{delivery_id}"
                raise Rejected(ReasonCode.ALREADY_THERE, reason) from None
            end_pause(c, destination)
            detail = f"from {delivery.destination} to {destination}"
            record_job(c, by, AuditAction.REROUTE, deliveries, delivery_id, detail)
        return state


class Outbox(DeliveryQueue):
    """The deliveries to one destination, for its courier."""

    def __init__(self, engine: Engine, destination: str, owner: str, *, backoff: Backoff | None = None) -> None:
        super().__init__(engine, owner, backoff=backoff)
        self._own = deliveries.c.destination == destination
        self._destination = self._counted_as = destination
        self._state = DestinationState(destination=destination)
        self._work = self._work_of(self._own)

    def holds_up(self, delivery_id: int) -> bool:
        """Return whether a pause that began since the lease holds up a leased delivery."""
        return self._state.holds_up(delivery_id)

    def lease_due(self, most: int, is_shut: Callable[[], bool] = lambda: False) -> dict[int, LeasedDelivery]:
        """Lease up to `most` due deliveries by their ids, in the order of each study; unsent ones come first.

        Nothing is leased while nothing may leave; `is_shut`, which tells, is asked only if there is work.
        A destination that failed last gets one at a time: one that was not tried yet, unless it cannot be reached.
        """
        if not self._has_work(self._own) or is_shut():
            return {}
        self._state = destination_state(self._engine, self._destination)
        if self._state.paused_until is not None:
            pause_s = (self._state.paused_until - now()).total_seconds()
            self.rest_s = min(self.rest_s, pause_s) if pause_s > 0 else self.rest_s
        leases = self._lease_paused() if self._state.is_paused else self._lease_in_turn(most)
        if not leases:
            return {}
        found = deliveries_by_id(self._engine, [lease.job_id for lease in leases])
        return {lease.job_id: LeasedDelivery(lease=lease, delivery=found[lease.job_id]) for lease in leases}

    def _lease_paused(self) -> list[Lease]:
        """Lease a delivery that came after the pause began; none while the peer is away."""
        d = deliveries.c
        if self._state.is_away:
            return []
        return self._lease(*self._unsent(), d.code == ReasonCode.NONE, d.id > self._state.held_up_to)

    def _lease_in_turn(self, most: int) -> list[Lease]:
        d, unsent = deliveries.c, self._unsent()
        if not self._state.failures:
            leases = self._lease(*unsent, most=most)
        elif self._state.is_unreachable:
            leases, most = self._lease(*unsent), 1
        else:
            fresh = d.code == ReasonCode.NONE
            leases, most = self._lease(*unsent, fresh) or self._lease(*unsent, order=d.not_before), 1
        if len(leases) < most:
            stored = d.stored_at.is_not(None)
            leases += self._lease(self._own, stored, most=most - len(leases), order=d.not_before)
        return leases

    def _unsent(self) -> tuple[ColumnElement[bool], ...]:
        """Return the condition of the deliveries that may be sent next."""
        return self._own, deliveries.c.stored_at.is_(None), _is_in_order(one_of_a_study=self._state.failures > 0)

    def back_off(self, leased: LeasedDelivery, error: OsteonError) -> None:
        """Try a delivery again later, which holds up its study until then; count the failure of the destination."""
        with self._engine.begin() as c:
            self._fail(c, leased.lease, error, Event.FAIL, unanswered_at=None)
            if error.code not in OWN_FAILURES:
                self._count_failure(c, error)

    def park(self, leased: LeasedDelivery, error: OsteonError) -> None:
        """Keep a delivery for a person: sending it cannot help."""
        with self._engine.begin() as c:
            self._fail(c, leased.lease, error, Event.GIVE_UP, unanswered_at=None)

    def refuse(self, leased: LeasedDelivery, error: OsteonError) -> bool:
        """Record that the peer refuses an artefact; return whether the delivery is parked now.

        It is parked if the peer took others since it refused this one, or after `MOST_REFUSALS` in `REFUSED_FOR`. Else
        it is tried again, counts as a failure of the destination, and holds up nothing.
        """
        delivery, moment = leased.delivery, now()
        refusals, since = delivery.refusals + 1, delivery.refused_since or moment
        columns = {"refusals": refusals, "refused_since": since, "refused_in": self._state.recoveries}
        if delivery.refused_in is not None and delivery.refused_in < self._state.recoveries:
            why = "it took others between two refusals of this one"
        elif refusals >= MOST_REFUSALS and moment >= since + REFUSED_FOR:
            why = f"refused {refusals} times since {since:%Y-%m-%d %H:%M} UTC"
        else:
            with self._engine.begin() as c:
                self._fail(c, leased.lease, error, Event.FAIL, unanswered_at=None, **columns)
                self._count_failure(c, error)
            return False
        with self._engine.begin() as c:
            verdict = Rejected(error.code, f"{error.reason}; {why}")
            self._fail(c, leased.lease, verdict, Event.GIVE_UP, unanswered_at=None, **columns)
        return True

    def pause(self, leased: LeasedDelivery, error: Away) -> None:
        """Let all deliveries wait, since the peer is away; this one has failed.

        It is due at the end of the pause, unless the peer has answered: then it may be what the peer cannot take, and
        backs off by itself.
        """
        columns = {} if error.code in ASKED_TO_WAIT else {"not_before": now()}
        with self._engine.begin() as c:
            self._fail(c, leased.lease, error, Event.FAIL, unanswered_at=None, **columns)
            self._count_failure(c, error, error.wait_s)

    def put_back_unanswered(self, lease: Lease) -> None:
        """Give back a delivery that was sent without an answer: the peer may have it, whatever it said before."""
        self._put_back(lease, attempts=lease.attempts, code=ReasonCode.NONE, reason="")

    def recover(self, leased: LeasedDelivery) -> None:
        """Record that the peer took an artefact; make those due now that it refused before.

        If the peer could not be reached, or had failed this delivery before, every delivery that backs off is due now.
        Refuted and stored ones keep their time.
        """
        state, d = self._state, deliveries.c
        if not state.failures:
            return
        backs_off = [self._own, d.state == State.QUEUED, d.not_before > now(), d.stored_at.is_(None), d.refuted == 0]
        if not state.is_unreachable and leased.lease.attempts == 1:
            backs_off.append(d.refused_in.is_not(None))
        with self._engine.begin() as c:
            self._state = record_recovery(c, state)
            c.execute(update(deliveries).where(*backs_off).values(not_before=now()))

    def wait_for_proof(
        self, lease: Lease, code: ReasonCode, reason: str, sent_as: tuple[str, str] | None, ask_at: datetime
    ) -> None:
        """Record that the peer has stored an artefact, and queue the question for proof at `ask_at`.

        A delivery that was dropped while it was on the wire keeps a record of the stored artefact.
        """
        stored = _stored_columns(sent_as) | UNREFUSED
        self._put_back(lease, code=code, reason=reason, attempts=0, not_before=ask_at, unanswered_at=None, **stored)
        self._record_on_dropped(lease.job_id, stored)

    def ask_again(self, lease: Lease, ask_at: datetime) -> None:
        """Record that no commitment result came to the newest question, and queue the next one at `ask_at`."""
        self._put_back(lease, not_before=ask_at, unanswered_at=now())

    def end(
        self,
        leased: LeasedDelivery,
        event: Event,
        code: ReasonCode,
        reason: str,
        *,
        sent_as: tuple[str, str] | None = None,
        is_proven: bool = False,
    ) -> bool:
        """End a delivery by FINISH or DROP; return False if it was dropped while it was on the wire.

        Such a delivery keeps a record of the artefact that the peer has nevertheless.
        """
        columns = _stored_columns(sent_as)
        if is_proven:
            columns["proven_at"] = now()
            code, reason = proven_outcome(leased.delivery, reason)
        try:
            with self._ending(leased.lease, event, code, reason, unanswered_at=None, **columns):
                pass
        except Transient:  # the lease is lost
            self._record_on_dropped(leased.lease.job_id, columns)
            return False
        return True

    def send_again(self, leased: LeasedDelivery, error: OsteonError) -> None:
        """Queue an artefact that the PACS lacks although it stored it; park it after `MOST_REFUTED` times."""
        columns = refuted_columns(leased.delivery)
        event = Event.GIVE_UP if columns["refuted"] >= MOST_REFUTED else Event.FAIL
        with self._engine.begin() as c:
            self._fail(c, leased.lease, error, event, **columns)

    def begin_transaction(self, ids: Iterable[int], transaction_uid: str) -> None:
        """Record the Transaction UID of a question for proof before it is asked: the result may come at once."""
        with self._engine.begin() as c:
            keep_request(c, transaction_uid, self._destination)
            asked = update(deliveries).where(deliveries.c.id.in_(list(ids)))
            c.execute(asked.values(transaction_uid=transaction_uid))

    def defer(self, ids: Collection[int], until: datetime) -> None:
        """Ask for the proof of those deliveries not before `until`."""
        d = deliveries.c
        with self._engine.begin() as c:
            later = update(deliveries).where(d.id.in_(ids), d.state == State.QUEUED, d.not_before < until)
            c.execute(later.values(not_before=until))

    def _count_failure(self, c: Connection, error: OsteonError, wait_s: float = 0.0) -> None:
        moment = now()
        until = moment + timedelta(seconds=wait_s) if wait_s else self._backoff.after(self._state.pauses + 1, moment)
        self._state = record_failure(c, self._state, error, until)

    def _record_on_dropped(self, delivery_id: int, columns: dict[str, Any]) -> None:
        """Write `columns` to a delivery that was dropped while it was on the wire."""
        if columns:
            dropped = (deliveries.c.id == delivery_id) & (deliveries.c.state == State.DROPPED)
            with self._engine.begin() as c:
                c.execute(update(deliveries).where(dropped).values(**columns))


def may_be_at_peer() -> ColumnElement[bool]:
    """Return the condition that the peer has the artefact, or may have it since it was tried."""
    d = deliveries.c
    in_vain = or_(
        d.code == ReasonCode.NOT_TAKEN,
        and_(d.attempts == 1, d.code.in_(NEVER_SENT)),
        and_(or_(d.attempts == 1, d.attempts <= d.refusals), d.code.in_(REFUSED)),
    )
    is_there = or_(d.state.in_([State.DONE, State.LEASED]), d.stored_at.is_not(None), d.sent_uid != "")
    return and_(or_(is_there, and_(d.attempts > 0, ~in_vain)), d.digest != "")


def _stored_columns(sent_as: tuple[str, str] | None) -> dict[str, Any]:
    if sent_as is None:
        return {}
    sop_class_uid, sop_instance_uid = sent_as
    return {
        "stored_at": now(),
        "stored_after": newest_request(),
        "sent_class_uid": sop_class_uid,
        "sent_uid": sop_instance_uid,
    }


@cache
def _is_in_order(*, one_of_a_study: bool) -> ColumnElement[bool]:
    """Return the condition that no earlier delivery of the same study and destination is on the wire or backs off.

    A parked or refused delivery holds up nothing, and neither does a stored one that waits for its proof, nor a
    rejection note.

    Parameters
    ----------
    one_of_a_study
        Whether an earlier delivery that is due counts, too: where the due ones are not leased in their order.
    """
    d, earlier = deliveries.c, deliveries.alias()
    e = earlier.c
    moment = bindparam("moment of order", callable_=now, type_=e.not_before.type)
    is_queued = e.state == State.QUEUED
    waits = or_(e.state == State.LEASED, is_queued if one_of_a_study else and_(is_queued, e.not_before > moment))
    same = and_(e.study_instance_uid == d.study_instance_uid, e.destination == d.destination, e.id < d.id)
    blocks = and_(e.stored_at.is_(None), e.refused_in.is_(None), e.kind != ArtefactKind.REJECTION)
    return ~exists().where(same, waits, blocks).correlate(deliveries)


def _delivery(c: Connection, delivery_id: int) -> Delivery:
    row = c.execute(select(deliveries).where(deliveries.c.id == delivery_id)).first()
    if row is None:
        raise KeyError(delivery_id)
    return delivery_of(row)


def _require_current(c: Connection, delivery: Delivery, destination: str) -> None:
    """Check that a delivery may go out, to `destination`: it was not withdrawn, and no newer artefact goes there.

    Raises
    ------
    Rejected
        ``withdrawn``, ``in_shadow``, ``outdated``.
    """
    d, name = deliveries.c, f"delivery:{delivery.delivery_id}"
    if delivery.code is ReasonCode.WITHDRAWN:
        raise Rejected(ReasonCode.WITHDRAWN, f"{name} was withdrawn: analyse the radiograph again for a new answer")
    present = current_phases(c)
    in_shadow = {site: phase for site, phase in present.items() if not phase.leaves}
    if any(outdated_deliveries(c, in_shadow, d.id == delivery.delivery_id)):
        raise Rejected(ReasonCode.IN_SHADOW, f"{name} tells of a site that is in shadow: nothing of it may leave")
    if any(outdated_deliveries(c, present, d.id == delivery.delivery_id)):
        reason = f"{name} tells of a site that has stepped back since: analyse the radiograph again"
        raise Rejected(ReasonCode.OUTDATED, reason)
    is_newer: ColumnElement[bool] = false()  # a revocation has no newer artefact
    if delivery.result_id is not None:
        of_result = select(results.c.sop_instance_uid).where(results.c.id == delivery.result_id).scalar_subquery()
        newer = select(results.c.id).where(results.c.sop_instance_uid == of_result, results.c.id > delivery.result_id)
        is_newer = d.result_id.in_(newer)
    elif delivery.study_result_id is not None:
        s = study_results.c
        study = select(s.study_id).where(s.id == delivery.study_result_id).scalar_subquery()
        is_newer = d.study_result_id.in_(select(s.id).where(s.study_id == study, s.id > delivery.study_result_id))
    query = select(d.id).where(is_newer, d.destination == destination).order_by(d.id.desc())
    newest = c.execute(query).scalar()
    if newest is not None:
        reason = f"{name} would follow a newer artefact for the same, delivery:{newest}: drop it"
        raise Rejected(ReasonCode.OUTDATED, reason)


def _reroute(c: Connection, delivery: Delivery, destination: str) -> State:
    d, moment = deliveries.c, now()
    before = c.execute(
        select(deliveries, may_be_at_peer().label("may_be_at_peer")).where(d.id == delivery.delivery_id)
    ).one()
    same = and_(
        d.kind == delivery.kind,
        d.page == delivery.page,
        d.identifier == delivery.identifier,
        d.code == ReasonCode.REROUTED,
    )
    was_there = c.execute(delete(deliveries).where(same, d.destination == destination)).rowcount > 0
    reason = f"rerouted to {destination}"
    fresh = (
        UNSENT
        | UNREFUSED
        | {
            "destination": destination,
            "attempts": int(was_there),
            "refuted": 0,
            "code": ReasonCode.NONE,
            "reason": reason,
            "not_before": moment,
            "lease_owner": None,
            "finished_at": None,
            "sent_class_uid": "",
            "sent_uid": "",
        }
    )
    state = move_job(c, deliveries, delivery.delivery_id, Event.RETRY, **fresh)
    if before.may_be_at_peer:
        copied = {column.name: before._mapping[column] for column in d if column.name not in ("id", "state")}
        record_id = add_job(c, deliveries, **copied)
        ended = {"code": ReasonCode.REROUTED, "reason": reason, "finished_at": moment}
        move_job(c, deliveries, record_id, Event.DROP, **ended)
    return state
