"""The clocks of every role: the wall clock for people and outputs, the time since boot for durations.

The wall clock steps when it is corrected. The time since boot never does; it goes on while the machine sleeps, every
process of one boot reads the same, and it starts again with the next boot.

References
----------
clock_gettime(2), CLOCK_BOOTTIME; random(4), /proc/sys/kernel/random/boot_id.
"""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

wall_s = time.time
"""Seconds of the wall clock since 1970."""

TIME_ERROR = 5
"""Return value of adjtimex(2) for a clock that no time service keeps."""

STRUCT_TIMEX_BYTES = 208
"""Size of struct timex on 64-bit Linux; the mode in its first four bytes is 0, which only reads."""


def now() -> datetime:
    """Return the current time of the wall clock, aware, in UTC."""
    return datetime.fromtimestamp(wall_s(), UTC)


def local_minute(at: datetime) -> str:
    """Return a time for people, in the zone of this machine: ``2026-11-30 17:25 CET``."""
    return f"{at.astimezone():%Y-%m-%d %H:%M %Z}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Both clocks, read together; `boot_id` names the boot that `uptime_s` counts from."""

    at: datetime
    boot_id: str
    uptime_s: float

    def age_s(self, later: Reading) -> float | None:
        """Return the seconds from this reading until `later`; None if the machine was started between them."""
        return later.uptime_s - self.uptime_s if later.boot_id == self.boot_id else None

    def step_s(self, later: Reading) -> float:
        """Return the seconds by which the wall clock was set on (positive) or back (negative) until `later`.

        Over a boot only a step back can be seen, and only as far as the wall clock is behind this reading.
        """
        went_s = (later.at - self.at).total_seconds()
        passed_s = self.age_s(later)
        return min(went_s, 0.0) if passed_s is None else went_s - passed_s


def read_clocks() -> Reading:
    """Read the wall clock and the time since boot."""
    return Reading(at=now(), boot_id=_boot_id(), uptime_s=time.clock_gettime(time.CLOCK_BOOTTIME))


def is_kept() -> bool | None:
    """Return whether a time service keeps the wall clock, by the kernel's own record; None if it may not be asked.

    `timedatectl` reads the same (adjtimex(2)). Containers usually forbid the system call.
    """
    state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(STRUCT_TIMEX_BYTES))
    return None if state < 0 else state != TIME_ERROR


@cache
def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
