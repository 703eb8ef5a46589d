"""The figures of today and of the last seven days: how many radiographs came, their answers, and how long it took."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from datetime import time as time_of_day
from math import ceil
from statistics import median
from typing import Generic, TypeVar

from sqlalchemy import Engine

from appliance.domain.finding import Answer
from appliance.domain.reason import ReasonCode
from appliance.storage.figures import Passage, passages

from .sparkline import Sparkline, sparkline

HOURS, DAYS = 24, 7
"""Bars of the two charts."""

KEPT_S = 15.0
"""Seconds for which the figures are kept: several people may look at a page that reads itself again."""

PAST_KEPT_S = 600.0
"""Seconds for which the radiographs of the days before are kept: late deliveries alone change them."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One figure: of today and of seven days, with its charts by hour and by day."""

    name: str
    today: str
    hours: Sparkline
    week: str
    days: Sparkline


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The figures at one moment.

    Attributes
    ----------
    declined
        Radiographs of today that were not analysed, by reason, most frequent first.
    median_s
        By destination, median seconds from receipt to the last artefact of a radiograph, of today.
    """

    lines: tuple[Line, ...] = ()
    declined: tuple[tuple[ReasonCode, int], ...] = ()
    median_s: Mapping[str, float] = field(default_factory=dict)


class FigureReader:
    """Reads the figures, and keeps them for a moment.

    Parameters
    ----------
    pacs
        Name of the destination up to which the time is measured; empty if there is no PACS.
    """

    def __init__(self, engine: Engine, pacs: str) -> None:
        self._engine, self._pacs = engine, pacs
        self._lock = threading.Lock()
        self._figures: _Kept[Figures] = _Kept(KEPT_S)
        self._past: _Kept[tuple[datetime, list[Passage]]] = _Kept(PAST_KEPT_S)

    def read(self, at: datetime) -> Figures:
        """Return the figures; raises as the database does."""
        with self._lock:
            return self._figures.value(local_day(at), lambda: self._read(at))

    def _read(self, at: datetime) -> Figures:
        day = local_day(at)

        def read_past() -> tuple[datetime, list[Passage]]:
            end = min(_midnight(day), _hours(at)[0])
            return end, self._passages(_midnight(day - timedelta(days=DAYS - 1)), end)

        end, past = self._past.value(day, read_past)
        # not later than now: what a clock that was ahead dated would be of today on every day until then
        return figures([*past, *self._passages(end, at)], at, self._pacs)

    def _passages(self, since: datetime, before: datetime) -> list[Passage]:
        with self._engine.connect() as c:
            return passages(c, since, before)


class _Kept(Generic[T]):
    """A value that is read again after some time, and on another day."""

    def __init__(self, kept_s: float) -> None:
        self._kept_s = kept_s
        self._read: tuple[date, float, T] | None = None

    def value(self, day: date, read: Callable[[], T]) -> T:
        """Return the value, by `read` where it is too old."""
        if self._read is None or self._read[0] != day or time.monotonic() - self._read[1] > self._kept_s:
            self._read = day, time.monotonic(), read()
        return self._read[2]


def figures(found: Sequence[Passage], at: datetime, pacs: str) -> Figures:
    """Return the figures of `found` as of `at`; a day begins at midnight of this machine's zone."""
    hours, days = _groups(found, _hours(at)), _groups(found, _days(at))
    today = days[-1]
    lines = [_count_line(name, hours, days, matches) for name, matches in _COUNTED.items()]
    if pacs:
        lines += [
            _time_line(f"Median seconds to {pacs}", hours, days, pacs, median),
            _time_line(f"p95 seconds to {pacs}", hours, days, pacs, percentile_95),
        ]
    declined = Counter(p.code for p in today if p.code is not ReasonCode.NONE)
    seconds = {name: _seconds(today, name) for name in dict.fromkeys(name for p in today for name in p.delivered_at)}
    return Figures(
        lines=tuple(lines),
        declined=tuple(declined.most_common()),
        median_s={name: median(values) for name, values in seconds.items() if values},
    )


def percentile_95(values: Sequence[float]) -> float:
    """Return the least value that 95 % of `values` do not exceed (nearest rank)."""
    return sorted(values)[ceil(0.95 * len(values)) - 1]


def local_day(at: datetime) -> date:
    """Return the date of a time in the zone of this machine."""
    return at.astimezone().date()


def _hours(at: datetime) -> list[datetime]:
    """Return the begins of the last `HOURS` hours, the present one last."""
    present = at.replace(minute=0, second=0, microsecond=0)
    return [present - timedelta(hours=HOURS - 1 - number) for number in range(HOURS)]


def _days(at: datetime) -> list[datetime]:
    """Return the begins of the last `DAYS` days, today last."""
    return [_midnight(local_day(at) - timedelta(days=DAYS - 1 - number)) for number in range(DAYS)]


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time_of_day()).astimezone()


def _groups(found: Iterable[Passage], begins: Sequence[datetime]) -> list[list[Passage]]:
    """Return the radiographs by the span in which they came, without those that came before the first."""
    groups: list[list[Passage]] = [[] for _ in begins]
    for p in found:
        if p.received_at >= begins[0]:
            groups[bisect_right(begins, p.received_at) - 1].append(p)
    return groups


def _is(*answers: Answer) -> Callable[[Passage], bool]:
    return lambda passage: passage.answer in answers


_COUNTED: Mapping[str, Callable[[Passage], bool]] = {
    "Received": lambda _: True,
    "Answered": _is(Answer.POSITIVE, Answer.DOUBT, Answer.INCOMPLETE, Answer.NEGATIVE),
    "Fracture suspected": _is(Answer.POSITIVE),
    "Possible fracture": _is(Answer.DOUBT),
    "Incomplete": _is(Answer.INCOMPLETE),
    "Not analysed": _is(Answer.NOT_ANALYSED),
}


def _count_line(
    name: str, by_hour: Sequence[list[Passage]], by_day: Sequence[list[Passage]], matches: Callable[[Passage], bool]
) -> Line:
    hours, days = ([sum(map(matches, group)) for group in groups] for groups in (by_hour, by_day))
    return Line(
        name=name,
        today=str(days[-1]),
        hours=sparkline(hours, _sentence(name, "hour", hours)),
        week=str(sum(days)),
        days=sparkline(days, _sentence(name, "day", days)),
    )


def _time_line(
    name: str,
    by_hour: Sequence[list[Passage]],
    by_day: Sequence[list[Passage]],
    pacs: str,
    figure: Callable[[Sequence[float]], float],
) -> Line:
    def of(group: Iterable[Passage]) -> float | None:
        seconds = _seconds(group, pacs)
        return figure(seconds) if seconds else None

    hours, days = ([of(group) for group in groups] for groups in (by_hour, by_day))
    return Line(
        name=name,
        today=_number(days[-1]),
        hours=sparkline(hours, _sentence(name, "hour", hours)),
        week=_number(of(p for group in by_day for p in group)),
        days=sparkline(days, _sentence(name, "day", days)),
    )


def _seconds(found: Iterable[Passage], destination: str) -> list[float]:
    """Return the seconds to a destination, without those over which the clock was set back."""
    return [
        (at - p.received_at).total_seconds()
        for p in found
        if (at := p.delivered_at.get(destination)) and at >= p.received_at
    ]


def _sentence(name: str, unit: str, values: Sequence[float | None]) -> str:
    told = ", ".join(_number(value) for value in values)
    return f"{name} by {unit}, {len(values)} {unit}s, oldest first: {told}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
