"""Figures for the watch of sites: agreement with final reports, answers by week, and turnaround; without identity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, Float, Integer, Row, cast, func, select, type_coerce

from appliance.domain.finding import Answer
from appliance.domain.identifiers import Site
from appliance.domain.phase import Phase
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Result
from appliance.domain.validation import Conclusion
from appliance.rollout.told import phase_told, phases_from_json, told

from .conclusions import conclusions_of_studies
from .figures import passages
from .tables import analyses, results, traits

WEEK_S: Final = 7 * 86_400

MONDAY_S: Final = 4 * 86_400
"""Seconds from the begin of 1970, a Thursday, to its first Monday."""

QUANTILES: Final = (0.5, 0.95, 0.99)

AT_A_TIME: Final = 500
"""Studies whose results are read by one query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Live answers about studies of one site, beside the conclusions of their final reports.

    The answer about a study is its gravest: a fracture if positive or in doubt, none if every radiograph is negative.

    Attributes
    ----------
    both, only_appliance, only_radiologist, neither
        Studies by who says that there is a fracture.
    not_answered
        Studies that were concluded, and whose answer is incomplete or not analysed.
    open
        Studies whose report waits for a person, or which a person could not conclude either.
    """

    site: Site
    both: int = 0
    only_appliance: int = 0
    only_radiologist: int = 0
    neither: int = 0
    not_answered: int = 0
    open: int = 0

    @property
    def agreeing(self) -> int:
        """Number of studies about which both say the same."""
        return self.both + self.neither

    @property
    def compared(self) -> int:
        """Number of studies about which both say something."""
        return self.agreeing + self.only_appliance + self.only_radiologist


@dataclass(frozen=True, slots=True, kw_only=True)
class Week:
    """The answers about radiographs in a week of UTC, from Monday on.

    Attributes
    ----------
    reasons
        Radiographs not analysed, by reason.
    """

    begin: datetime
    answers: dict[Answer, int] = field(default_factory=dict)
    reasons: dict[ReasonCode, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Number of radiographs."""
        return sum(self.answers.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Turnaround:
    """Seconds from the receipt of a radiograph to the delivery of its last artefact at a destination.

    Attributes
    ----------
    delivered
        Radiographs that were delivered.
    p50, p95, p99
        Quantiles; None if none was delivered.
    """

    delivered: int
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


def agreement(c: Connection, since: datetime, most: int) -> list[Agreement]:
    """Return the agreement of each site whose live answers were reported on since then, in the order of `Site`.

    A study counts for the site of all its radiographs; one of several sites counts for none.

    Parameters
    ----------
    most
        Number of the newest reports that count.
    """
    reports = conclusions_of_studies(c, since, most)
    counts: dict[Site, Counter[str]] = {}
    for uid, live in _live_results(c, list(reports)).items():
        sites = {one.site for one in live}
        if len(sites) != 1 or not (site := sites.pop()):
            continue
        counts.setdefault(site, Counter())[_cell([one.answer for one in live], reports[uid].conclusion)] += 1
    return [Agreement(site=site, **counts[site]) for site in Site if site in counts]


def weeks(c: Connection, at: datetime, number: int = 12) -> list[Week]:
    """Return the answers of the last weeks, oldest first, the running one last; weeks without any are left out."""
    seconds = (type_coerce(results.c.created_at, Float) - MONDAY_S) / WEEK_S
    # SQLite cuts off in a cast, where PostgreSQL rounds
    week = cast(seconds if c.dialect.name == "sqlite" else func.floor(seconds), Integer).label("week")
    # a subquery, since PostgreSQL takes two expressions with parameters for different ones
    each = (
        select(week, results.c.answer, analyses.c.code)
        .join(analyses, results.c.analysis_id == analyses.c.id)
        .where(results.c.created_at >= _begin(_week(at) - number + 1))
        .subquery()
        .c
    )
    query = select(each.week, each.answer, each.code, func.count().label("radiographs"))
    query = query.group_by(each.week, each.answer, each.code).order_by(each.week)
    found: dict[int, Week] = {}
    for row in c.execute(query):
        one = found.setdefault(row.week, Week(begin=_begin(row.week)))
        one.answers[row.answer] = one.answers.get(row.answer, 0) + row.radiographs
        if row.answer is Answer.NOT_ANALYSED:
            one.reasons[row.code] = one.reasons.get(row.code, 0) + row.radiographs
    return list(found.values())


def turnaround(c: Connection, since: datetime, before: datetime) -> dict[str, Turnaround]:
    """Return the turnaround of the radiographs received in a span of time, by destination."""
    waits: dict[str, list[float]] = {}
    for passage in passages(c, since, before):
        for destination, delivered_at in passage.delivered_at.items():
            waits.setdefault(destination, []).append((delivered_at - passage.received_at).total_seconds())
    return {destination: _turnaround(seconds) for destination, seconds in sorted(waits.items())}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """The newest answer about a radiograph as it was told, with the site of its gravest finding, else of the header."""

    site: Site | None
    answer: Answer
    is_live: bool


def _live_results(c: Connection, study_uids: list[str]) -> dict[str, list[_Told]]:
    """Return what was told of each radiograph of these studies; only studies of which all was told as live."""
    found: dict[str, dict[str, Row[Any]]] = {}
    for begin in range(0, len(study_uids), AT_A_TIME):
        query = (
            select(results.c.study_instance_uid, results.c.sop_instance_uid, results.c.record, results.c.phases)
            .add_columns(traits.c.header_site)
            .join(traits, traits.c.result_id == results.c.id)
            .where(results.c.study_instance_uid.in_(study_uids[begin : begin + AT_A_TIME]))
            .where(results.c.taken_back_at.is_(None))
            .order_by(results.c.id)
        )
        for row in c.execute(query):
            found.setdefault(row.study_instance_uid, {})[row.sop_instance_uid] = row
    newest = {uid: [_as_told(row) for row in by_radiograph.values()] for uid, by_radiograph in found.items()}
    return {uid: each for uid, each in newest.items() if all(one.is_live for one in each)}


def _as_told(row: Row[Any]) -> _Told:
    result, used = Result.from_json(row.record), phases_from_json(row.phases)
    shown = told(result, used)
    site = shown.findings[0].site if shown and shown.findings else row.header_site
    return _Told(
        site=Site(site) if site else None,
        answer=shown.answer if shown else Answer.NOT_ANALYSED,
        is_live=phase_told(result, used) is Phase.LIVE,
    )


def _cell(answers: Iterable[Answer], conclusion: Conclusion | None) -> str:
    """Return the field of `Agreement` that a study counts for."""
    given = set(answers)
    if conclusion is Conclusion.UNSURE:
        return "open"
    is_fracture = conclusion is Conclusion.FRACTURE
    if any(answer.is_suspicious for answer in given):
        return "both" if is_fracture else "only_appliance"
    if given == {Answer.NEGATIVE}:
        return "only_radiologist" if is_fracture else "neither"
    return "not_answered"


def _turnaround(seconds: list[float]) -> Turnaround:
    import numpy as np

    p50, p95, p99 = (float(value) for value in np.quantile(seconds, QUANTILES))
    return Turnaround(delivered=len(seconds), p50=p50, p95=p95, p99=p99)


def _week(at: datetime) -> int:
    return int((at.timestamp() - MONDAY_S) // WEEK_S)


def _begin(week: int) -> datetime:
    return datetime.fromtimestamp(week * WEEK_S + MONDAY_S, UTC)
