"""Forest plot: rates with their intervals on one scale, one strip for each row of a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from appliance.rollout.statistics import Rate

from .svg import drawing, element, line, words

WIDTH, HEIGHT = 220.0, 18.0
"""Size of a strip."""

MARGIN = 18.0
"""Space at both ends for the numbers of the scale."""

STEP = 0.1
"""The scale begins at a multiple of it."""

MOST_STEPS = 5
"""Steps that each have a number; of more, every other has one."""

NEAR = 1e-9
"""Difference of a rate from a multiple of `STEP` that is one of rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forest:
    """The strips of a plot, in the order of the rates, and the scale that stands below them."""

    strips: tuple[Markup, ...]
    scale: Markup


def forest(rates: Sequence[Rate], needed: Sequence[float | None], sentences: Sequence[str]) -> Forest:
    """Return the plot of `rates`; the strip of an empty group is empty.

    Parameters
    ----------
    needed
        The value that each lower bound has to exceed; None where no bound is required.
    sentences
        Each strip in words.
    """
    shown = [rate.low for rate in rates if rate.n] + [bound for bound in needed if bound is not None]
    steps = math.ceil((1.0 - min(shown, default=0.0)) / STEP - NEAR)
    least = 1.0 - STEP * (steps + steps % 2 if steps > MOST_STEPS else steps)
    strips = tuple(_strip(*one, least) for one in zip(rates, needed, sentences, strict=True))
    return Forest(strips=strips, scale=_scale(least))


def _x(value: float, least: float) -> float:
    return MARGIN + (WIDTH - 2 * MARGIN) * (value - least) / max(1.0 - least, STEP)


def _strip(rate: Rate, needed: float | None, sentence: str, least: float) -> Markup:
    if rate.point is None:
        return drawing(WIDTH, HEIGHT, sentence, ())
    middle = HEIGHT / 2
    low, at, high = (_x(value, least) for value in (rate.low, rate.point, rate.high))
    kind = "measured" if needed is None or rate.low > needed else "measured short"
    parts = [
        line((low, middle), (high, middle), kind),
        line((low, middle - 4), (low, middle + 4), kind),
        line((high, middle - 4), (high, middle + 4), kind),
        element("rect", x=at - 3.5, y=middle - 3.5, width=7, height=7, class_=kind),
    ]
    if needed is not None:
        bound = _x(needed, least)
        parts.insert(0, line((bound, 0.0), (bound, HEIGHT), "needed"))
    return drawing(WIDTH, HEIGHT, sentence, parts)


def _scale(least: float) -> Markup:
    """Return the axis with numbers in per cent."""
    count = round((1.0 - least) / STEP)
    every = 1 if count <= MOST_STEPS else 2
    parts = [line((MARGIN, 0.5), (WIDTH - MARGIN, 0.5), "axis")]
    for number in range(0, count + 1, every):
        value = least + number * STEP
        x = _x(value, least)
        parts += [line((x, 0.0), (x, 4.0), "axis"), words((x, 15.0), f"{value:.0%}", anchor="middle")]
    return drawing(WIDTH, HEIGHT, f"Scale from {least:.0%} to 100%", parts)
