"""Figures of the score of a sample for the rollout page and the report: tables of rates, answers by read, charts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from appliance.domain.finding import Answer, percent
from appliance.domain.identifiers import Site
from appliance.domain.validation import ReadAnswer
from appliance.rollout.gate import ACCURACY, COVERAGE, SENSITIVITY, SPECIFICITY
from appliance.rollout.scoring import Case, GroupScore, Measures, Score, Subgroup
from appliance.rollout.statistics import Estimate, Rate

from .charts.calibration import calibration
from .charts.confusion import confusion
from .charts.forest import forest
from .charts.roc import OperatingPoint, roc, roc_points
from .texts import local_time

READ_NAMES: Final = {
    ReadAnswer.FRACTURE: "fracture",
    ReadAnswer.NONE: "no fracture",
    ReadAnswer.UNSURE: "unsure",
    ReadAnswer.UNUSABLE: "unusable",
}
"""Names of the blinded reads on page and report."""

NOT_BLINDED, NOT_READ = "not blinded", "not read"

NOT_ANSWERED = "not-answered"
"""The part of the bars for radiographs that are incomplete or not analysed."""

Needed = float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RateRow:
    """One rate of a table, with its strip of the forest plot."""

    name: str
    rate: Rate
    strip: Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class RateTable:
    """Rates on one scale."""

    title: str
    rows: tuple[RateRow, ...]
    scale: Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class SubgroupTable:
    """The subgroups of one trait: accuracy as strips, and the group's other rates."""

    title: str
    subgroups: tuple[Subgroup, ...]
    accuracy: RateTable


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreFigures:
    """The figures of a score.

    Attributes
    ----------
    overall, doubt_as_negative
        Rates of the whole sample, the second where a possible fracture counts as negative.
    by_site
        Accuracy, sensitivity and specificity of each site.
    answers
        Numbers of answers by read, all sampled radiographs once.
    bars, roc, calibration
        Charts; empty where the sample has nothing to draw.
    """

    overall: RateTable
    doubt_as_negative: RateTable
    by_site: tuple[RateTable, ...]
    subgroups: tuple[SubgroupTable, ...]
    answers: Mapping[str, Mapping[Answer, int]]
    bars: Markup
    roc: Markup
    calibration: Markup


def score_figures(cases: Sequence[Case], score: Score) -> ScoreFigures:
    """Return the figures of a sample and its score."""
    answers = answers_by_read(cases)
    return ScoreFigures(
        overall=rate_table("The whole sample", _overall(score.overall)),
        doubt_as_negative=rate_table(
            "The same, where a possible fracture counts as negative",
            {name: (rate, None) for name, (rate, _) in _rates(score.overall.doubt_as_negative).items()},
        ),
        by_site=tuple(_by_site(score)),
        subgroups=tuple(_subgroup_tables(score.subgroups)),
        answers=answers,
        bars=_bars(answers),
        roc=_roc(cases, score),
        calibration=_calibration(score),
    )


def rate_table(title: str, rates: Mapping[str, tuple[Rate, Needed]]) -> RateTable:
    """Return a table of rates by name, each with the limit that its lower bound has to exceed."""
    sentences = [f"{name}: {rate_in_words(rate)}{_limit_in_words(needed)}" for name, (rate, needed) in rates.items()]
    drawn = forest([rate for rate, _ in rates.values()], [needed for _, needed in rates.values()], sentences)
    rows = (
        RateRow(name=name, rate=rate, strip=strip)
        for (name, (rate, _)), strip in zip(rates.items(), drawn.strips, strict=True)
    )
    return RateTable(title=title, rows=tuple(rows), scale=drawn.scale)


def rate_in_words(rate: Rate) -> str:
    """Return a rate with its interval as people read it: ``197 of 200, 98.5% (95.7% to 99.7%)``."""
    if rate.point is None:
        return "none"
    return f"{rate.k} of {rate.n}, {rate.point:.1%} ({rate.low:.1%} to {rate.high:.1%})"


def estimate_in_words(estimate: Estimate | None, form: str = ".3f") -> str:
    """Return a figure with its interval: ``0.981 (0.954 to 0.993)``; a hyphen for none."""
    if estimate is None:
        return "-"
    return f"{estimate.value:{form}} ({estimate.low:{form}} to {estimate.high:{form}})"


def answers_by_read(cases: Iterable[Case]) -> dict[str, dict[Answer, int]]:
    """Count the answers of the appliance by the read: the blinded ones, those that are not, and those not read."""
    counted = Counter((_read_name(case), case.answer) for case in cases)
    return {
        name: {answer: counted[name, answer] for answer in Answer}
        for name in (*READ_NAMES.values(), NOT_BLINDED, NOT_READ)
    }


