"""Leases over a table of jobs: one mechanism for analyses, studies and deliveries.

A lease has an end. A process that dies lets its lease run out, a process that hangs loses it, and a process that
finishes a job after it lost the lease is refused. A process that could not write the outcome, because the disk was full
or the database busy, takes the job back when it next asks for work.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Row,
    Select,
    Table,
    bindparam,
    func,
    select,
    update,
)

from appliance.clock import now
from appliance.domain.audit import AuditAction, Intervention
from appliance.domain.job import Backoff, Event, Lease, State
from appliance.domain.reason import ReasonCode
from appliance.errors import OsteonError, Transient

from .audit import record_job
from .database import readers
from .failed_attempts import count_failed_attempt
from .transitions import by_no_index, move_job

LEASE_S = 300.0
"""Longer than any single step: an object to a peer that stalls in connecting, negotiating and answering takes three
timeouts of at most 60 s."""


MOST_DELAYS = 20
"""After so many, some one and a half hours, a job is to blame for an error that any job may have."""


class Queue:
    """The jobs of one table.

    Parameters
    ----------
    table
        A table with the columns of `tables._job_columns`.
    owner
        Name of the process, or thread, that leases; unique.
    most_attempts
        After so many leases without an outcome the job is parked. None: never.

    Attributes
    ----------
    rest_s
        Seconds from the newest look for work until the next job is due that waits for its time; infinite if none does.
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
        self._work = self._work_of()
        self._counted_as = table.name
        self.rest_s = 0.0

    def lease(self, most: int = 1) -> list[Lease]:
        """Lease up to `most` due jobs, oldest first; each lease is an attempt."""
        return self._lease(most=most) if self._has_work() else []

    def lease_job(self, job_id: int) -> Lease | None:
        """Lease that job if it is due; None if it is not, or another process holds it."""
        is_it = self._table.c.id == job_id
        self._expire(now(), is_it)
        leases = self._lease(is_it)
        return leases[0] if leases else None

    def peek(self, most: int = 1) -> list[int]:
        """Return the ids of the jobs that `lease` would return next; they stay free."""
        t = self._table
        is_due = by_no_index(t.c.not_before) <= now()
        due = select(t.c.id).where(t.c.state == State.QUEUED, is_due).order_by(t.c.id).limit(most)
        with self._engine.connect() as c:
            return list(c.execute(due).scalars())

    def renew(self, lease: Lease) -> Lease:
        """Extend the lease from now.

        Raises
        ------
        Transient
            ``lease_lost`` if another process has the job by now.
        """
        until = now() + timedelta(seconds=LEASE_S)
        with self._engine.begin() as c:
            self._require_held(c, lease)
            c.execute(update(self._table).where(self._table.c.id == lease.job_id).values(lease_until=until))
        return Lease(job_id=lease.job_id, owner=lease.owner, until=until, attempts=lease.attempts)

    @contextmanager
    def ending(
        self, lease: Lease, event: Event, code: ReasonCode = ReasonCode.NONE, reason: str = ""
    ) -> Iterator[Connection]:
        """Open the transaction that ends a job by FINISH, DECLINE or DROP; the caller writes the outcome in it.

        Raises
        ------
        Transient
            ``lease_lost`` if another process has the job by now.
        """
        with self._ending(lease, event, code, reason) as c:
            yield c

    def failed(self, lease: Lease, error: OsteonError, *, for_good: bool = False) -> None:
        """Give a job back after `error`: to its back-off, or parked for a person.

        A job that another process has by now stays as it is.
        """
        with self._engine.begin() as c:
            self._fail(c, lease, error, Event.GIVE_UP if for_good else Event.FAIL)

    def put_off(self, lease: Lease, error: OsteonError, *, blames_it_at_last: bool = False) -> None:
        """Give a job back to its back-off after an `error` that it is not to blame for.

        Where attempts are limited, this one does not count: else the role's next start would park the job. A job that
        another process has by now stays as it is.

        Parameters
        ----------
        blames_it_at_last
            Count the attempt after all once the job was put off `MOST_DELAYS` times, and park it after its last one.
        """
        with self._engine.begin() as c:
            delays = self._row(c, lease.job_id).delays + 1
            if self._most_attempts is None:
                self._fail(c, lease, error, Event.FAIL)
            elif blames_it_at_last and delays > MOST_DELAYS:
                self._fail(c, lease, error, Event.GIVE_UP if self.is_last(lease) else Event.FAIL)
            else:
                until = self._backoff.after(delays, now())
                columns = {"attempts": lease.attempts - 1, "delays": delays, "not_before": until}
                self._fail(c, lease, error, Event.FAIL, **columns)

    def put_back(self, lease: Lease, code: ReasonCode | None = None, reason: str | None = None) -> None:
        """Give back a job that did not fail, as if it had never been leased; write `code` and `reason` if given.

        A job that another process has by now stays as it is.
        """
        columns: dict[str, Any] = {}
        if code is not None:
            columns["code"] = code
        if reason is not None:
            columns["reason"] = reason
        self._put_back(lease, **columns)

    def is_last(self, lease: Lease) -> bool:
        """Return whether the lease is the last of `most_attempts`."""
        return self._most_attempts is not None and lease.attempts >= self._most_attempts

    def release(self) -> int:
        """Take back every lease, at the start of the only process that leases here; return the number of leases."""
        return self._expire(None)

    def retry(self, job_id: int, by: Intervention) -> State:
        """Queue a job again, at once, for a person; the audit log says so.

        Raises
        ------
        KeyError
            If there is no such job.
        ImpossibleTransition
            If the state of the job allows no retry.
        """
        with self._engine.begin() as c:
            return self._retry(c, job_id, by)

    def drop(self, job_id: int, by: Intervention) -> State:
        """Give a job up for good, for a person, with the person's reason; raises as `retry`."""
        columns = {"code": ReasonCode.DROPPED, "reason": by.reason, "finished_at": now()}
        with self._engine.begin() as c:
            state = move_job(c, self._table, job_id, Event.DROP, **columns)
            record_job(c, by, AuditAction.DROP, self._table, job_id)
        return state

    def _lease(
        self, *where: ColumnElement[bool], most: int = 1, order: ColumnElement[Any] | None = None
    ) -> list[Lease]:
        """Lease up to `most` due jobs of `where`, oldest first, or in that `order`."""
        t, moment = self._table, now()
        not_before = by_no_index(t.c.not_before) if order is None else t.c.not_before
        due = select(t.c.id, t.c.attempts).where(t.c.state == State.QUEUED, not_before <= moment, *where)
        if where and not self._exists(due):
            return []
        until = moment + timedelta(seconds=LEASE_S)
        with self._engine.begin() as c:
            due = due.order_by(t.c.id if order is None else order).limit(most)
            rows = c.execute(_unshared(due)).all()
            for row in rows:
                columns = {"lease_owner": self._owner, "lease_until": until, "attempts": row.attempts + 1}
                move_job(c, t, row.id, Event.LEASE, **columns)
        return [Lease(job_id=r.id, owner=self._owner, until=until, attempts=r.attempts + 1) for r in rows]

    @contextmanager
    def _ending(
        self, lease: Lease, event: Event, code: ReasonCode, reason: str, **columns: Any
    ) -> Iterator[Connection]:
        with self._engine.begin() as c:
            self._require_held(c, lease)
            yield c
            columns |= {"code": code, "reason": reason, "finished_at": now(), "lease_owner": None}
            move_job(c, self._table, lease.job_id, event, **columns)

    def _fail(self, c: Connection, lease: Lease, error: OsteonError, event: Event, **columns: Any) -> None:
        until = self._backoff.after(lease.attempts, now())
        outcome = {"code": error.code, "reason": error.reason, "not_before": until, "lease_owner": None}
        if self._is_held(c, lease):
            move_job(c, self._table, lease.job_id, event, **outcome | columns)
            if self._counted_as:
                count_failed_attempt(c, self._counted_as, error.code)

    def _put_back(self, lease: Lease, **columns: Any) -> None:
        with self._engine.begin() as c:
            if self._is_held(c, lease):
                columns = {"attempts": lease.attempts - 1, "lease_owner": None} | columns
                move_job(c, self._table, lease.job_id, Event.FAIL, **columns)

    def _retry(self, c: Connection, job_id: int, by: Intervention, event: Event = Event.RETRY, **columns: Any) -> State:
        fresh = {
            "attempts": 0,
            "delays": 0,
            "not_before": now(),
            "lease_owner": None,
            "code": ReasonCode.NONE,
            "reason": "",
            "finished_at": None,
        }
        state = move_job(c, self._table, job_id, event, **fresh | columns)
        record_job(c, by, AuditAction.RETRY, self._table, job_id)
        return state

    def _reclaim(self, *where: ColumnElement[bool]) -> None:
        """Give back jobs that have a holder and no outcome, before this holder asks for others.

        The outcome of its own job could not be written. Where attempts are limited, this one does not count; else it
        does: a delivery may have reached the peer, and a withdrawal has to follow it. The holder of any other died or
        hung.
        """
        t = self._table
        own = select(t.c.id, t.c.attempts).where(t.c.state == State.LEASED, t.c.lease_owner == self._owner)
        if self._exists(own):
            with self._engine.begin() as c:
                for row in c.execute(_unshared(own)).all():
                    attempts = row.attempts if self._most_attempts is None else row.attempts - 1
                    move_job(c, t, row.id, Event.FAIL, attempts=attempts, lease_owner=None)
        self._expire(now(), *where)

    def _expire(self, moment: datetime | None, *where: ColumnElement[bool]) -> int:
        """End the leases that ran out by `moment`, or all of them; return their number."""
        t = self._table
        late = [t.c.lease_until < moment] if moment else []
        expired = select(t.c.id, t.c.attempts).where(t.c.state == State.LEASED, *late, *where)
        if not self._exists(expired):
            return 0
        with self._engine.begin() as c:
            rows = c.execute(_unshared(expired)).all()
            for row in rows:
                is_last = self._most_attempts is not None and row.attempts >= self._most_attempts
                reason = f"attempt {row.attempts} ended without an outcome: the role died or hung"
                if is_last:
                    reason += ", parked so that it does not block the rest"
                columns = {"code": ReasonCode.LEASE_EXPIRED, "reason": reason, "lease_owner": None}
                move_job(c, t, row.id, Event.GIVE_UP if is_last else Event.EXPIRE, **columns)
        return len(rows)

    def _work_of(self, *where: ColumnElement[bool]) -> Select[Any]:
        """Return the query whether a job of `where` is due, whether one has a lease to end, and when the next is due.

        It is made once: an idle role asks every second, and SQLAlchemy makes a query more slowly than SQLite runs it.
        """
        t, moment = self._table.c, bindparam("moment", type_=self._table.c.not_before.type)
        is_queued = t.state == State.QUEUED
        has_lost = (t.lease_owner == self._owner) | (t.lease_until < moment)
        return select(
            select(t.id).where(is_queued, t.not_before <= moment, *where).exists(),
            select(t.id).where(t.state == State.LEASED, has_lost, *where).exists(),
            select(func.min(t.not_before)).where(is_queued, t.not_before > moment, *where).scalar_subquery(),
        )

    def _has_work(self, *where: ColumnElement[bool]) -> bool:
        """Return whether a job is due; end the leases that were lost, and note when the next job is due."""
        moment = now()
        with readers(self._engine).connect() as c:
            is_due, has_lost, next_at = c.execute(self._work, {"moment": moment}).one()
        if has_lost:
            self._reclaim(*where)
        self.rest_s = (next_at - moment).total_seconds() if next_at else math.inf
        return bool(is_due or has_lost)

    def _exists(self, query: Select[Any]) -> bool:
        """Return whether the query has a row, without the write lock: an idle role disturbs no other."""
        with readers(self._engine).connect() as c:
            return c.execute(query.limit(1)).first() is not None

    def _is_held(self, c: Connection, lease: Lease) -> bool:
        row = self._row(c, lease.job_id)
        return (row.state, row.lease_owner, row.attempts) == (State.LEASED, lease.owner, lease.attempts)

    def _require_held(self, c: Connection, lease: Lease) -> None:
        if not self._is_held(c, lease):
            raise Transient(ReasonCode.LEASE_LOST, f"job {lease.job_id} is no longer leased to {lease.owner}")

    def _row(self, c: Connection, job_id: int) -> Row[Any]:
        row = c.execute(select(self._table).where(self._table.c.id == job_id).with_for_update()).first()
        if row is None:
            raise KeyError(job_id)
        return row


def _unshared(query: Select[Any]) -> Select[Any]:
    """Return the query of jobs that this transaction is to change, without those that another one is changing.

    SQLite has one writer at a time, and leaves the clause out.
    """
    return query.with_for_update(skip_locked=True)
