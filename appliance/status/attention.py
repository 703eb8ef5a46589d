"""The conditions that are not met, each with its reason and the next command: for the page and `osteon status`.

A reason quotes a peer or a person. Alarms leave the house, and tell the code in our own words instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from appliance.domain.reason import ReasonCode

from .facts import Backlog, Facts
from .health import Condition, Severity, problems
from .records import DestinationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """A condition that is not met.

    Attributes
    ----------
    reason
        The newest failure behind it without identity, or the words of the person who set a hold; empty if the sentence
        says it all.
    code
        The code of that failure.
    command
        The next command; empty if the sentence names it.
    """

    name: str
    severity: Severity
    sentence: str
    reason: str = ""
    code: ReasonCode = ReasonCode.NONE
    command: str = ""

    @property
    def told(self) -> str:
        """The failure in our own words: its code, and the remedy."""
        return f"{self.code.sentence} {self.code.remedy} ({self.code})" if self.code else ""


def attention(
    facts: Facts, conditions: tuple[Condition, ...], errors: Mapping[str, DestinationError]
) -> tuple[Attention, ...]:
    """Return the conditions that are not met and follow from no other, gravest first, then those of destinations."""
    destinations = {f"destination.{backlog.name}": backlog for backlog in facts.destinations}
    holds = {f"gate.{hold.destination}": hold.reason for hold in facts.holds}
    found = [_attention(c, destinations.get(c.name), errors, holds.get(c.name, "")) for c in problems(conditions)]
    return tuple(sorted(found, key=lambda one: (one.severity is not Severity.ERROR, one.name not in destinations)))


def _attention(
    condition: Condition, destination: Backlog | None, errors: Mapping[str, DestinationError], reason: str
) -> Attention:
    code, command = ReasonCode.NONE, ""
    if destination:
        if error := errors.get(destination.name):
            reason, code = f"{error.reason} ({error.code})", error.code
        command = _command(destination)
    elif condition.name.startswith("queue."):
        command = "osteon queue list"
    elif condition.name == "database":
        command = "osteon doctor"
    return Attention(
        name=condition.name,
        severity=condition.severity,
        sentence=condition.sentence,
        reason=reason,
        code=code,
        command=command,
    )


def _command(destination: Backlog) -> str:
    name = f'"{destination.name}"' if " " in destination.name else destination.name
    if not destination.is_known:
        return f"osteon queue reroute --from {name} --to OTHER, or osteon queue drop --to {name} --reason WHY"
    return f"osteon queue retry --to {name}, once the reason is mended" if destination.parked else "osteon doctor"