def site_name(site: Site) -> str:
    """Return the name of a site for people who read English."""
    return str(site.label)


def _read_name(case: Case) -> str:
    if case.read is None:
        return NOT_READ
    return READ_NAMES[case.read] if case.is_blinded else NOT_BLINDED


def _rates(measures: Measures) -> dict[str, tuple[Rate, Needed]]:
    return {
        "Accuracy": (measures.accuracy, ACCURACY),
        "Sensitivity": (measures.sensitivity, SENSITIVITY),
        "Specificity": (measures.specificity, SPECIFICITY),
        "PPV": (measures.ppv, None),
        "NPV": (measures.npv, None),
    }


def _overall(group: GroupScore) -> dict[str, tuple[Rate, Needed]]:
    return {
        **_rates(group.measures),
        "Fractures found of all": (group.coverage.fractures_found, None),
        f"Coverage (at least {COVERAGE:.0%})": (group.coverage.answered, None),
    }


def _by_site(score: Score) -> Iterable[RateTable]:
    for name in ("Accuracy", "Sensitivity", "Specificity"):
        rates: dict[str, tuple[Rate, Needed]] = {
            site_name(site): (_rates(group.measures)[name][0], None) for site, group in score.sites.items()
        }
        yield rate_table(f"{name} by site", rates)


def _subgroup_tables(subgroups: Sequence[Subgroup]) -> Iterable[SubgroupTable]:
    for kind in dict.fromkeys(subgroup.kind for subgroup in subgroups):
        of_kind = tuple(subgroup for subgroup in subgroups if subgroup.kind is kind)
        accuracy = {one.name or "unknown": (one.score.measures.accuracy, None) for one in of_kind}
        title = f"By {kind.value}"
        yield SubgroupTable(title=title, subgroups=of_kind, accuracy=rate_table(title, accuracy))


def _bars(answers: Mapping[str, Mapping[Answer, int]]) -> Markup:
    kinds = (Answer.POSITIVE, Answer.DOUBT, Answer.NEGATIVE)
    rows = {
        name: {
            **{kind.value: answers[name][kind] for kind in kinds},
            NOT_ANSWERED: answers[name][Answer.INCOMPLETE] + answers[name][Answer.NOT_ANALYSED],
        }
        for name in (READ_NAMES[ReadAnswer.FRACTURE], READ_NAMES[ReadAnswer.NONE])
    }
    if not any(map(any, (row.values() for row in rows.values()))):
        return Markup("")
    told = "; ".join(f"{name}: " + ", ".join(f"{n} {kind}" for kind, n in row.items()) for name, row in rows.items())
    return confusion(rows, (*(kind.value for kind in kinds), NOT_ANSWERED), f"Answers by read. {told}")


def _roc(cases: Iterable[Case], score: Score) -> Markup:
    known = [
        (case.probability, bool(case.truth))
        for case in cases
        if case.is_scored and case.is_blinded and case.probability is not None
    ]
    if score.overall.auroc is None:
        return Markup("")
    measures, strict = score.overall.measures, score.overall.doubt_as_negative
    points = [
        OperatingPoint(name=name, sensitivity=m.sensitivity.point or 0.0, specificity=m.specificity.point or 0.0)
        for name, m in (("possible fracture", measures), ("fracture suspected", strict))
    ]
    area = estimate_in_words(score.overall.auroc)
    told = [f"{p.name}: sensitivity {p.sensitivity:.1%}, specificity {p.specificity:.1%}" for p in points]
    curve = roc_points([probability for probability, _ in known], [truth for _, truth in known])
    return roc(curve, points, f"ROC curve, area {area}. {'; '.join(told)}")


def _calibration(score: Score) -> Markup:
    if score.calibration is None:
        return Markup("")
    bins = score.calibration.bins
    told = "; ".join(f"{one.predicted:.2f}: {rate_in_words(one.observed)}" for one in bins)
    return calibration(bins, f"Mean probability of each bin, and its share of fractures. {told}")


def _limit_in_words(needed: Needed) -> str:
    return "" if needed is None else f"; the lower bound has to lie above {needed:.0%}"


FILTERS: Final = {
    "local_time": local_time,
    "percent": percent,
    "rate": rate_in_words,
    "estimate": estimate_in_words,
    "site": site_name,
}
"""Filters of the templates that show a score."""
