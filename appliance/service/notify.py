"""Tells systemd how a role is doing; without systemd, or without its library, it is silent."""

from __future__ import annotations

import os
from collections.abc import Callable

Notify = Callable[[str], object]


def _silent(_: str) -> None:
    return None


def notifier() -> Notify:
    """sd_notify(3) if systemd listens, else nothing.

    Raises
    ------
    ModuleNotFoundError
        If systemd listens and the extra ``systemd`` is not installed: a unit of Type=notify would never start.
    """
    if "NOTIFY_SOCKET" not in os.environ:
        return _silent
    from systemd import daemon

    return daemon.notify
