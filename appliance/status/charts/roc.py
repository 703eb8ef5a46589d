"""ROC curve: sensitivity against false alarms over every threshold, with the operating points in use.

References
----------
Fawcett T. An introduction to ROC analysis. Pattern Recognition Letters 2006;27:861-874, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from .plane import at, plane
from .svg import Point, element, path, words


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """The rates at an operating point, each 0 to 1."""

    name: str
    sensitivity: float
    specificity: float


def roc_points(probabilities: Sequence[float], is_fracture: Sequence[bool]) -> tuple[Point, ...]:
    """Return (1 - specificity, sensitivity) from (0, 0) to (1, 1); equal probabilities are one step.

    Raises
    ------
    ValueError
        If one of the two classes has no radiograph: there is no curve then.
    """
    fracture = np.array(is_fracture, dtype=bool)
    if not 0 < fracture.sum() < fracture.size:
        raise ValueError("a ROC curve needs radiographs with and without a fracture")
    order = np.argsort([-p for p in probabilities], kind="stable")
    ordered = np.array(probabilities, dtype=float)[order]
    ends = np.append(np.flatnonzero(np.diff(ordered)), ordered.size - 1)  # the last of each run of equal values
    hits = np.cumsum(fracture[order])[ends] / fracture.sum()
    alarms = np.cumsum(~fracture[order])[ends] / (~fracture).sum()
    return ((0.0, 0.0), *zip(alarms.tolist(), hits.tolist(), strict=True))


def roc(points: Sequence[Point], operating_points: Sequence[OperatingPoint], sentence: str) -> Markup:
    """Return the chart of a curve with the operating points on it."""
    marks: list[str] = []
    for number, one in enumerate(operating_points):
        x, y = at(1.0 - one.specificity, one.sensitivity)
        right = one.specificity > 0.4
        marks += [
            element("circle", cx=x, cy=y, r=4, class_="point"),
            words(
                (x + (8 if right else -8), y + 14 + 3 * number), one.name, "label strong", "start" if right else "end"
            ),
        ]
    curve = path([at(*point) for point in points], "curve")
    return plane("1 - specificity (false alarms)", "sensitivity", sentence, [curve, *marks])
