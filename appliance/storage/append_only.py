"""The triggers that keep every program, ours included, from changing an entry of the audit log, or a read."""

from __future__ import annotations

import re
from typing import Final

from sqlalchemy import Connection, text

APPEND_ONLY: Final = {
    "audit": "number = NEW.number OR previous = NEW.previous",
    "reads": "id = NEW.id OR draw_id = NEW.draw_id",
}
"""Tables that only grow, each with the condition that a row is in the way of a new one."""

_SQLITE: Final = "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND lower(tbl_name) = :table"

_POSTGRESQL: Final = """
    SELECT concat_ws(' ', t.tgname, t.tgtype, t.tgenabled, p.prosrc)
    FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE t.tgrelid = CAST(:table AS regclass) AND NOT t.tgisinternal
"""

_BEFORE_ALL: Final = 2 + 8 + 16 + 32
"""Type of a trigger before a DELETE, UPDATE or TRUNCATE, once a statement (pg_trigger.h)."""


def trigger_statements(dialect: str, table: str) -> tuple[str, ...]:
    """Return the statements that make the triggers of a table, for a dialect by its name."""
    if dialect == "postgresql":
        return (
            f"CREATE FUNCTION refuse_change_of_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ {_refusal(table)} $$",
            (
                f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
                f"FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_{table}()"
            ),
        )
    refuse = f"SELECT RAISE(ABORT, '{table} is append-only'); END"
    in_the_way = f"SELECT 1 FROM {table} WHERE {APPEND_ONLY[table]}"  # noqa: S608  constants of ours
    return (
        f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} BEGIN {refuse}",
        f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} BEGIN {refuse}",
        # INSERT OR REPLACE removes the row in its way without the trigger above
        f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN EXISTS ({in_the_way}) BEGIN {refuse}",
    )


def are_append_only(c: Connection) -> bool:
    """Return whether the tables that only grow have their triggers, and no others."""
    return all(_triggers(c, table) == _expected(c, table) for table in APPEND_ONLY)


def _triggers(c: Connection, table: str) -> set[str]:
    query = _SQLITE if c.dialect.name == "sqlite" else _POSTGRESQL
    return {re.sub(r"\s+", " ", one).strip() for one in c.execute(text(query), {"table": table}).scalars()}


def _expected(c: Connection, table: str) -> set[str]:
    if c.dialect.name == "sqlite":
        return set(trigger_statements("sqlite", table))
    return {f"{table}_append_only {_BEFORE_ALL} O {_refusal(table)}"}


def _refusal(table: str) -> str:
    return f"BEGIN RAISE EXCEPTION '{table} is append-only'; END"
