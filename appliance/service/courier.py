"""The outbox: one courier per destination, which brings answers there and hears what became of each.

A study's answers go out in their order; what waits out a back-off holds up its own study at its own destination, and
nothing else. Nothing is given up by the clock.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine, Row
from sqlalchemy.exc import SQLAlchemyError

from appliance.clock import now
from appliance.domain.identifiers import derived_uid
from appliance.domain.job import Event, Lease
from appliance.domain.reason import ReasonCode
from appliance.errors import Away, OsteonError, Rejected, Transient
from appliance.ports import Artefact, Destination, Fate, Outcome, Outlet, Sent
from appliance.storage.gate import Gate
from appliance.storage.outbox import (
    MOST_REFUTED,
    begin_transaction,
    deliveries_of,
    in_order,
    note_sent,
    proven_words,
    sent_again,
    unreported,
)
from appliance.storage.queue import Queue
from appliance.storage.spool import FileSpool
from appliance.storage.tables import deliveries

from .bugs import bug

PROOF_AFTER = timedelta(seconds=1)
"""An archive files what it has stored; asking sooner would be asking twice."""

PROOF_AGAIN = (timedelta(minutes=1), timedelta(hours=1))
"""What is unproven is asked for again when it has waited twice as long, after at least and at most so much."""

SEND_AGAIN = timedelta(minutes=10)
"""So long an archive may take to find what it said it stored; then it is sent again."""

log = logging.getLogger(__name__)


class OneByOne:
    """An outlet for a destination that takes one artefact after the other, and whose word is the proof."""

    most = 1

    def __init__(self, destination: Destination) -> None:
        self.name = destination.name
        self._destination = destination

    def deliver(
        self, artefacts: Mapping[int, Artefact], may_go: Callable[[int], bool]
    ) -> Iterator[tuple[int, Outcome]]:
        """Send each that may go.

        Raises
        ------
        Away
            The peer is not there.
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
        """Nothing is ever unproven."""
        yield from ()


@dataclass(frozen=True, slots=True)
class _Load:
    """What a courier has in hand: leases not settled yet, studies of which something waits, what is to be proven."""

    held: dict[int, Lease]
    rows: dict[int, Row[Any]]
    waiting: set[str] = field(default_factory=set)
    unproven: list[int] = field(default_factory=list)

    def part(self, *, stored: bool) -> _Load:
        """Only what the peer has, or has not."""
        mine = {n: lease for n, lease in self.held.items() if (self.rows[n].stored_at is not None) is stored}
        return _Load(mine, self.rows)


