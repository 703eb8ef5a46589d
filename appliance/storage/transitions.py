"""Writes the state of jobs: the only module that does, and always by the state table of `appliance.domain.job`."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Connection, Table, case, insert, select, update
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.visitors import InternalTraversal

from appliance.clock import now
from appliance.domain.job import INITIAL, TABLE, Event, State, next_state, states_that_can
from appliance.domain.reason import ReasonCode

from .wakeups import wake_after_commit

MAKE_DUE: Final = frozenset({Event.NEW_RESULT, Event.RETRY, Event.REINSTATE, Event.EXPIRE, Event.REFUTE})
"""Events of a job that a role may have to look at sooner than it would."""


def add_job(c: Connection, table: Table, **columns: Any) -> int:
    """Insert a new job that is due now, unless `columns` say later; return its id."""
    moment = now()
    values = {
        "state": INITIAL,
        "attempts": 0,
        "delays": 0,
        "not_before": moment,
        "code": ReasonCode.NONE,
        "reason": "",
        "created_at": moment,
    }
    key = c.execute(insert(table).values(**values | columns)).inserted_primary_key
    assert key is not None  # every table of jobs has the primary key `id`
    wake_after_commit(c, table)
    return int(key[0])


def move_job(c: Connection, table: Table, job_id: int, event: Event, **columns: Any) -> State:
    """Apply `event` to one job and write `columns` with it; return the new state.

    Raises
    ------
    KeyError
        If there is no such job.
    ImpossibleTransition
        If `event` cannot happen in the state of the job.
    """
    row = c.execute(select(table.c.state).where(table.c.id == job_id).with_for_update()).first()
    if row is None:
        raise KeyError(job_id)
    state = next_state(State(row.state), event)
    if event in MAKE_DUE:
        wake_after_commit(c, table)
    c.execute(update(table).where(table.c.id == job_id).values(state=state, **columns))
    return state


def move_jobs(c: Connection, table: Table, where: ColumnElement[bool], event: Event, **columns: Any) -> int:
    """Apply `event` to every job of `where` in which it can happen, and write `columns`; return the number of jobs.

    An index serves `where`, and not the states, which nearly every job of a long queue shares.
    """
    possible = states_that_can(event)
    after = case({state: TABLE[state, event] for state in possible}, value=table.c.state)
    able = update(table).where(where, by_no_index(table.c.state).in_(possible))
    if event in MAKE_DUE:
        wake_after_commit(c, table)
    return c.execute(able.values(state=after, **columns)).rowcount


def drop_jobs(c: Connection, table: Table, where: ColumnElement[bool], code: ReasonCode, reason: str) -> int:
    """Drop those of `where` that have not ended; return their number. A role that holds one finds its lease lost."""
    columns = {"code": code, "reason": reason, "finished_at": now(), "lease_owner": None}
    return move_jobs(c, table, where, Event.DROP, **columns)


def by_no_index(column: Column[Any]) -> ColumnElement[Any]:
    """Return the value of `column` in a form that keeps SQLite from an index on it.

    Without statistics SQLite may take the index of a condition that most rows meet, and sort them all.

    References
    ----------
    https://sqlite.org/optoverview.html, "Disqualifying WHERE clause terms using unary +".
    """
    return _ByNoIndex(column)


class _ByNoIndex(ColumnElement[Any]):
    """A column behind SQLite's unary plus, which PostgreSQL has for numbers only."""

    inherit_cache = True
    _traverse_internals = [("column", InternalTraversal.dp_clauseelement)]  # noqa: RUF012  SQLAlchemy reads it there

    def __init__(self, column: Column[Any]) -> None:
        self.column, self.type = column, column.type


@compiles(_ByNoIndex)
def _as_it_is(element: _ByNoIndex, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.column, **options)


@compiles(_ByNoIndex, "sqlite")
def _behind_a_plus(element: _ByNoIndex, compiler: SQLCompiler, **options: Any) -> str:
    return f"+{compiler.process(element.column, **options)}"
