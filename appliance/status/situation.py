"""The situation of a destination in one word, for the table of the overview."""

from __future__ import annotations

from enum import StrEnum

from appliance.storage.gate import EVERY

from .facts import Backlog, Facts
from .health import LATE_S


class Situation(StrEnum):
    """Situation of a destination; the first that fits."""

    REMOVED = "not configured"
    HELD = "held"
    FAILS = "fails"
    PARKED = "parked"
    LATE = "late"
    WORKS = "works"
    UNUSED = "unused"

    @property
    def is_good(self) -> bool:
        """Whether nobody need look at it."""
        return self in (Situation.WORKS, Situation.UNUSED)


def situation(destination: Backlog, facts: Facts) -> Situation:
    """Return the situation of a destination."""
    if not destination.is_known:
        return Situation.REMOVED
    if any(hold.destination in (EVERY, destination.name) for hold in facts.holds):
        return Situation.HELD
    if destination.failures and destination.waiting:
        return Situation.FAILS
    if destination.parked:
        return Situation.PARKED
    if destination.age_s(facts.at) > LATE_S:
        return Situation.LATE
    return Situation.WORKS if destination.counts else Situation.UNUSED
