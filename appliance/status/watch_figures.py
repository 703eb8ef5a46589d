"""The watch of sites for the rollout page: agreement with final reports, answers by week, turnaround and drift."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from sqlalchemy import Connection

from appliance.domain.finding import Answer
from appliance.domain.identifiers import Site
from appliance.domain.reason import ReasonCode
from appliance.rollout.statistics import Rate, rate
from appliance.storage.drift import DriftWindow, drift_of_sites
from appliance.storage.monitoring import Agreement, Turnaround, Week, agreement, turnaround, weeks

from .sparkline import Sparkline, sparkline

WEEKS: Final = 12
"""Weeks of a trend, and windows of a trend of drift."""

AGREEMENT_DAYS: Final = 90
MOST_REPORTS: Final = 2_000
"""Days over which agreement is counted, and the most final reports: the newest of them."""

TURNAROUND_DAYS: Final = 7
"""Days over which turnaround is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """A figure of the running week, and its chart by week."""

    name: str
    newest: str
    chart: Sparkline


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftTrend:
    """A figure of a site beside its reference: the newest window, and the index of the windows before.

    Attributes
    ----------
    psi, p_value
        Of the newest window.
    """

    site: Site
    figure: str
    psi: float
    p_value: float
    is_drift: bool
    chart: Sparkline


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchFigures:
    """The figures of the watch.

    Attributes
    ----------
    agreements
        Of each site, with the rate of studies about which appliance and radiologist say the same.
    reasons
        Radiographs not analysed in the weeks of the trends, by reason, most frequent first.
    turnaround
        By destination.
    """

    trends: tuple[Trend, ...]
    reasons: tuple[tuple[ReasonCode, int], ...]
    agreements: tuple[tuple[Agreement, Rate], ...]
    turnaround: Mapping[str, Turnaround]
    drift: tuple[DriftTrend, ...]


def read_watch(c: Connection, at: datetime) -> WatchFigures:
    """Read the figures as of `at`."""
    found = weeks(c, at, WEEKS)
    reasons = Counter[ReasonCode]()
    for week in found:
        reasons.update(week.reasons)
    agreed = agreement(c, at - timedelta(days=AGREEMENT_DAYS), MOST_REPORTS)
    return WatchFigures(
        trends=tuple(trends(found, at)) if found else (),
        reasons=tuple(reasons.most_common()),
        agreements=tuple((one, rate(one.agreeing, one.compared)) for one in agreed),
        turnaround=turnaround(c, at - timedelta(days=TURNAROUND_DAYS), at),
        drift=tuple(drift_trends(drift_of_sites(c, WEEKS))),
    )


def trends(found: Iterable[Week], at: datetime) -> Iterable[Trend]:
    """Return the trends of the last weeks; a week without radiographs has no bar."""
    monday = at.date() - timedelta(days=at.weekday())
    by_begin = {week.begin.date(): week for week in found}
    in_order = [by_begin.get(monday - timedelta(weeks=WEEKS - 1 - number)) for number in range(WEEKS)]
    yield _trend("Radiographs", in_order, lambda week: float(week.total), "{:.0f}")
    for name, answers in _SHARES.items():
        yield _trend(name, in_order, partial(_share, answers), "{:.1%}")


def drift_trends(windows: Mapping[Site, Sequence[DriftWindow]]) -> Iterable[DriftTrend]:
    """Return the trend of each figure of the newest window of each site.

    Parameters
    ----------
    windows
        Newest first.
    """
    for site, of_site in windows.items():
        for newest in of_site[0].comparisons if of_site else ():
            known = [
                next((one.psi for one in window.comparisons if one.figure == newest.figure), None)
                for window in reversed(of_site)
            ]
            values = [None] * (WEEKS - len(known)) + known
            name = newest.figure.replace("_", " ")
            told = ", ".join("-" if value is None else f"{value:.2f}" for value in values)
            yield DriftTrend(
                site=site,
                figure=name,
                psi=newest.psi,
                p_value=newest.p_value,
                is_drift=newest.is_drift,
                chart=sparkline(values, f"Stability index of {name}, {site.label}, by window, oldest first: {told}"),
            )


_SHARES: Final = {
    "Fracture suspected or possible": (Answer.POSITIVE, Answer.DOUBT),
    "Incomplete": (Answer.INCOMPLETE,),
    "Not analysed": (Answer.NOT_ANALYSED,),
}


def _share(answers: Sequence[Answer], week: Week) -> float:
    return sum(week.answers.get(answer, 0) for answer in answers) / week.total


def _trend(name: str, in_order: Sequence[Week | None], figure: Callable[[Week], float], form: str) -> Trend:
    values = [figure(week) if week and week.total else None for week in in_order]
    told = ["-" if value is None else form.format(value) for value in values]
    sentence = f"{name} by week, {len(values)} weeks, oldest first: {', '.join(told)}"
    return Trend(name=name, newest=told[-1], chart=sparkline(values, sentence))
