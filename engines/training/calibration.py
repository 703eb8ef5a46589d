"""Calibration of logits to probabilities, and the choice of the two operating points.

Most sites have a handful of fractures to fit to. So all sites share the slope of the calibration, a site's own offset
is pulled towards the common one, and sensitivity is measured over all sites together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

OFFSET_SPREAD = 0.5
"""Prior standard deviation of a site's offset about the common one: odds that differ by a factor of 1.6."""

SCALE_SPREAD = 1.0
"""Prior standard deviation of the slope's logarithm; keeps it finite where the classes separate completely."""

SENSITIVITY = 0.80
"""Share of fractured regions that reach `doubt`; lowered from 0.90, see the card."""

SPECIFICITY = 0.95
"""Share of unbroken regions that stay below `positive`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Probability = sigmoid(scale * logit + offset) (Platt 1999)."""

    scale: float
    offset: float

    def probability(self, logit: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the calibrated probabilities of any number of logits."""
        return np.asarray(1 / (1 + np.exp(-(self.scale * logit + self.offset))))


def calibrate(
    logit: NDArray[np.float64], label: NDArray[np.bool_], site: NDArray[np.int64], sites: int
) -> list[Calibration]:
    """Fit one scale and an offset per site by penalised maximum likelihood.

    Labels are smoothed as by Platt, (n+ + 1)/(n+ + 2) and 1/(n- + 2), so that separable classes do not lead to an
    infinite slope.

    Parameters
    ----------
    site
        Index of each logit's site, below `sites`.
    """
    fractured = int(label.sum())
    target = np.where(label, (fractured + 1) / (fractured + 2), 1 / (len(label) - fractured + 2))

    def cost(p: NDArray[np.float64]) -> float:
        z = np.exp(p[0]) * logit + p[1] + p[2:][site]
        likelihood = target * np.logaddexp(0, -z) + (1 - target) * np.logaddexp(0, z)
        prior = (p[0] / SCALE_SPREAD) ** 2 / 2 + (p[2:] ** 2).sum() / OFFSET_SPREAD**2 / 2
        return float(likelihood.sum() + prior)

    p = minimize(cost, np.zeros(2 + sites), method="L-BFGS-B").x
    return [Calibration(scale=float(np.exp(p[0])), offset=float(p[1] + p[2 + s])) for s in range(sites)]


def operating_points(fractured: NDArray[np.float64], unbroken: NDArray[np.float64]) -> tuple[float, float]:
    """Return doubt and positive, from the probabilities of all sites' fractured and a site's own unbroken regions.

    `positive` lies above all but 5 % of the unbroken, `doubt` below all but 20 % of the fractured. Where the classes
    separate so well that this would put doubt above positive, both lie in the gap: doubt in its lower third, positive
    in its upper third.
    """
    positive = float(np.quantile(unbroken, SPECIFICITY, method="higher"))
    doubt = float(np.quantile(fractured, 1 - SENSITIVITY, method="lower"))
    positive = float(np.nextafter(positive, 2.0))
    if doubt >= positive:
        low, high = _logit(positive), _logit(doubt)
        doubt, positive = _sigmoid(low + (high - low) / 3), _sigmoid(low + 2 * (high - low) / 3)
    return doubt, min(positive, 1.0)


def _logit(p: float) -> float:
    p = min(max(p, 1e-6), 1 - 1e-6)
    return float(np.log(p / (1 - p)))


def _sigmoid(z: float) -> float:
    return float(1 / (1 + np.exp(-z)))
