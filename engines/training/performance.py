"""Measured shares and areas with their intervals.

Regions of one radiograph are not independent, so the true uncertainty is a little larger than these intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtri  # scipy.stats takes a second to import, and a page waits for it

CONFIDENCE = 0.95
"""Confidence of every interval."""

NEAR = 1e-9
"""Distance kept from 0 and 1, which are roots of the interval's equation too, but no bounds."""

HALVINGS = 60
"""Steps of the search for a bound: from 1 to the precision of a float."""

Estimate = tuple[float, float, float]
"""Point, lower and upper bound; not-a-number where there is nothing to estimate from."""


def share(successes: int, n: int, confidence: float = CONFIDENCE) -> Estimate:
    """Return a proportion with its exact interval (Clopper and Pearson 1934)."""
    if n == 0:
        return np.nan, np.nan, np.nan
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(betaincinv(successes, n - successes + 1, tail))
    high = 1.0 if successes == n else float(betaincinv(successes + 1, n - successes, 1 - tail))
    return successes / n, low, high


def auroc(score: NDArray[np.float64], label: NDArray[np.bool_]) -> Estimate:
    """Return the area under the ROC curve with Newcombe's interval (Stat Med 2006;25:559-573, method 5).

    It is a score interval: unlike DeLong's it does not shrink to a point if the few fractures all rank above the rest.
    """
    m, n = int(label.sum()), int((~label).sum())
    if m == 0 or n == 0:
        return np.nan, np.nan, np.nan
    unbroken = np.sort(score[~label])
    below, up_to = (np.searchsorted(unbroken, score[label], side) for side in ("left", "right"))
    area = float((below + up_to).sum() / 2 / (m * n))
    z, middle = float(ndtri(0.5 + CONFIDENCE / 2)), (m + n) / 2 - 1

    def beyond(t: float, side: int) -> float:
        spread = t * (1 - t) * (1 + middle * ((1 - t) / (2 - t) + t / (1 + t))) / (m * n)
        return (t - area) * side - z * float(np.sqrt(spread))

    low = 0.0 if area <= 0 else _root(lambda t: beyond(t, -1), area * (1 - NEAR), 0.0)
    high = 1.0 if area >= 1 else _root(lambda t: beyond(t, 1), area + (1 - area) * NEAR, 1.0)
    return area, low, high


def _root(function: Callable[[float], float], below: float, above: float) -> float:
    """Return the argument at which a function turns from below zero, at `below`, to above zero, at `above`."""
    for _ in range(HALVINGS):
        middle = (below + above) / 2
        below, above = (middle, above) if function(middle) < 0 else (below, middle)
    return (below + above) / 2


def measure(
    probability: NDArray[np.float64],
    above: Mapping[str, NDArray[np.bool_]],
    fractured: NDArray[np.bool_],
    bare: NDArray[np.bool_],
) -> dict[str, Any]:
    """Measure predictions (R,), with and without the radiographs that show hardware, which are not `bare`.

    Parameters
    ----------
    above
        Whether the probabilities reach the operating points ``doubt`` and ``positive``.
    """
    result: dict[str, Any] = {
        "n": len(fractured),
        "positives": int(fractured.sum()),
        "auroc": list(auroc(probability, fractured)),
        "auroc_without_hardware": list(auroc(probability[bare], fractured[bare])),
        "n_without_hardware": int(bare.sum()),
        "positives_without_hardware": int(fractured[bare].sum()),
    }
    for name, called in above.items():
        result[f"sensitivity_{name}"] = list(share(int((called & fractured).sum()), int(fractured.sum())))
        result[f"specificity_{name}"] = list(share(int((~called & ~fractured).sum()), int((~fractured).sum())))
    result["brier"] = float(((probability - fractured) ** 2).mean()) if len(fractured) else float("nan")
    return result


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
