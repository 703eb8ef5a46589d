"""The gate before a site goes live: criteria that the score of a random sample has to meet.

Bounds are those of two-sided 95 % intervals: a rate in the sample is not the rate that it proves. Whoever repeats a
validation gets a lucky sample in the end, so that the second sample of an engine needs intervals of 97.5 %, and so on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from appliance.domain.identifiers import Site
from appliance.domain.validation import Progress, SampleKind, Validation

from .scoring import GroupScore, Score
from .statistics import CONFIDENCE, Rate, rate

LEAST_RADIOGRAPHS = 200
LEAST_FRACTURES = 30
ACCURACY = 0.95
"""The lower bounds of accuracy, sensitivity and specificity have to lie above these limits."""
SENSITIVITY = 0.70
SPECIFICITY = 0.80
COVERAGE = 0.70
READ = 0.95
"""Share of the sampled radiographs that have to be read: a reader who skips hard ones proves nothing."""
DECIDED = 0.90
"""Share of the sampled radiographs that have to be scored or not answered: unsure reads may hide what was missed."""
MOST_LEFT = 0.05
"""Share of the drawn radiographs whose answers may leave before they are read: they are lost by no choice of a reader,
but not by chance either."""
LEAST_FRACTURES_OF_SITE = 10
LEAST_OTHERS_OF_SITE = 30


class Need(StrEnum):
    """The subject of a criterion."""

    RANDOM = "random sample"
    SIZE = "sample"
    READ = "read"
    LEFT = "lost"
    DECIDED = "decided"
    RADIOGRAPHS = "radiographs"
    FRACTURES = "fractures"
    OTHERS = "without a fracture"
    ACCURACY = "accuracy"
    SENSITIVITY = "sensitivity"
    SPECIFICITY = "specificity"
    COVERAGE = "coverage"
    ENGINE = "engine"
    NOT_SET_BACK = "validation"
    CLEARS = "claim of the engine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One criterion of the gate.

    Attributes
    ----------
    value, needed
        Figures that were compared.
    sentence
        The comparison for people.
    """

    need: Need
    value: float
    needed: float
    passed: bool
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The criteria of the whole sample, and those of each site."""

    overall: tuple[Criterion, ...]
    sites: dict[Site, tuple[Criterion, ...]]

    def criteria(self, site: Site) -> tuple[Criterion, ...]:
        """Return all criteria that a site has to meet; raises KeyError for one that the sample is not about."""
        return (*self.overall, *self.sites[site])

    def passes(self, site: Site) -> bool:
        """Return whether a site may go live; one that the sample is not about may not."""
        return site in self.sites and all(criterion.passed for criterion in self.criteria(site))


def gate(score: Score, validation: Validation, progress: Progress, clears: Mapping[Site, bool]) -> Gate:
    """Compare the score of a validation's sample with the criteria.

    Parameters
    ----------
    clears
        Whether the engine of each site claims that it may say "no fracture found".
    """
    whole, is_random = score.overall, validation.kind is SampleKind.RANDOM
    words = "the sample is a random one" if is_random else "an enriched sample proves no accuracy"
    kind, size = _criterion(Need.RANDOM, is_random, 1, words), _size(progress.drawn, validation)
    engines = {site: tuple(_engine_criteria(site, progress, clears)) for site in validation.sites}
    if not is_shown(validation, progress):
        return Gate(overall=(kind, size, _all_read(validation, progress)), sites=engines)
    return Gate(
        overall=(
            kind,
            size,
            _at_least(Need.READ, whole.coverage.read, READ, "are read"),
            _left(progress),
            _decided(whole),
            _criterion(
                Need.RADIOGRAPHS,
                whole.coverage.scored,
                LEAST_RADIOGRAPHS,
                f"{whole.coverage.scored} radiographs have an answer of the appliance and a blinded read of fracture "
                f"or none; {LEAST_RADIOGRAPHS} are needed",
            ),
            _fractures(whole, LEAST_FRACTURES),
            _bound(Need.ACCURACY, whole.measures.accuracy, ACCURACY, "radiographs are answered right", progress),
            _bound(Need.SENSITIVITY, whole.measures.sensitivity, SENSITIVITY, "fractures are found", progress),
            _bound(Need.SPECIFICITY, whole.measures.specificity, SPECIFICITY, "others are negative", progress),
            _at_least(Need.COVERAGE, whole.coverage.answered, COVERAGE, "have a positive or negative answer"),
        ),
        sites={site: (*_site_criteria(score.sites.get(site)), *engines[site]) for site in validation.sites},
    )


def is_shown(validation: Validation, progress: Progress) -> bool:
    """Return whether people may see the score: the validation is ended, or its sample is full and read.

    Whoever sees it earlier may stop reading when it looks good.
    """
    is_full = progress.drawn >= validation.size
    return not validation.is_open or (is_full and progress.blinded >= progress.drawn)


def _all_read(validation: Validation, progress: Progress) -> Criterion:
    needed = max(validation.size, progress.drawn)
    words = f"{progress.blinded} of {needed} are read: an open validation is scored when its sample is full and read"
    return _criterion(Need.READ, progress.blinded, needed, words)


def _left(progress: Progress) -> Criterion:
    lost, drawn = progress.unblinded, progress.drawn + progress.unblinded
    most = int(MOST_LEFT * drawn)
    words = f"of {drawn} drawn radiographs, the answers of {lost} left before a blinded read; at most {most} may"
    return Criterion(need=Need.LEFT, value=lost, needed=most, passed=lost <= most, sentence=words)


def _decided(group: GroupScore) -> Criterion:
    words = "are read as fracture or none, or have no answer of the appliance"
    return _at_least(Need.DECIDED, group.coverage.decided, DECIDED, words)


def _size(drawn: int, validation: Validation) -> Criterion:
    """Return whether the sample is full: one that ends as soon as its figures suffice proves less than they say."""
    words = f"{drawn} of the {validation.size} radiographs of the sample are drawn"
    if not validation.is_open and drawn < validation.size:
        words += ", and the validation is ended: start another one"
    return _criterion(Need.SIZE, drawn, validation.size, words)


def _site_criteria(group: GroupScore | None) -> tuple[Criterion, ...]:
    """Return the criteria of one site's radiographs.

    With ten fractures a bound proves little, and the bounds of the whole sample say nothing about a site that misses
    every fracture. So the site's own sensitivity and specificity have to reach the limits.
    """
    sensitivity = group.measures.sensitivity if group else rate(0, 0)
    specificity = group.measures.specificity if group else rate(0, 0)
    return (
        *((_decided(group),) if group else ()),
        _criterion(
            Need.FRACTURES,
            sensitivity.n,
            LEAST_FRACTURES_OF_SITE,
            f"{sensitivity.n} of the site's radiographs show a fracture; {LEAST_FRACTURES_OF_SITE} are needed",
        ),
        _criterion(
            Need.OTHERS,
            specificity.n,
            LEAST_OTHERS_OF_SITE,
            f"{specificity.n} of the site's radiographs show none; {LEAST_OTHERS_OF_SITE} are needed",
        ),
        _at_least(Need.SENSITIVITY, sensitivity, SENSITIVITY, "of the site's fractures are found"),
        _at_least(Need.SPECIFICITY, specificity, SPECIFICITY, "of the site's radiographs without one are negative"),
    )


def _engine_criteria(site: Site, progress: Progress, clears: Mapping[Site, bool]) -> Iterator[Criterion]:
    is_same, is_outdated = site not in progress.changed_sites, site in progress.outdated_sites
    may_clear = clears.get(site, False)
    yield _criterion(
        Need.ENGINE,
        is_same,
        1,
        "the engine of the site is the one that the sample is about"
        if is_same
        else "the engine of the site changed since the validation started: start another one",
    )
    yield _criterion(
        Need.NOT_SET_BACK,
        not is_outdated,
        1,
        "the site was set back after the validation started: start another one"
        if is_outdated
        else "the site was not set back since the validation started",
    )
    yield _criterion(
        Need.CLEARS,
        may_clear,
        1,
        'the engine of the site may say "no fracture found"'
        if may_clear
        else 'the pack does not let the engine of the site say "no fracture found"',
    )


def _fractures(group: GroupScore, needed: int) -> Criterion:
    found = group.measures.sensitivity.n
    return _criterion(Need.FRACTURES, found, needed, f"{found} of them show a fracture; {needed} are needed")


def _criterion(need: Need, value: float, needed: float, sentence: str) -> Criterion:
    return Criterion(need=need, value=value, needed=needed, passed=value >= needed, sentence=sentence)


def _at_least(need: Need, found: Rate, needed: float, predicate: str) -> Criterion:
    return _criterion(
        need, found.point or 0.0, needed, f"{_words(found)} {predicate}; at least {needed:.0%} are needed"
    )


def _bound(need: Need, in_sample: Rate, limit: float, predicate: str, progress: Progress) -> Criterion:
    confidence = 1 - (1 - CONFIDENCE) / progress.tries
    found, right = rate(in_sample.k, in_sample.n, confidence), least_right(in_sample.n, limit, confidence)
    takes = f"of {found.n} it takes {right}" if right else f"{found.n} are too few for that"
    if progress.tries > 1:
        takes += f". It is sample {progress.tries} of this engine, so that the interval is one of {confidence:.1%}"
    return Criterion(
        need=need,
        value=found.low,
        needed=limit,
        passed=found.low > limit,
        sentence=f"{_words(found)} {predicate}: the true {need} lies between {found.low:.1%} and {found.high:.1%}. "
        f"The lower bound has to lie above {limit:.0%}; {takes}",
    )


def _words(found: Rate) -> str:
    return f"{found.k} of {found.n}" + ("" if found.point is None else f" ({found.point:.1%})")


@lru_cache(maxsize=1024)
def least_right(n: int, limit: float = ACCURACY, confidence: float = CONFIDENCE) -> int | None:
    """Return the smallest number of right ones of `n` whose lower bound lies above `limit`; None if all are too few."""
    below, passing = int(n * limit), n
    if rate(n, n, confidence).low <= limit:
        return None
    while passing - below > 1:
        middle = (below + passing) // 2
        below, passing = (below, middle) if rate(middle, n, confidence).low > limit else (middle, passing)
    return passing


def explanations() -> tuple[str, str]:
    """Return why 190 of 200 do not pass, and why accuracy alone is not enough."""
    n, share = LEAST_RADIOGRAPHS, 0.03
    seen, fractures = rate(190, n), round(share * n)
    why_not_190 = (
        f"{seen.k} of {n} right are {seen.point:.0%} in this sample, but another sample would give another figure: the "
        f"true accuracy may be as low as {seen.low:.1%}. That it is above {ACCURACY:.0%} is proven from "
        f"{least_right(n)} of {n}."
    )
    why_not_accuracy_alone = (
        f'Where {share:.0%} of the radiographs show a fracture, a system that always answers "no fracture found" is '
        f"right on {n - fractures} of {n}: {1 - share:.0%} accurate, and it misses every fracture. So sensitivity and "
        f"specificity have limits of their own, and {LEAST_FRACTURES} fractures have to be among the radiographs."
    )
    return why_not_190, why_not_accuracy_alone
