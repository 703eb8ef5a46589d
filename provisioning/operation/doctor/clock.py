"""Check of this machine's clock: a time service keeps it, by the kernel's own record."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator

from .finding import Finding

TIME_ERROR = 5
"""Return value of adjtimex(2) for a clock that no time service keeps."""

STRUCT_TIMEX_BYTES = 208
"""Size of struct timex on 64-bit Linux; the mode in its first four bytes is 0, which only reads."""


def check_clock() -> Iterator[Finding]:
    """Yield the finding about the time service (adjtimex(2), which `timedatectl` reads too)."""
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(STRUCT_TIMEX_BYTES))
    if state == TIME_ERROR:
        yield Finding.warning(
            "clock",
            "no time service keeps the clock of this box",
            "times in answers, certificates and retention drift with it",
            "`timedatectl set-ntp true`, with the hospital's time server in /etc/systemd/timesyncd.conf",
        )
    elif state < 0:
        yield Finding.good("clock", f"the time service cannot be asked here: {os.strerror(ctypes.get_errno())}")
    else:
        yield Finding.good("clock", "a time service keeps the clock of this box")
