"""Calibration: the share of fractures among radiographs of like probability, with exact intervals."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from appliance.rollout.calibration import Bin

from .plane import at, plane
from .svg import element, line


def calibration(bins: Sequence[Bin], sentence: str) -> Markup:
    """Return the chart: bins on the diagonal have as many fractures as their probabilities say."""
    parts: list[str] = []
    for one in bins:
        rate = one.observed
        if rate.point is None:
            continue
        (x, low), (_, high), (_, y) = (at(one.predicted, value) for value in (rate.low, rate.high, rate.point))
        parts += [line((x, low), (x, high), "measured"), element("circle", cx=x, cy=y, r=4, class_="point")]
    return plane("mean probability of the bin", "share with a fracture", sentence, parts)
