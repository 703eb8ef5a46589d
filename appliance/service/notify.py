"""Tells systemd how a role is doing; without systemd, or without its library, it is silent."""

from __future__ import annotations

import os
from collections.abc import Callable

Notify = Callable[[str], object]


STEP_S = 600
"""What one step of a start may take before it counts as hanging. The longest are a GPU's: a network that TensorRT
builds, or compiles for each of its five shapes where it meets a card for the first time. No card has timed one."""


def silent(_: str) -> None:
    """Tells nobody."""


def notifier() -> Notify:
    """sd_notify(3) if systemd listens, else nothing.

    Raises
    ------
    ModuleNotFoundError
        If systemd listens and the extra ``systemd`` is not installed: a unit of Type=notify would never start.
    """
    if "NOTIFY_SOCKET" not in os.environ:
        return silent
    from systemd import daemon

    return daemon.notify


def starting() -> Notify:
    """Tells systemd what a role that is not ready yet is doing; each step may take `STEP_S`, whatever the unit says.

    References
    ----------
    sd_notify(3), EXTEND_TIMEOUT_USEC=: it counts where TimeoutStartSec= of the unit has passed.
    """
    notify = notifier()
    return lambda step: notify(f"EXTEND_TIMEOUT_USEC={STEP_S * 1_000_000}\nSTATUS=starting: {step}")
