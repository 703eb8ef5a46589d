"""A limit on attempts, by account and by address, so that no password is guessed in bulk."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Final

MOST_KEYS: Final = 10_000
"""Keys that are remembered; the one that was not used for longest is forgotten first."""


class Throttle:
    """Counts attempts by key, in memory: a restart forgets them, and only the site can cause one.

    Parameters
    ----------
    most, within_s
        Attempts that one key may make in that time.
    """

    def __init__(self, most: int, within_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._within_s, self._clock = most, within_s, clock
        self._attempts: OrderedDict[Hashable, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def admit(self, key: Hashable) -> int:
        """Count an attempt and return 0, or return the seconds until the next one is allowed."""
        with self._lock:
            moment = self._clock()
            attempts = self._attempts.setdefault(key, deque())
            self._attempts.move_to_end(key)
            while attempts and attempts[0] <= moment - self._within_s:
                attempts.popleft()
            if len(attempts) >= self._most:
                return math.ceil(attempts[0] + self._within_s - moment)
            attempts.append(moment)
            while len(self._attempts) > MOST_KEYS:
                self._attempts.popitem(last=False)
            return 0

    def give_back(self, key: Hashable) -> None:
        """Count the newest attempt of a key no longer: it was right."""
        with self._lock:
            if attempts := self._attempts.get(key):
                attempts.pop()

    def forget(self, key: Hashable) -> None:
        """Forget the attempts of a key, which was right in the end."""
        with self._lock:
            self._attempts.pop(key, None)
