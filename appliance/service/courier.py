"""The courier of one destination: sends its deliveries, asks for proof, and records each outcome.

The artefacts of one study leave in their order. A delivery that backs off holds up its own study at its own
destination, and nothing else; one that the peer refuses holds up nothing. A destination that takes nothing pauses
(`appliance.storage.destinations`). No delivery is given up because of its age.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from appliance.clock import now
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.identifiers import derived_uid
from appliance.domain.job import Event
from appliance.domain.reason import ReasonCode
from appliance.errors import Away, OsteonError, Refused, Rejected, Transient
from appliance.ports import Artefact, Destination, Fate, Outcome, Outlet, Sent
from appliance.storage.deliveries import Delivery
from appliance.storage.gate import Gate
from appliance.storage.outbox import LeasedDelivery, Outbox
from appliance.storage.spool import FileSpool

from .error_policy import decide

PROOF_AFTER = timedelta(seconds=1)
"""Time that an archive needs to file an object; a question before that would have to be asked twice."""

SHORTEST_PROOF_WAIT = timedelta(minutes=1)
LONGEST_PROOF_WAIT = timedelta(hours=1)
"""Proof is asked for again when the delivery has waited twice as long, within these bounds."""

SEND_AGAIN_AFTER = timedelta(minutes=10)
"""Time that an archive has to find an object that it stored; after that the object is sent again."""

log = logging.getLogger(__name__)


class OneByOne:
    """An outlet for a destination that takes one artefact after the other; its acceptance is the proof."""

    most = 1

    def __init__(self, destination: Destination) -> None:
        self.name = destination.name
        self._destination = destination

    def deliver(
        self, artefacts: Mapping[int, Artefact], may_go: Callable[[int], bool]
    ) -> Iterator[tuple[int, Outcome]]:
        """Send each artefact that `may_go` allows.

        Raises
        ------
        Away
            The peer is not reachable.
        """
        for number, artefact in artefacts.items():
            if may_go(number):
                yield number, self._send(artefact)

    def _send(self, artefact: Artefact) -> Outcome:
        try:
            (note,) = self._destination.send([artefact])
        except Away:
            raise
        except (Rejected, Transient) as error:
            return Outcome.of_error(error)
        return Outcome(fate=Fate.TAKEN, code=ReasonCode.DELIVERED, reason=note)

    def prove(self, sent: Mapping[int, Sent]) -> Iterator[tuple[int, Outcome]]:
        """Yield nothing: no artefact of this destination waits for proof."""
        yield from ()


@dataclass(frozen=True, slots=True)
class _Batch:
    """The deliveries that a courier holds.

    Attributes
    ----------
    pending
        Deliveries without an outcome so far, by their ids.
    blocked_studies
        Studies with a delivery that backs off: their later deliveries wait for it.
    stored
        Ids of deliveries that the peer has just stored; their proof is asked for later.
    unanswered
        Ids of deliveries that were sent without an answer: the peer may have them.
    """

    pending: dict[int, LeasedDelivery]
    blocked_studies: set[str] = field(default_factory=set)
    stored: list[int] = field(default_factory=list)
    unanswered: set[int] = field(default_factory=set)


class Courier:
    """Carries the deliveries of one destination.

    Attributes
    ----------
    done
        Deliveries that ended as taken since the courier began.
    moved_at
        Monotonic time of the last sign of life.
    is_retired
        Set when another courier takes over: this one sends nothing more.
    """

    def __init__(self, outbox: Outbox, gate: Gate, spool: FileSpool, outlet: Outlet) -> None:
        self._outbox = outbox
        self._gate = gate
        self._spool = spool
        self.outlet = outlet
        self.done = 0
        self.moved_at = time.monotonic()
        self.is_retired = False

    @property
    def rest_s(self) -> float:
        """Seconds until a delivery is due that waits for its time."""
        return self._outbox.rest_s

    def step(self) -> bool:
        """Send due artefacts and ask for proof of stored ones; return whether any delivery had an outcome."""
        self.moved_at = time.monotonic()
        if self.is_retired:
            return False
        leased = self._outbox.lease_due(self.outlet.most, lambda: self._gate.is_shut(self.outlet.name))
        unsent = {number: one for number, one in leased.items() if one.delivery.stored_at is None}
        stored = {number: one for number, one in leased.items() if one.delivery.stored_at is not None}
        has_sent = self._settle(_Batch(unsent), self._send) if unsent else False
        has_proven = self._settle(_Batch(stored), self._prove) if stored else False
        return has_sent or has_proven

    def _settle(self, batch: _Batch, attempt: Callable[[_Batch], Iterator[tuple[int, Outcome]]]) -> bool:
        """Record each outcome of `attempt` as it comes, and give back the rest; return whether there was any."""
        has_outcome = False
        try:
            for number, outcome in attempt(batch):
                if outcome.fate is Fate.UNANSWERED:
                    batch.unanswered.add(number)
                    continue
                self._record(batch, number, outcome)
                has_outcome = True
        except Away as error:
            self._wait_for_peer(batch, error)
        except Exception as error:  # noqa: BLE001  `decide` raises those at which the role has to stop
            self._fail_pending(batch, decide(error, f"deliveries {sorted(batch.pending)}").error)
        for leased in batch.pending.values():
            self._give_back(batch, leased)
        if batch.stored:  # at the same time for all, since one question asks for the proof of all
            self._outbox.defer(batch.stored, now() + PROOF_AFTER)
        return has_outcome

    def _send(self, batch: _Batch) -> Iterator[tuple[int, Outcome]]:
        artefacts: dict[int, Artefact] = {}
        for number, leased in list(batch.pending.items()):
            try:
                artefacts[number] = self._artefact(leased.delivery)
            except (Rejected, Transient) as error:
                yield number, Outcome.of_error(error)
        if artefacts:
            yield from self.outlet.deliver(artefacts, lambda number: self._may_send(batch, number))

    def _prove(self, batch: _Batch) -> Iterator[tuple[int, Outcome]]:
        transaction_uid = derived_uid("commitment", self.outlet.name, min(batch.pending), f"{now().timestamp()}")
        self._outbox.begin_transaction(batch.pending, transaction_uid)
        sent: dict[int, Sent] = {}
        for number, leased in list(batch.pending.items()):
            try:
                artefact = self._artefact(leased.delivery)
            except (Rejected, Transient) as error:
                yield number, Outcome.of_error(error)
            else:
                sent[number] = Sent(
                    artefact=artefact,
                    sop_class_uid=leased.delivery.sent_class_uid,
                    sop_instance_uid=leased.delivery.sent_uid,
                    transaction_uid=transaction_uid,
                )
        if sent:
            yield from self.outlet.prove(sent)

    def _may_send(self, batch: _Batch, number: int) -> bool:
        """Renew the lease and return whether to send now: study, destination and gate are open, the lease is held."""
        self.moved_at = time.monotonic()
        leased = batch.pending[number]
        is_blocked = leased.delivery.study_instance_uid in batch.blocked_studies or self._outbox.holds_up(number)
        if self.is_retired or is_blocked or self._gate.is_shut(self.outlet.name):
            return False
        try:
            batch.pending[number] = replace(leased, lease=self._outbox.renew(leased.lease))
        except Transient:
            del batch.pending[number]
            return False
        return True

    def _record(self, batch: _Batch, number: int, outcome: Outcome) -> None:
        self.moved_at = time.monotonic()
        leased = batch.pending.pop(number)
        subject = f"delivery {number} to {self.outlet.name}"
        match outcome.fate:
            case Fate.LATER:
                log.warning("%s waits: %s", subject, outcome.reason)
                if leased.delivery.kind is not ArtefactKind.REJECTION:
                    batch.blocked_studies.add(leased.delivery.study_instance_uid)
                error = Transient(outcome.code, outcome.reason)
                if _is_lost(leased.delivery, outcome):
                    self._outbox.send_again(leased, error)
                else:
                    self._outbox.back_off(leased, error)
            case Fate.REFUSED:
                is_parked = self._outbox.refuse(leased, Refused(outcome.code, outcome.reason))
                log.error("%s is refused and %s: %s", subject, "parked" if is_parked else "waits", outcome.reason)
            case Fate.UNFIT:
                log.error("%s is parked: %s", subject, outcome.reason)
                self._outbox.park(leased, Rejected(outcome.code, outcome.reason))
            case Fate.UNPROVEN:
                ask_at = now() + PROOF_AFTER
                self._outbox.wait_for_proof(leased.lease, outcome.code, outcome.reason, outcome.sent_as, ask_at)
                batch.stored.append(number)
                self._outbox.recover(leased)
            case Fate.LEFT_OUT:
                self._end(leased, outcome)
            case Fate.TAKEN:
                self._end(leased, outcome)
                self._outbox.recover(leased)

    def _end(self, leased: LeasedDelivery, outcome: Outcome) -> None:
        is_taken = outcome.fate is Fate.TAKEN
        has_ended = self._outbox.end(
            leased,
            Event.FINISH if is_taken else Event.DROP,
            outcome.code,
            outcome.reason,
            sent_as=outcome.sent_as,
            is_proven=outcome.is_proven,
        )
        if not has_ended:
            number = leased.lease.job_id
            log.warning("delivery %d to %s was dropped while it was on the wire", number, self.outlet.name)
        elif is_taken:
            self.done += 1

    def _fail_pending(self, batch: _Batch, error: OsteonError) -> None:
        log.warning("%d deliveries to %s wait: %s", len(batch.pending), self.outlet.name, error)
        for leased in batch.pending.values():
            self._outbox.back_off(leased, error)
        batch.pending.clear()

    def _wait_for_peer(self, batch: _Batch, error: Away) -> None:
        """Pause the destination; the delivery that was on the wire has failed, or else the first one."""
        log.warning("%s is away: %s", self.outlet.name, error)

        def order(number: int) -> tuple[bool, bool, int]:
            is_blocked = batch.pending[number].delivery.study_instance_uid in batch.blocked_studies
            return is_blocked, number not in batch.unanswered, number

        self._outbox.pause(batch.pending.pop(min(batch.pending, key=order)), error)
        for leased in batch.pending.values():
            self._put_back(batch, leased)
        batch.pending.clear()

    def _give_back(self, batch: _Batch, leased: LeasedDelivery) -> None:
        """Give back a delivery without an outcome: no verdict on it, or no commitment result, came for it."""
        stored_at = leased.delivery.stored_at
        if stored_at is None:
            self._put_back(batch, leased)
        else:
            self._outbox.ask_again(leased.lease, _next_question_at(stored_at))

    def _put_back(self, batch: _Batch, leased: LeasedDelivery) -> None:
        """Give back a delivery that did not fail; one that was sent keeps its attempt, for a withdrawal."""
        if leased.lease.job_id in batch.unanswered:
            self._outbox.put_back_unanswered(leased.lease)
        else:
            self._outbox.put_back(leased.lease)

    def _artefact(self, delivery: Delivery) -> Artefact:
        if not delivery.digest:
            reason = "the artefact could not be made: retry the analysis after an upgrade"
            raise Rejected(ReasonCode.NEVER_MADE, reason)
        return Artefact(
            kind=delivery.kind,
            page=delivery.page,
            identifier=delivery.identifier,
            content=self._spool.get(delivery.digest),
        )


def _is_lost(delivery: Delivery, outcome: Outcome) -> bool:
    """Return whether a PACS lacks an object that it stored, so that the object is sent again."""
    if outcome.code is ReasonCode.NOT_COMMITTED:
        return True
    if outcome.code is not ReasonCode.NOT_FOUND or delivery.stored_at is None:
        return False
    # a time of storage that is still to come was written before the clock was set back
    return not delivery.stored_at <= now() <= delivery.stored_at + SEND_AGAIN_AFTER


def _next_question_at(stored_at: datetime) -> datetime:
    moment = now()
    return moment + min(max(moment - stored_at, SHORTEST_PROOF_WAIT), LONGEST_PROOF_WAIT)
