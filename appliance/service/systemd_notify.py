"""Notifications to systemd about the state of a role; silent without systemd or without its library."""

from __future__ import annotations

import os
from collections.abc import Callable

Notify = Callable[[str], object]
"""Takes one message or step, in words."""

STEP_S = 600
"""Longest time of one step of a start before systemd takes the role for hung. The longest steps are a GPU's: TensorRT
builds a network, or compiles each of its five shapes on first use with a card. Not yet measured on a card."""


def silent(_: str) -> None:
    """Notify no process."""


def notifier() -> Notify:
    """Return sd_notify(3) if systemd listens, else `silent`.

    Raises
    ------
    ModuleNotFoundError
        If systemd listens and the extra ``systemd`` is not installed: a unit of Type=notify would never start.
    """
    if "NOTIFY_SOCKET" not in os.environ:
        return silent
    from systemd import daemon

    return daemon.notify


def start_notifier() -> Notify:
    """Return a function that names the current step of a start and gives it `STEP_S`, beyond the unit's own limit.

    References
    ----------
    sd_notify(3), EXTEND_TIMEOUT_USEC=: it counts where TimeoutStartSec= of the unit has passed.
    """
    notify = notifier()
    return lambda step: notify(f"EXTEND_TIMEOUT_USEC={STEP_S * 1_000_000}\nSTATUS=starting: {step}")
