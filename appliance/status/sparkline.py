"""Small bar charts, drawn by the server as SVG: the page has no script, and loads nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 120.0, 20.0
"""Size of a chart, in units of its own."""

GAP = 1.0
"""Space between two bars."""

LEAST = 1.0
"""Height of the bar of the least value that is not 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar, from its upper left corner; `value` is None where nothing was measured."""

    x: float
    y: float
    width: float
    height: float
    value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparkline:
    """Bars side by side, the newest on the right; the highest fills the chart.

    Attributes
    ----------
    sentence
        The chart in words, for people who do not see it.
    """

    bars: tuple[Bar, ...]
    sentence: str


def sparkline(values: Sequence[float | None], sentence: str) -> Sparkline:
    """Return the chart of `values`, oldest first."""
    peak = max((value for value in values if value), default=0.0)
    step = WIDTH / max(1, len(values))
    bars = []
    for number, value in enumerate(values):
        height = max(LEAST, HEIGHT * value / peak) if value else 0.0
        bars.append(Bar(x=number * step, y=HEIGHT - height, width=step - GAP, height=height, value=value))
    return Sparkline(bars=tuple(bars), sentence=sentence)
