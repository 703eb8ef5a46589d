"""The chain of the audit log notices each entry that was altered, removed, added or cut off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from appliance.domain.audit import FIRST, AuditAction, AuditEntry, Door, check_chain


def entry(number: int, previous: str) -> AuditEntry:
    unsealed = AuditEntry(
        number=number,
        at=datetime(2026, 11, 30, 12, number, 0, 123456, tzinfo=UTC),
        person="anna",
        door=Door.COMMAND_LINE,
        action=AuditAction.DROP,
        subject=f"delivery:{number}",
        detail="",
        reason="a wrong address",
        previous=previous,
        digest="",
    )
    return replace(unsealed, digest=unsealed.computed_digest)


@pytest.fixture
def log() -> list[AuditEntry]:
    entries: list[AuditEntry] = []
    for number in (1, 2, 3):
        entries.append(entry(number, entries[-1].digest if entries else FIRST))
    return entries


def test_whole_chain_has_no_defect(log: list[AuditEntry]) -> None:
    found = check_chain(log, log[1].digest)
    assert (found.entries, found.head, found.defect) == (3, log[2].digest, "")
    assert check_chain([], FIRST).defect == ""
    assert "removed" in check_chain(log, FIRST).defect


@pytest.mark.parametrize("field", [f for f in AuditEntry.__slots__ if f not in ("number", "previous", "digest", "at")])
@pytest.mark.proves("SEC-8")
def test_altered_field_is_found(log: list[AuditEntry], field: str) -> None:
    log[1] = replace(log[1], **{field: "other"})  # type: ignore[arg-type]
    if field in ("door", "action"):
        log[1] = replace(log[1], door=Door.PROXY, action=AuditAction.RETRY)
    assert check_chain(log).defect == "entry 2 was altered"


def test_altered_time_is_found(log: list[AuditEntry]) -> None:
    log[1] = replace(log[1], at=log[1].at.replace(microsecond=123457))
    assert check_chain(log).defect == "entry 2 was altered"


def test_removed_entry_is_found(log: list[AuditEntry]) -> None:
    assert check_chain([log[0], log[2]]).defect == "entry 2 is missing"
    assert check_chain(log[1:]).defect == "entry 1 is missing"


def test_entry_sealed_anew_does_not_fit_the_next(log: list[AuditEntry]) -> None:
    forged = replace(log[1], person="berta")
    log[1] = replace(forged, digest=forged.computed_digest)
    found = check_chain(log)
    assert (found.entries, found.defect) == (2, "entry 3 does not follow the entry before it")


def test_cut_and_rewritten_logs_lack_the_digest_that_was_kept(log: list[AuditEntry]) -> None:
    kept = log[2].digest
    assert check_chain(log[:2]).defect == ""
    assert "removed" in check_chain(log[:2], kept).defect
    assert "removed" in check_chain([], kept).defect
    rewritten = [replace(log[0], person="berta")]
    rewritten[0] = replace(rewritten[0], digest=rewritten[0].computed_digest)
    assert "removed" in check_chain(rewritten, kept).defect


def test_entry_that_cannot_be_read_is_found(log: list[AuditEntry]) -> None:
    def reading() -> Iterator[AuditEntry]:
        yield log[0]
        raise ValueError("'x' is not a valid Door")

    assert check_chain(reading()).defect == "entry 2 was altered: it cannot be read"
