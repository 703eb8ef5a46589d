"""The audit log: a person's intervention, and the entry that records it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

FIRST: Final = "0" * 64
"""The `previous` digest of the first entry."""


class Door(StrEnum):
    """The interface that a person used, and that vouches for the person's name."""

    COMMAND_LINE = "command line"
    ACCOUNT = "account"
    PROXY = "proxy"
    APPLIANCE = "appliance"
    """The appliance itself, by one of its rules: no person."""


class AuditAction(StrEnum):
    """The change that an entry records."""

    RETRY = "retry"
    DROP = "drop"
    REROUTE = "reroute"
    HOLD = "hold"
    RELEASE = "release"
    WITHDRAW = "withdraw"
    RESTORE = "restore"
    INSTALL_PACK = "install pack"
    ADD_ACCOUNT = "add account"
    REMOVE_ACCOUNT = "remove account"
    SET_PHASE = "set phase"
    START_VALIDATION = "start validation"
    END_VALIDATION = "end validation"
    READ = "read"
    IMPORT_READS = "import reads"
    WRITE_REPORT = "write report"
    CONCLUDE = "conclude"
    RECHECK = "recheck"
    CHANGE_PASSWORD = "change password"  # noqa: S105  the name of an action


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervention:
    """A person who changes something, and the reason.

    Attributes
    ----------
    person
        User of the operating system, account of the page, or the name that a reverse proxy gives.
    reason
        Free text; it names no patient.
    """

    person: str
    door: Door
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One change, chained to the entry before it.

    Attributes
    ----------
    number
        Position in the log, from 1 without gaps.
    subject
        Job, destination, study's job, account or pack: an identifier of ours, never of a patient.
    detail
        Outcome in words, such as the destination of a rerouted delivery.
    previous
        Digest of the entry before; `FIRST` for the first one.
    digest
        SHA-256 over `previous` and all fields above.
    """

    number: int
    at: datetime
    person: str
    door: Door
    action: AuditAction
    subject: str
    detail: str
    reason: str
    previous: str
    digest: str

    @property
    def computed_digest(self) -> str:
        """Digest computed from the other fields; equals `digest` for an unaltered entry."""
        fields = {
            "number": self.number,
            "at": self.at.isoformat(),
            "person": self.person,
            "door": self.door.value,
            "action": self.action.value,
            "subject": self.subject,
            "detail": self.detail,
            "reason": self.reason,
        }
        canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(f"{self.previous}\n{canonical}".encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditCheck:
    """The outcome of a check of the chain.

    Attributes
    ----------
    entries
        Number of entries before the first defect, or of all.
    head
        Digest of the last of them; `FIRST` if there are none.
    defect
        First defect in words; empty if the chain is whole.
    """

    entries: int
    head: str
    defect: str = ""


def check_chain(entries: Iterable[AuditEntry], kept_digest: str = "") -> AuditCheck:
    """Compute every digest anew, and look for `kept_digest`, a digest that the site keeps outside the appliance.

    Parameters
    ----------
    entries
        All entries, oldest first; one that cannot be read raises ValueError.
    kept_digest
        `FIRST` stands for a log without entries.
    """
    number, previous, has_kept, defect = 0, FIRST, not kept_digest, ""
    try:
        for entry in entries:
            defect = _defect(entry, number + 1, previous)
            if defect:
                break
            number, previous = entry.number, entry.digest
            has_kept = has_kept or entry.digest == kept_digest
    except ValueError:
        defect = f"entry {number + 1} was altered: it cannot be read"
    if not defect and not has_kept and (kept_digest, number) != (FIRST, 0):
        defect = "no entry has the digest that was kept: entries were removed, or a backup was restored"
    return AuditCheck(entries=number, head=previous, defect=defect)


def _defect(entry: AuditEntry, number: int, previous: str) -> str:
    if entry.number != number:
        return f"entry {number} is missing"
    if entry.previous != previous:
        return f"entry {number} does not follow the entry before it"
    return f"entry {number} was altered" if entry.computed_digest != entry.digest else ""
