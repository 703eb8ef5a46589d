"""Leases over a table of jobs: one mechanism for radiographs to analyse and for answers to deliver.

A lease is a promise with an end. Who dies leaves it to run out, who hangs loses it, and whoever finishes a job that
is no longer his is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, Select, Table, select, update

from appliance.clock import now
from appliance.domain.job import Backoff, Event, Lease, State, next_state
from appliance.domain.reason import ReasonCode
from appliance.errors import OsteonError, Transient

from .database import readers

LEASE_S = 300.0
"""Longer than any single step: an object to a peer that stalls in connecting, negotiating and answering takes three
timeouts of at most 60 s."""


class Queue:
    """The jobs of one table.

    Parameters
    ----------
    table
        With the columns of `tables._job_columns`.
    owner
        Who leases; unique per process.
    most_attempts
        After so many leases that ended without an answer the job is parked. None: never.
    """

    def __init__(
        self,
        engine: Engine,
        table: Table,
        owner: str,
        *,
        most_attempts: int | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self._engine = engine
        self._table = table
        self._owner = owner
        self._most_attempts = most_attempts
        self._backoff = backoff or Backoff()

    def lease(self, *where: ColumnElement[bool], most: int = 1, last: ColumnElement[bool] | None = None) -> list[Lease]:
        """Lease up to `most` due jobs that satisfy `where`, oldest first and `last` after them; each is an attempt."""
        t, moment = self._table, now()
        self._expire(moment, *where)
        due = select(t.c.id, t.c.attempts).where(t.c.state == State.QUEUED, t.c.not_before <= moment, *where)
        if not self._any(due):
            return []
        with self._engine.begin() as c:
            order = [t.c.id] if last is None else [last, t.c.id]
            rows = c.execute(due.order_by(*order).limit(most)).all()
            until = moment + timedelta(seconds=LEASE_S)
            for row in rows:
                self._move(
                    c, row.id, Event.LEASE, lease_owner=self._owner, lease_until=until, attempts=row.attempts + 1
                )
        return [Lease(job_id=r.id, owner=self._owner, until=until, attempts=r.attempts + 1) for r in rows]

    def peek(self, most: int = 1) -> list[int]:
        """The jobs that would be leased next, if nothing else comes; they stay free for everybody."""
        t = self._table
        due = select(t.c.id).where(t.c.state == State.QUEUED, t.c.not_before <= now()).order_by(t.c.id).limit(most)
        with self._engine.connect() as c:
            return list(c.execute(due).scalars())

    def renew(self, lease: Lease) -> Lease:
        """Extend the lease from now.

        Raises
        ------
        Transient
            ``lease_lost`` if somebody else has the job by now.
        """
        until = now() + timedelta(seconds=LEASE_S)
        with self._engine.begin() as c:
            self._mine(c, lease)
            c.execute(update(self._table).where(self._table.c.id == lease.job_id).values(lease_until=until))
        return Lease(job_id=lease.job_id, owner=lease.owner, until=until, attempts=lease.attempts)

    @contextmanager
    def ending(
        self, lease: Lease, event: Event, code: ReasonCode = ReasonCode.NONE, reason: str = "", **values: Any
    ) -> Iterator[Connection]:
        """Transaction that ends a job by FINISH, DECLINE or DROP together with whatever else is written in it."""
        with self._engine.begin() as c:
            self._mine(c, lease)
            yield c
            values |= {"code": code, "reason": reason, "finished_at": now(), "lease_owner": None}
            self._move(c, lease.job_id, event, **values)

    def failed(self, lease: Lease, error: OsteonError, *, for_good: bool = False, **values: Any) -> datetime:
        """Give a job back after `error`: to be tried again after its back-off, or parked for a person; until when.

        A job that somebody else has by now is left to him.
        """
        event = Event.GIVE_UP if for_good else Event.FAIL
        until = self._backoff.after(lease.attempts, now())
        with self._engine.begin() as c:
            if self._is_mine(c, lease):
                said = {"code": error.code, "reason": error.reason, "not_before": until, "lease_owner": None}
                self._move(c, lease.job_id, event, **said | values)
        return until

    def put_back(self, lease: Lease, **values: Any) -> None:
        """Give a job back that did not fail, as if it had not been leased; with `values` in other columns.

        A job that somebody else has by now is left to him.
        """
        with self._engine.begin() as c:
            if self._is_mine(c, lease):
                values = {"attempts": lease.attempts - 1, "lease_owner": None} | values
                self._move(c, lease.job_id, Event.FAIL, **values)

    def is_last(self, lease: Lease) -> bool:
        """Whether this was the last attempt that a job has which ends without an answer."""
        return self._most_attempts is not None and lease.attempts >= self._most_attempts

    def hurry(self, *where: ColumnElement[bool]) -> None:
        """What waits out a back-off is due now: its peer has just answered."""
        t = self._table
        waiting = update(t).where(t.c.state == State.QUEUED, t.c.not_before > now(), *where)
        with self._engine.begin() as c:
            c.execute(waiting.values(not_before=now()))

    def defer(self, until: datetime, *where: ColumnElement[bool]) -> None:
        """Nothing that waits is due before `until`: its peer is away."""
        t = self._table
        sooner = update(t).where(t.c.state == State.QUEUED, t.c.not_before < until, *where)
        with self._engine.begin() as c:
            c.execute(sooner.values(not_before=until))

    def release(self, *where: ColumnElement[bool]) -> int:
        """Take back every lease, at the start of a role of which there is one; how many there were."""
        return self._expire(None, *where)

    def command(self, job_id: int, event: Event, reason: str, **others: Any) -> State:
        """A person's RETRY or DROP, with `others` in other columns.

        Raises
        ------
        KeyError
            If there is no such job.
        ImpossibleTransition
            If the job's state has no such event.
        """
        with self._engine.begin() as c:
            values: dict[str, Any] = {"reason": reason, "not_before": now(), "finished_at": None}
            if event is Event.RETRY:
                values |= {"attempts": 0, "code": "", "lease_owner": None}
            else:
                values |= {"code": ReasonCode.DROPPED, "finished_at": now()}
            return self._move(c, job_id, event, **values | others)

    def _expire(self, moment: datetime | None, *where: ColumnElement[bool]) -> int:
        t = self._table
        late = [t.c.lease_until < moment] if moment else []
        expired = select(t.c.id, t.c.attempts).where(t.c.state == State.LEASED, *late, *where)
        if not self._any(expired):
            return 0
        with self._engine.begin() as c:
            rows = c.execute(expired).all()
            for row in rows:
                exhausted = self._most_attempts is not None and row.attempts >= self._most_attempts
                self._move(
                    c,
                    row.id,
                    Event.GIVE_UP if exhausted else Event.EXPIRE,
                    code=ReasonCode.LEASE_EXPIRED,
                    reason=f"attempt {row.attempts} ended without an answer: the role died or hung"
                    + (", parked so that it does not block the rest" if exhausted else ""),
                    lease_owner=None,
                )
        return len(rows)

    def _any(self, query: Select[Any]) -> bool:
        """Whether there is anything to do, asked without the write lock: an idle role disturbs nobody."""
        with readers(self._engine).connect() as c:
            return c.execute(query.limit(1)).first() is not None

    def _is_mine(self, c: Connection, lease: Lease) -> bool:
        row = self._row(c, lease.job_id)
        held = (row.state, row.lease_owner, row.attempts)
        return held == (State.LEASED, lease.owner, lease.attempts)

    def _mine(self, c: Connection, lease: Lease) -> None:
        if not self._is_mine(c, lease):
            raise Transient(ReasonCode.LEASE_LOST, f"job {lease.job_id} is no longer leased to {lease.owner}")

    def _move(self, c: Connection, job_id: int, event: Event, **values: Any) -> State:
        state = next_state(State(self._row(c, job_id).state), event)
        c.execute(update(self._table).where(self._table.c.id == job_id).values(state=state, **values))
        return state

    def _row(self, c: Connection, job_id: int) -> Row[Any]:
        row = c.execute(select(self._table).where(self._table.c.id == job_id)).first()
        if row is None:
            raise KeyError(job_id)
        return row