class Courier:
    """Carries the answers for one destination.

    Attributes
    ----------
    done
        Answers that were delivered since it began.
    moved_at
        When it last did something (monotonic).
    """

    def __init__(self, engine: Engine, queue: Queue, spool: FileSpool, outlet: Outlet) -> None:
        self._engine, self._queue, self._spool = engine, queue, spool
        self._gate = Gate(engine)
        self._mine = deliveries.c.destination == outlet.name
        self._was_away = False
        self.outlet = outlet
        self.done = 0
        self.moved_at = time.monotonic()

    def step(self) -> bool:
        """Carry what is due, and ask for the proof of what is stored; False if nothing came of it."""
        self.moved_at = time.monotonic()
        if self._gate.is_shut(self.outlet.name):
            return False
        is_stored = deliveries.c.stored_at.is_not(None)
        leases = self._queue.lease(self._mine, in_order(), most=self.outlet.most, last=is_stored)
        if not leases:
            return False
        held = {lease.job_id: lease for lease in leases}
        load = _Load(held, {row.id: row for row in deliveries_of(self._engine, held)})
        return any(
            [self._carry(load.part(stored=False), self._delivered), self._carry(load.part(stored=True), self._proved)]
        )

    def _carry(self, load: _Load, go: Callable[[_Load], Iterator[tuple[int, Outcome]]]) -> bool:
        """Settle each outcome as it comes, and give back what came to none."""
        settled = False
        try:
            for number, outcome in go(load) if load.held else ():
                self._settle(load, number, outcome)
                settled = True
        except Away as error:
            self._wait_for_peer(load, error)
        except Transient as error:
            self._fail(load, error)
        except SQLAlchemyError:
            raise  # the courier's loop waits; the leases give the jobs back
        except Exception as error:  # noqa: BLE001  the one broad handler of this role: a bug costs what is in hand
            self._fail(load, bug(error, f"deliveries {sorted(load.held)}"))
        for number, lease in load.held.items():
            self._queue.put_back(lease, **_open(load.rows[number]))
        if load.unproven:  # all at the same moment, since the proof of all is one question
            self._queue.defer(now() + PROOF_AFTER, deliveries.c.id.in_(load.unproven))
        return settled

    def _delivered(self, load: _Load) -> Iterator[tuple[int, Outcome]]:
        artefacts: dict[int, Artefact] = {}
        for number in list(load.held):
            try:
                artefacts[number] = self._artefact(load.rows[number])
            except (Rejected, Transient) as error:
                yield number, Outcome.of_error(error)
        yield from self.outlet.deliver(artefacts, lambda number: self._may_go(load, number)) if artefacts else ()

    def _proved(self, load: _Load) -> Iterator[tuple[int, Outcome]]:
        first = min(load.held)
        transaction_uid = derived_uid("commitment", self.outlet.name, first, f"{now().timestamp()}")
        begin_transaction(self._engine, self.outlet.name, load.held, transaction_uid)
        sent = {}
        for number in list(load.held):
            row = load.rows[number]
            try:
                artefact = self._artefact(row)
            except (Rejected, Transient) as error:
                yield number, Outcome.of_error(error)
            else:
                sent[number] = Sent(
                    artefact=artefact,
                    sop_class_uid=row.sent_class_uid,
                    sop_instance_uid=row.sent_uid,
                    transaction_uid=transaction_uid,
                )
        yield from self.outlet.prove(sent) if sent else ()

    def _may_go(self, load: _Load, number: int) -> bool:
        """Whether its turn has come: nothing of its study waits, nobody took it back, the gate is open."""
        self.moved_at = time.monotonic()
        if load.rows[number].study_instance_uid in load.waiting or self._gate.is_shut(self.outlet.name):
            return False
        try:
            load.held[number] = self._queue.renew(load.held[number])
        except Transient:
            del load.held[number]
            return False
        return True

    def _settle(self, load: _Load, number: int, outcome: Outcome) -> None:
        self.moved_at = time.monotonic()
        lease, row = load.held.pop(number), load.rows[number]
        what = f"delivery {number} to {self.outlet.name}"
        if outcome.fate is Fate.LATER:
            log.warning("%s waits: %s", what, outcome.reason)
            load.waiting.add(row.study_instance_uid)
            again = _again(row, outcome)
            is_enough = again.get("refuted", 0) >= MOST_REFUTED
            self._queue.failed(lease, Transient(outcome.code, outcome.reason), for_good=is_enough, **again)
        elif outcome.fate is Fate.REFUSED:
            log.error("%s is parked: %s", what, outcome.reason)
            self._queue.failed(lease, Rejected(outcome.code, outcome.reason), for_good=True)
        else:
            self._end(load, lease, outcome)
            if lease.attempts > 1 or self._was_away:
                is_new = deliveries.c.refuted == 0
                self._queue.hurry(self._mine, deliveries.c.stored_at.is_(None), is_new)  # the peer is back
                self._was_away = False

    def _end(self, load: _Load, lease: Lease, outcome: Outcome) -> None:
        moment = now()
        code, reason = outcome.code, outcome.reason
        values: dict[str, Any] = {}
        if outcome.is_proven:
            values = {"proven_at": moment}
            code, reason = proven_words(load.rows[lease.job_id], reason)
        if outcome.sent_as:
            values |= {"stored_at": moment, "sent_class_uid": outcome.sent_as[0], "sent_uid": outcome.sent_as[1]}
        if outcome.fate is Fate.UNPROVEN:
            due = {"attempts": 0, "not_before": moment + PROOF_AFTER}
            self._queue.put_back(lease, code=outcome.code, reason=outcome.reason, **values, **due)
            note_sent(self._engine, lease.job_id, values)
            load.unproven.append(lease.job_id)
            return
        event = Event.DROP if outcome.fate is Fate.LEFT_OUT else Event.FINISH
        try:
            with self._queue.ending(lease, event, code, reason, **values):
                self.done += outcome.fate is Fate.TAKEN
        except Transient as error:  # taken back while it was on the wire: the peer has it all the same
            log.warning("delivery %d to %s: %s", lease.job_id, self.outlet.name, error)
            note_sent(self._engine, lease.job_id, values)

    def _fail(self, load: _Load, error: OsteonError) -> None:
        log.warning("%d deliveries to %s wait: %s", len(load.held), self.outlet.name, error)
        for lease in load.held.values():
            self._queue.failed(lease, error)
        load.held.clear()

    def _wait_for_peer(self, load: _Load, error: Away) -> None:
        """The first one finds out when the peer is back; the others wait for it, and were not even tried."""
        log.warning("%s is away: %s", self.outlet.name, error)
        self._was_away = True
        first = load.held.pop(min(load.held))
        until = self._queue.failed(first, error)
        for lease in load.held.values():
            self._queue.put_back(lease)
        load.held.clear()
        self._queue.defer(until, self._mine)

    def _artefact(self, row: Row[Any]) -> Artefact:
        if not row.digest:
            raise Rejected(ReasonCode.NEVER_MADE, "this answer could not be made: retry its analysis after an upgrade")
        return Artefact(kind=row.kind, identifier=row.identifier, content=self._spool.get(row.digest))


def _again(row: Row[Any], outcome: Outcome) -> dict[str, Any]:
    """Columns of what is to be sent again, since the PACS does not have it after all."""
    is_late = row.stored_at is not None and now() - row.stored_at > SEND_AGAIN
    return (
        sent_again(row)
        if outcome.code == ReasonCode.NOT_COMMITTED or (outcome.code == ReasonCode.NOT_FOUND and is_late)
        else {}
    )


def _open(row: Row[Any]) -> dict[str, Any]:
    """Columns of what came to no outcome: not tried, or stored and without a report."""
    if row.stored_at is None:
        return {}
    least, most = PROOF_AGAIN
    moment = now()
    return {"not_before": moment + min(max(moment - row.stored_at, least), most), "reason": unreported(row)}
