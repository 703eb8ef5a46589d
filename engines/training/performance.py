"""Measured shares and areas with their intervals.

Regions of one radiograph are not independent, so the true uncertainty is a little larger than these intervals.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import beta, norm, rankdata

CONFIDENCE = 0.95
"""Confidence of every interval."""

NEAR = 1e-9
"""Distance kept from 0 and 1, which are roots of the interval's equation too, but no bounds."""

Estimate = tuple[float, float, float]
"""Point, lower and upper bound; not-a-number where there is nothing to estimate from."""


def share(successes: int, n: int) -> Estimate:
    """Return a proportion with its exact interval (Clopper and Pearson 1934)."""
    if n == 0:
        return np.nan, np.nan, np.nan
    tail = (1 - CONFIDENCE) / 2
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes, n - successes + 1))
    high = 1.0 if successes == n else float(beta.ppf(1 - tail, successes + 1, n - successes))
    return successes / n, low, high


def auroc(score: NDArray[np.float64], label: NDArray[np.bool_]) -> Estimate:
    """Return the area under the ROC curve with Newcombe's interval (Stat Med 2006;25:559-573, method 5).

    It is a score interval: unlike DeLong's it does not shrink to a point if the few fractures all rank above the rest.
    """
    m, n = int(label.sum()), int((~label).sum())
    if m == 0 or n == 0:
        return np.nan, np.nan, np.nan
    area = float((rankdata(score)[label].sum() - m * (m + 1) / 2) / (m * n))
    z, middle = float(norm.ppf(0.5 + CONFIDENCE / 2)), (m + n) / 2 - 1

    def beyond(t: float, side: int) -> float:
        spread = t * (1 - t) * (1 + middle * ((1 - t) / (2 - t) + t / (1 + t))) / (m * n)
        return (t - area) * side - z * float(np.sqrt(spread))

    low = 0.0 if area <= 0 else float(brentq(beyond, 0.0, area * (1 - NEAR), args=(-1,)))
    high = 1.0 if area >= 1 else float(brentq(beyond, area + (1 - area) * NEAR, 1.0, args=(1,)))
    return area, low, high


def mean_over_radiographs(values: NDArray[np.float64], radiographs: NDArray[np.int64]) -> Estimate:
    """Return the mean with its interval by a bootstrap of whole radiographs (Efron 1979), percentiles of 1,000 draws.

    `radiographs` is the index of each value's radiograph.
    """
    if not len(values):
        return np.nan, np.nan, np.nan
    names, member = np.unique(radiographs, return_inverse=True)
    total, count = np.bincount(member, values), np.bincount(member)
    drawn = np.random.default_rng(0).integers(0, len(names), (1000, len(names)))
    means = total[drawn].sum(1) / count[drawn].sum(1)
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(means, (tail, 100 - tail))
    return float(values.mean()), float(low), float(high)


def format_estimate(estimate: Estimate, *, percent: bool = False) -> str:
    """Return the text of an estimate with its interval, as on a model card."""
    if np.isnan(estimate[0]):
        return "none to measure"
    point, low, high = (100 * e if percent else e for e in estimate)
    return f"{point:.0f} % [{low:.0f}, {high:.0f}]" if percent else f"{point:.2f} [{low:.2f}, {high:.2f}]"
