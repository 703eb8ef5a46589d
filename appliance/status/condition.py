"""A condition of a healthy appliance, and the words that conditions share."""

from __future__ import annotations

import re
from dataclasses import dataclass

from appliance.domain.alarm import Severity as Severity

_PERSON_NAME = re.compile(r"[^\s'\"(),;|]*\^[^'\"(),;|]*")
_UID = re.compile(r"\b\d+(?:\.\d+){4,}\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition of a healthy appliance.

    Attributes
    ----------
    sentence
        The state for a person; if the condition is not met, also the next step.
    depends_on
        Names of conditions that must hold before this one can be judged.
    is_starting
        Whether the condition will soon be met by itself: a role starts.
    """

    name: str
    ok: bool
    severity: Severity
    sentence: str
    depends_on: tuple[str, ...] = ()
    is_starting: bool = False


def duration(seconds: float) -> str:
    """Return `seconds` for people: ``8 s``, ``4 min``, ``2 h 5 min``, ``3 d 4 h``."""
    s = max(0, round(seconds))
    if s < 90:
        return f"{s} s"
    minutes, hours = round(s / 60), s // 3600
    if minutes < 90:
        return f"{minutes} min"
    if hours < 48:
        return f"{hours} h {s % 3600 // 60} min"
    return f"{hours // 24} d {hours % 24} h"


def without_identity(text: str) -> str:
    """Return `text` without UIDs and without names in the form of DICOM and HL7 (``Doe^Jane``).

    Our own sentences carry none; the words of a peer, quoted in a refusal, can.
    """
    return _UID.sub("[UID]", _PERSON_NAME.sub("[name]", text))


def count(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 day``, ``2 days``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
