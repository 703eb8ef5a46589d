"""The calibration of probabilities: whether as many fractures are there as the probabilities say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .statistics import CONFIDENCE, Estimate, Rate, rate

BINS = 10
"""Groups of probabilities, each of as many radiographs."""

STEPS = 100
"""Largest number of Newton's steps; ten are usual."""

EDGE = 1e-6
"""Distance kept from probabilities of 0 and 1, whose logits are infinite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Radiographs of similar probability: the mean of their probabilities, and their share of fractures."""

    predicted: float
    observed: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The calibration of probabilities in a sample.

    Attributes
    ----------
    intercept
        Calibration in the large, in logits: 0 is ideal, less than 0 means probabilities that are too high.
    slope
        1 is ideal, less than 1 means probabilities that are too extreme. None where a limit separates the fractures
        from the others: there is no largest slope.
    expected_error
        Mean difference of predicted and observed share over the bins. Small samples make it larger.
    """

    intercept: Estimate
    slope: Estimate | None
    expected_error: float
    bins: tuple[Bin, ...]


def calibration(probabilities: Sequence[float], truths: Sequence[bool]) -> Calibration | None:
    """Return the calibration; None unless there are fractures and others.

    References
    ----------
    Cox DR. Biometrika 1958;45:562-565. Van Calster B et al. Calibration: the Achilles heel of predictive analytics.
    BMC Med 2019;17:230. Bins of equal size: Nixon J et al. Measuring calibration in deep learning. CVPR workshops 2019.
    """
    if not any(truths) or all(truths):
        return None
    p, truth = np.asarray(probabilities, np.float64), np.asarray(truths, np.bool_)
    bounded = np.clip(p, EDGE, 1 - EDGE)
    logit = np.log(bounded / (1 - bounded))
    ones = np.ones((len(p), 1))
    bins = tuple(
        Bin(predicted=float(p[part].mean()), observed=rate(int(truth[part].sum()), len(part)))
        for part in np.array_split(np.argsort(p, kind="stable"), min(BINS, len(p)))
    )
    off = sum(abs(each.predicted - each.observed.k / each.observed.n) * each.observed.n for each in bins)
    return Calibration(
        intercept=_fit(ones, logit, truth)[0],
        slope=None if _is_separated(logit, truth) else _fit(np.hstack((ones, logit[:, None])), 0 * logit, truth)[1],
        expected_error=float(off / len(p)),
        bins=bins,
    )


def _is_separated(logit: NDArray[np.float64], truth: NDArray[np.bool_]) -> bool:
    """Return whether no logit of a fracture lies below one of the others, or none above (Albert and Anderson 1984)."""
    fractured, others = logit[truth], logit[~truth]
    return bool(others.max() <= fractured.min() or fractured.max() <= others.min())


def _fit(x: NDArray[np.float64], offset: NDArray[np.float64], truth: NDArray[np.bool_]) -> list[Estimate]:
    """Return the coefficients of a logistic regression by maximum likelihood, with Wald's intervals."""
    from scipy.special import expit, ndtri

    def loss(at: NDArray[np.float64]) -> float:
        z = offset + x @ at
        return float(np.logaddexp(0, z).sum() - z[truth].sum())

    found = np.zeros(x.shape[1])
    for _ in range(STEPS):
        p = expit(offset + x @ found)
        information = (x * (p * (1 - p))[:, None]).T @ x
        step = np.linalg.lstsq(information, x.T @ (truth - p), rcond=None)[0]
        while loss(found + step) > loss(found) and np.abs(step).max() > EDGE**2:
            step = step / 2
        found = found + step
        if np.abs(step).max() < EDGE:
            break
    reach = float(ndtri(0.5 + CONFIDENCE / 2)) * np.sqrt(np.diag(np.linalg.pinv(information)))
    return [Estimate(value=float(v), low=float(v - r), high=float(v + r)) for v, r in zip(found, reach, strict=True)]
