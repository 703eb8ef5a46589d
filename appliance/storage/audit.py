"""The audit log: entries are appended in the transaction of the change that they record, and never altered.

Triggers refuse every update and removal. Each entry holds the digest of the one before, so that a change behind the
back of the triggers breaks the chain, and `previous` is unique, so that the chain has no fork.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any, Final

from sqlalchemy import Connection, Row, Table, insert, select, text

from appliance.clock import now
from appliance.domain.audit import FIRST, AuditAction, AuditCheck, AuditEntry, Intervention, check_chain

from .append_only import are_append_only
from .inspection import TABLES
from .tables import audit

LONGEST_REASON: Final = 500
"""Characters of a reason that are kept: a sentence or two."""

_NAMES: Final = {table: queue for queue, table in TABLES.items()}

_NEWEST: Final = select(audit).order_by(audit.c.number.desc())


def record(c: Connection, by: Intervention, action: AuditAction, subject: str, detail: str = "") -> None:
    """Append an entry in the transaction of `c`, which makes the change that the entry records."""
    if c.dialect.name == "postgresql":  # SQLite has one writer at a time anyway
        c.execute(text("LOCK TABLE audit IN SHARE ROW EXCLUSIVE MODE"))
    newest = head(c)
    entry = AuditEntry(
        number=newest.number + 1 if newest else 1,
        at=now(),
        person=by.person,
        door=by.door,
        action=action,
        subject=subject,
        detail=detail,
        reason=_legible(by.reason)[:LONGEST_REASON],
        previous=newest.digest if newest else FIRST,
        digest="",
    )
    c.execute(insert(audit).values(**asdict(replace(entry, digest=entry.computed_digest))))


def record_job(
    c: Connection, by: Intervention, action: AuditAction, table: Table, job_id: int, detail: str = ""
) -> None:
    """Append an entry about a job of `table`, by its name such as ``delivery:12``."""
    record(c, by, action, f"{_NAMES[table]}:{job_id}", detail)


def head(c: Connection) -> AuditEntry | None:
    """Return the newest entry; None for an empty log."""
    row = c.execute(_NEWEST.limit(1)).first()
    return _entry(row) if row else None


def newest_entries(c: Connection, most: int) -> list[AuditEntry]:
    """Return up to `most` entries, newest first."""
    return [_entry(row) for row in c.execute(_NEWEST.limit(most))]


def find_entry(c: Connection, action: AuditAction, detail: str) -> AuditEntry | None:
    """Return the newest entry of an action with that detail; None if there is none."""
    row = c.execute(_NEWEST.where(audit.c.action == action, audit.c.detail == detail).limit(1)).first()
    return _entry(row) if row else None


def all_entries(c: Connection) -> Iterator[AuditEntry]:
    """Yield every entry, oldest first."""
    for row in c.execution_options(yield_per=1000).execute(select(audit).order_by(audit.c.number)):
        yield _entry(row)


def check_log(c: Connection, kept_digest: str = "") -> AuditCheck:
    """Check every entry as `check_chain`, and that the database still refuses changes."""
    found = check_chain(all_entries(c), kept_digest)
    if not found.defect and not are_append_only(c):
        return replace(found, defect="the triggers that refuse changes were removed or altered")
    return found


def _legible(reason: str) -> str:
    """Return `reason` with a space for each character that a terminal or PostgreSQL does not take."""
    return "".join(character if character.isprintable() else " " for character in reason)


def _entry(row: Row[Any]) -> AuditEntry:
    return AuditEntry(**row._mapping)
