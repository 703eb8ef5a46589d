"""Several child processes for one function, so that several instances are read at a time."""

from __future__ import annotations

import os
from collections.abc import Callable
from queue import LifoQueue
from typing import Generic, TypeVar

from .isolation import Isolated

MOST = 4
"""Most child processes unless the configuration asks for more: each may take `isolation.LIMIT_BYTES`."""

T = TypeVar("T")


def default_count() -> int:
    """Return the number of processors without the two that infer and render, at least 1 and at most `MOST`."""
    return min(max(len(os.sched_getaffinity(0)) - 2, 1), MOST)


class IsolatedPool(Generic[T]):
    """Calls a function in one of `count` child processes; as many threads may call it at a time.

    Each call has a child process of its own, so the end of one concerns no other call. The limits of `Isolated` hold
    for each.
    """

    def __init__(self, function: Callable[..., T], count: int, **limits: int) -> None:
        self._all = [Isolated(function, **limits) for _ in range(count)]
        self._free: LifoQueue[Isolated[T]] = LifoQueue()  # the last one used has its code and memory at hand
        for isolated in self._all:
            self._free.put(isolated)

    def __call__(self, *arguments: object) -> T:
        """Return the result of the function once a child process is free; raises as `Isolated`."""
        isolated = self._free.get()
        try:
            return isolated(*arguments)
        finally:
            self._free.put(isolated)

    def interrupt(self) -> None:
        """End the calls that other threads wait for; they raise ``decoder_killed``, and no call follows."""
        for isolated in self._all:
            isolated.interrupt()

    def close(self) -> None:
        """End the child processes after their last calls."""
        for isolated in self._all:
            isolated.close()
