"""A finding of the doctor, and the checks that make findings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """Gravity of a finding: nothing to do, some radiographs or a later day are in danger, or no answer leaves."""

    GOOD = "good"
    WARNING = "warning"
    ERROR = "error"

    @property
    def exit_status(self) -> int:
        """Exit status of a command whose gravest finding has this level."""
        return list(Level).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that the doctor saw, without any patient's data.

    Attributes
    ----------
    check
        Stable name of the check, such as ``destination.pacs.association``.
    seen
        The state, in a sentence.
    effect
        The consequence for the site; empty if the finding is good.
    remedy
        The next step, a command where there is one; empty if the finding is good.
    """

    check: str
    level: Level
    seen: str
    effect: str = ""
    remedy: str = ""

    @classmethod
    def good(cls, check: str, seen: str) -> Finding:
        """Make a finding with nothing to do."""
        return cls(check=check, level=Level.GOOD, seen=seen)

    @classmethod
    def warning(cls, check: str, seen: str, effect: str, remedy: str) -> Finding:
        """Make a finding that needs attention."""
        return cls(check=check, level=Level.WARNING, seen=seen, effect=effect, remedy=remedy)

    @classmethod
    def error(cls, check: str, seen: str, effect: str, remedy: str) -> Finding:
        """Make a finding of a fault."""
        return cls(check=check, level=Level.ERROR, seen=seen, effect=effect, remedy=remedy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A check by its name; `look` returns its findings."""

    name: str
    look: Callable[[], Iterable[Finding]]


def gravest(findings: Iterable[Finding]) -> Level:
    """Return the gravest level of the findings."""
    return max((finding.level for finding in findings), key=lambda level: level.exit_status, default=Level.GOOD)
