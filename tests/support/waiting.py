"""Waiting for a condition, with a limit that only a hang reaches."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 300.0
"""Limit of every wait in the tests. It finds hangs and claims nothing about speed: the machine may be busy."""


def wait_until(condition: Callable[[], object], name: str | Callable[[], str], patience_s: float = PATIENCE_S) -> None:
    """Poll until `condition` is true; `name` says in the failure which one it was."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience_s:.0f} s for: {name if isinstance(name, str) else name()}")
        time.sleep(0.02)
