"""Silence: no radiograph comes at a time when this site usually sends, as its own weeks tell.

The rhythm of a site is the share of ten-minute steps, for each weekday and hour, in which radiographs came. The chance
of a silence is the product of the chances of its steps to be empty. A radiograph that a router no longer sends makes no
other condition false, so that the appliance would look well.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from appliance.storage.arrivals import STEP_S, Arrivals

LEARNED = timedelta(weeks=6)
"""Newest weeks that the rhythm is learned from: a change of the site's hours is known soon."""

LEAST_SEEN = timedelta(weeks=2)
"""Time before which no silence is judged: each hour of the week was seen twice."""

LEAST_S = 7200.0
"""Shortest silence that is reported, however busy the site is: archives are restarted, and rooms have breaks."""

LEAST_CHANCE = 1e-5
"""Chance below which a silence is reported; docs/decisions/0035-silence-and-alarms.md has the simulation."""

STEPS_PER_HOUR = 3600 // STEP_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """The time without a radiograph.

    Attributes
    ----------
    since
        Time of the newest radiograph, or of the start of the role `receive` if that was later.
    length_s
        Seconds until now.
    chance
        Chance of so long a silence by the rhythm of the site, 1 before `LEAST_S`; None before `LEAST_SEEN`.
    """

    since: datetime
    length_s: float
    chance: float | None

    @property
    def is_unusual(self) -> bool:
        """Whether a person should look why no radiograph comes."""
        return self.chance is not None and self.chance < LEAST_CHANCE and self.length_s >= LEAST_S


def silence_of(arrivals: Arrivals, listening_since: datetime, at: datetime) -> Silence | None:
    """Return the silence at `at`; None before the first radiograph."""
    first_at, last_at = arrivals.first_at, arrivals.last_at
    if first_at is None or last_at is None:
        return None
    since = max(last_at, listening_since)
    length_s = (at - since).total_seconds()
    if last_at - first_at < LEAST_SEEN:
        return Silence(since=since, length_s=length_s, chance=None)
    if length_s < LEAST_S:
        return Silence(since=since, length_s=length_s, chance=1.0)
    rhythm = learn_rhythm(
        arrivals.steps, max(first_at, last_at - LEARNED), last_at
    )  # the silence itself teaches nothing
    return Silence(since=since, length_s=length_s, chance=_chance(rhythm, since, at))


def learn_rhythm(steps: Iterable[int], first_at: datetime, last_at: datetime) -> Mapping[tuple[int, int], float]:
    """Return, by weekday and hour of the site, the share of steps with radiographs.

    The share is as if one more week had been silent: few weeks claim less.
    """
    hours = range(_step(first_at) // STEPS_PER_HOUR, _step(last_at) // STEPS_PER_HOUR)
    weeks = Counter(_slot(hour) for hour in hours)
    busy = Counter(_slot(hour) for step in steps if (hour := step // STEPS_PER_HOUR) in hours)
    return {slot: busy[slot] / (STEPS_PER_HOUR * (number + 1)) for slot, number in weeks.items()}


def _chance(rhythm: Mapping[tuple[int, int], float], since: datetime, at: datetime) -> float:
    """Return the chance that no radiograph comes in any whole step between the two times."""
    logarithm = 0.0
    for step in range(_step(since) + 1, _step(min(at, since + LEARNED))):
        logarithm += math.log1p(-rhythm.get(_slot(step // STEPS_PER_HOUR), 0.0))
        if logarithm < 2 * math.log(LEAST_CHANCE):
            break
    return math.exp(logarithm)


def _step(at: datetime) -> int:
    return int(at.timestamp() // STEP_S)


def _slot(hour: int) -> tuple[int, int]:
    """Return weekday and hour on the clocks of the site, of an hour since 1970."""
    local = datetime.fromtimestamp(hour * 3600, UTC).astimezone()
    return local.weekday(), local.hour
