"""The triggers that keep every program, ours included, from changing an entry of the audit log."""

from __future__ import annotations

import re
from typing import Final

from sqlalchemy import Connection, text

_REFUSAL: Final = "BEGIN RAISE EXCEPTION 'audit is append-only'; END"

STATEMENTS: Final = {
    "sqlite": (
        "CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END",
        "CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END",
        # INSERT OR REPLACE removes the row in its way without the trigger above
        (
            "CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit "
            "WHEN EXISTS (SELECT 1 FROM audit WHERE number = NEW.number OR previous = NEW.previous) "
            "BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END"
        ),
    ),
    "postgresql": (
        f"CREATE FUNCTION refuse_change_of_audit() RETURNS trigger LANGUAGE plpgsql AS $$ {_REFUSAL} $$",
        (
            "CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit()"
        ),
    ),
}
"""Statements that make them, by the name of the dialect."""

_SQLITE: Final = "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND lower(tbl_name) = 'audit'"

_POSTGRESQL: Final = """
    SELECT concat_ws(' ', t.tgname, t.tgtype, t.tgenabled, p.prosrc)
    FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid WHERE t.tgrelid = 'audit'::regclass AND NOT t.tgisinternal
"""

_BEFORE_ALL: Final = 2 + 8 + 16 + 32
"""Type of a trigger before a DELETE, UPDATE or TRUNCATE, once a statement (pg_trigger.h)."""


def is_append_only(c: Connection) -> bool:
    """Return whether the audit log has its triggers, and no others."""
    if c.dialect.name == "sqlite":
        found, expected = _SQLITE, set(STATEMENTS["sqlite"])
    else:
        found, expected = _POSTGRESQL, {f"audit_append_only {_BEFORE_ALL} O {_REFUSAL}"}
    return {re.sub(r"\s+", " ", one).strip() for one in c.execute(text(found)).scalars()} == expected
