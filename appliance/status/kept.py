"""Values that are kept for some seconds, since they are asked for more often than they change."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Kept(Generic[P, T]):
    """Makes a value once in `keep_s` seconds, however many threads ask for it; the arguments of the first one count."""

    def __init__(self, make: Callable[P, T], keep_s: float) -> None:
        self._make, self._keep_s = make, keep_s
        self._lock = threading.Lock()
        self._kept: tuple[float, T] | None = None

    def __call__(self, *arguments: P.args, **named: P.kwargs) -> T:
        """Return the value; where another thread is making it, wait for that one."""
        with self._lock:
            if self._kept is None or time.monotonic() - self._kept[0] >= self._keep_s:
                self._kept = time.monotonic(), self._make(*arguments, **named)
            return self._kept[1]
