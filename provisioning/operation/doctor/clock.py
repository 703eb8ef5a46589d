"""Check of this machine's clock: a time service keeps it, by the kernel's own record."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.clock import is_kept

from .finding import Finding


def check_clock() -> Iterator[Finding]:
    """Yield the finding about the time service."""
    kept = is_kept()
    if kept is None:
        yield Finding.good("clock", "the time service cannot be asked here")
    elif kept:
        yield Finding.good("clock", "a time service keeps the clock of this box")
    else:
        yield Finding.warning(
            "clock",
            "no time service keeps the clock of this box",
            "times in answers, certificates and retention drift with it",
            "`timedatectl set-ntp true`, with the hospital's time server in /etc/systemd/timesyncd.conf",
        )
