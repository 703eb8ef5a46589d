"""The records that steps and report share."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

Figures = dict[str, object]
"""Name -> value of a finding or measurement, for people and as JSON."""


class StepFailed(Exception):
    """A step found a fault; the message says which."""


class Outcome(StrEnum):
    """End of a step; `STAND_IN` is all that a machine without a card can reach, and is no pass."""

    PASSED = "passed"
    STAND_IN = "stand-in only"
    FAILED = "failed"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The machine under test.

    Attributes
    ----------
    folder
        Folder of the report; TensorRT's plans are kept in it from one step to the next.
    fatbin
        The compiled kernels.
    stand_in
        Whether the driver is the stand-in of the tests, which computes on the CPU.
    """

    folder: Path
    fatbin: Path
    stand_in: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of the check.

    Attributes
    ----------
    about
        The subject, for the report.
    needs_card
        Whether a stand-in would show nothing: times, and the vendor's own programs.
    limit_s
        Seconds after which the step is ended.
    """

    name: str
    about: str
    needs_card: bool = False
    limit_s: float = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A step's end; `fault` says why it failed or was not run."""

    name: str
    about: str
    outcome: Outcome
    seconds: float = 0.0
    fault: str = ""
    figures: Figures


def is_stand_in() -> bool:
    """Return whether libcuda is that of tests/support/driver, which has a symbol of its own."""
    with suppress(OSError):
        return hasattr(ctypes.CDLL("libcuda.so.1"), "osteon_stand_in")
    return False
