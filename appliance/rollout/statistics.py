"""Rates with exact intervals, the area under the ROC curve, and the consistency of rates between groups.

Intervals are two-sided, and hold with 95 % confidence where nothing else is said. SciPy is imported inside functions:
it takes a second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
"""Confidence of intervals, that of `engines.training.performance`."""

TABLES = 20_000
"""Tables drawn for the p-value of `homogeneity`: its standard error is 0.0015 at p = 0.05."""

NEAR = 1e-9
"""Difference of log-probabilities below which two tables are equally likely."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """`k` of `n`, with its exact interval.

    Attributes
    ----------
    point
        Share in the sample; None where `n` is 0. The interval is then from 0 to 1, since nothing is known.
    """

    k: int
    n: int
    point: float | None
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Homogeneity:
    """The consistency of a rate between groups.

    Attributes
    ----------
    p_value
        Probability of groups that differ at least as much, if all have the same true rate.
    lowest, highest
        Groups with the lowest and the highest rate.
    difference
        Highest less lowest rate; the interval holds for all pairs of groups together.
    apart
        Groups whose rate is lower than that of all others together, with confidence for all groups together.
    """

    p_value: float
    lowest: str
    highest: str
    difference: Estimate
    apart: tuple[str, ...]


@lru_cache(maxsize=4096)
def rate(k: int, n: int, confidence: float = CONFIDENCE) -> Rate:
    """Return `k` of `n` with its interval (Clopper and Pearson 1934)."""
    from engines.training.performance import share

    if n == 0:
        return Rate(k=0, n=0, point=None, low=0.0, high=1.0)
    point, low, high = share(k, n, confidence)
    return Rate(k=k, n=n, point=point, low=low, high=high)


def auroc(probabilities: Sequence[float], truths: Sequence[bool]) -> Estimate | None:
    """Return the area under the ROC curve (Newcombe 2006); None unless there are fractures and others."""
    from engines.training.performance import auroc as area

    if not any(truths) or all(truths):
        return None
    value, low, high = area(np.asarray(probabilities, np.float64), np.asarray(truths, np.bool_))
    return Estimate(value=value, low=low, high=high)


def difference(first: Rate, second: Rate, confidence: float = CONFIDENCE) -> Estimate:
    """Return the first rate less the second, of two independent groups that are not empty.

    References
    ----------
    Newcombe RG. Interval estimation for the difference between independent proportions. Stat Med 1998;17:873-890,
    method 10.
    """
    a, b = first.k / first.n, second.k / second.n
    (low_a, high_a), (low_b, high_b) = (_wilson(each, confidence) for each in (first, second))
    below, above = np.hypot(a - low_a, high_b - b), np.hypot(high_a - a, b - low_b)
    return Estimate(value=a - b, low=float(a - b - below), high=float(a - b + above))


def homogeneity(groups: Mapping[str, Rate]) -> Homogeneity | None:
    """Return the consistency of a rate between the groups that are not empty; None of fewer than two.

    The p-value is that of the test of Fisher, Freeman and Halton, from tables drawn with the same margins (Freeman and
    Halton, Biometrika 1951;38:141-149), the same ones each time. Intervals of differences have Bonferroni's confidence.
    """
    known = {name: each for name, each in groups.items() if each.n}
    if len(known) < 2:
        return None
    pairs = len(list(combinations(known, 2)))
    lowest, highest = (choose(known, key=lambda name: known[name].k / known[name].n) for choose in (min, max))
    return Homogeneity(
        p_value=_freeman_halton(list(known.values())),
        lowest=lowest,
        highest=highest,
        difference=difference(known[highest], known[lowest], 1 - (1 - CONFIDENCE) / pairs),
        apart=groups_apart(known),
    )


def groups_apart(groups: Mapping[str, Rate]) -> tuple[str, ...]:
    """Return the groups whose rate is lower than that of all others together; Bonferroni's confidence for all of them.

    Empty groups count for nothing.
    """
    known = {name: each for name, each in groups.items() if each.n}
    k, n = sum(each.k for each in known.values()), sum(each.n for each in known.values())
    confidence = 1 - (1 - CONFIDENCE) / max(len(known), 1)
    return tuple(
        name
        for name, each in known.items()
        if n > each.n and difference(each, rate(k - each.k, n - each.n), confidence).high < 0
    )


def _wilson(of: Rate, confidence: float) -> tuple[float, float]:
    """Return the score interval of a rate (Wilson, J Am Stat Assoc 1927;22:209-212)."""
    from scipy.special import ndtri

    z, p = float(ndtri(0.5 + confidence / 2)), of.k / of.n
    middle = p + z**2 / (2 * of.n)
    reach = z * float(np.sqrt(p * (1 - p) / of.n + z**2 / (4 * of.n**2)))
    scale = 1 + z**2 / of.n
    return max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)


def _freeman_halton(groups: Sequence[Rate]) -> float:
    from scipy.special import gammaln

    sizes = np.array([each.n for each in groups])
    observed = np.array([each.k for each in groups])
    drawn = np.random.default_rng(0).multivariate_hypergeometric(sizes, int(observed.sum()), TABLES)

    def log_probability(table: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(-(gammaln(table + 1) + gammaln(sizes - table + 1)).sum(-1), np.float64)

    as_unlikely = log_probability(drawn) <= log_probability(observed) + NEAR
    return float((1 + as_unlikely.sum()) / (1 + TABLES))
