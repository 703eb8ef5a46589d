"""Silence: learned from the weeks of a site, with few false alarms, by drawn arrivals."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise

import pytest

from appliance.status import silence
from appliance.status.silence import LEARNED, silence_of
from appliance.storage.arrivals import STEP_S, Arrivals

START = datetime(2026, 1, 5, tzinfo=UTC)
"""A Monday."""

WEEKS = 14


@cache
def drawn(rate: float) -> tuple[datetime, ...]:
    """Draw the times of examinations: `rate` in an hour by day, less in the evening, at night and at weekends.

    Days differ by a third, as real ones do.
    """
    draw = random.Random(rate)
    times = []
    for day in range(7 * WEEKS):
        factor = draw.lognormvariate(0, 0.3) * (0.2 if day % 7 >= 5 else 1.0)
        for hour in range(24):
            hourly = rate * factor * (1.0 if 8 <= hour < 17 else 0.3 if 17 <= hour < 22 else 0.05)
            second = draw.expovariate(hourly / 3600)
            while second < 3600:
                times.append(START + timedelta(days=day, hours=hour, seconds=second))
                second += draw.expovariate(hourly / 3600)
    return tuple(times)


def arrivals(times: tuple[datetime, ...], before: datetime) -> Arrivals:
    """Return the arrivals before a moment, as the database tells them."""
    past = [at for at in times if at <= before]
    steps = frozenset(int(at.timestamp() // STEP_S) for at in past if at >= past[-1] - LEARNED)
    return Arrivals(first_at=past[0], last_at=past[-1], steps=steps)


def is_unusual(times: tuple[datetime, ...], last: datetime, at: datetime, listening_since: datetime = START) -> bool:
    found = silence_of(arrivals(times, last), listening_since, at)
    return found is not None and found.is_unusual


@pytest.mark.parametrize("rate", [0.5, 2.0, 10.0])
def test_site_that_sends_as_usual_raises_no_alarm(rate: float) -> None:
    times = drawn(rate)
    # a pause that no radiograph has ended yet is judged last before the next one
    pauses = [(a, b) for a, b in pairwise(times) if (b - a).total_seconds() > silence.LEAST_S]
    longest = sorted(pauses, key=lambda pause: pause[0] - pause[1])[:40]
    assert len(longest) == 40
    assert [pause for pause in longest if is_unusual(times, *pause)] == []


@pytest.mark.parametrize(
    ("rate", "hours"),
    [(10.0, 3), (4.0, 6), (2.0, 24)],  # at ten in the morning of a Wednesday
)
def test_site_that_stops_sending_by_day_raises_an_alarm_within_hours(rate: float, hours: int) -> None:
    stop = START + timedelta(weeks=12, days=2, hours=10)
    assert not is_unusual(drawn(rate), stop, stop + timedelta(minutes=90))
    assert is_unusual(drawn(rate), stop, stop + timedelta(hours=hours))


def test_quiet_night_raises_no_alarm_and_the_morning_does() -> None:
    evening = START + timedelta(weeks=12, days=1, hours=22)
    assert not is_unusual(drawn(4.0), evening, evening + timedelta(hours=9))
    assert is_unusual(drawn(4.0), evening, evening + timedelta(hours=16))


def test_first_two_weeks_raise_no_alarm() -> None:
    times = drawn(10.0)
    for days, seen in ((13, False), (16, True)):
        stop = START + timedelta(days=days, hours=12)
        assert is_unusual(times, stop, stop + timedelta(days=1)) is seen


def test_time_without_a_listener_is_no_silence_of_the_site() -> None:
    stop = START + timedelta(weeks=12, days=2, hours=10)
    at = stop + timedelta(days=1)
    assert is_unusual(drawn(10.0), stop, at)
    assert not is_unusual(drawn(10.0), stop, at, listening_since=at - timedelta(minutes=90))


def test_appliance_without_a_radiograph_has_no_silence() -> None:
    assert silence_of(Arrivals(), START, START) is None


def test_silence_of_a_year_stays_unusual() -> None:
    stop = START + timedelta(weeks=12, days=2, hours=10)
    for days in (1, 41, 43, 400):
        assert is_unusual(drawn(10.0), stop, stop + timedelta(days=days)), days
