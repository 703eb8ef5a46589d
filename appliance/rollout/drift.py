"""Drift: the radiographs of a site are compared with those on which it was validated, without knowing the truth.

A *window* is `WINDOW` radiographs in a row, one of each study. Each figure of a window is compared with the reference:
numbers by the test of Kolmogorov and Smirnov, categories by the chi-square test of homogeneity. A figure drifts if its
p-value is below the level of the window, and its population stability index (PSI) above `LEAST_PSI`: the test keeps
false alarms rare, the index keeps differences out that are certain and small.

False alarms: a site spends `ALARMS_A_YEAR` on the weeks and figures of a year in equal parts. The share of a week is
spent on the windows that close in it, on the k-th 6 / (pi k)^2 of it, so that a busy site has no more false alarms than
a quiet one. All 13 sites together have less than one a year on average.

References
----------
Hodges, The significance probability of the Smirnov two-sample test, Arkiv foer Matematik 3 (1958) 469-486.
Yurdakul and Naranjo, Statistical properties of the population stability index, J Risk Model Validation 14 (2020) 4.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # conditions read windows that were compared before, without the time that NumPy takes to load
    import numpy as np
    from numpy.typing import NDArray

WINDOW = 100
"""Radiographs of a window."""

LEAST_REFERENCE = 100
"""Radiographs of a reference, at least: with fewer, only differences are found that people see without a test."""

ALARMS_A_YEAR = 0.05
"""False alarms of a site in a year, on average, at most."""

WEEKS = 52

LEAST_PSI = 0.25
"""Index from which credit scoring, where it comes from, calls a population shifted."""

BINS = 10
"""Bins of numbers for the index: tenths of the reference."""

LEAST_SHARE = 0.05
"""Share of the reference from which a category stands alone; the others are counted together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A figure of a window beside that of the reference.

    Attributes
    ----------
    psi
        Population stability index.
    p_value
        Probability of so large a difference, if nothing has changed.
    is_drift
        Whether the figure drifts by the rule of this module.
    """

    figure: str
    psi: float
    p_value: float
    is_drift: bool


Figures = Mapping[str, Sequence[float | str | None]]
"""Values of each figure, one for each radiograph; a number that is unknown is left out, a category is then None."""


def compare(reference: Figures, window: Figures, window_of_week: int) -> list[Comparison]:
    """Compare the figures of a window with those of the reference; without a figure that either lacks.

    Parameters
    ----------
    window_of_week
        Position, from 1, among the windows that close in its week.
    """
    import numpy as np

    level = alarm_level(len(reference), window_of_week)
    found = []
    for figure, values in reference.items():
        before, after = _known(values), _known(window[figure])
        if len(before) < LEAST_REFERENCE or len(after) < WINDOW / 2:
            continue
        if any(isinstance(value, str) for value in before):
            psi, p_value = _compare_categories(before, after)
        else:
            psi, p_value = _compare_numbers(np.asarray(before, float), np.asarray(after, float))
        is_drift = p_value < level and psi > LEAST_PSI
        found.append(Comparison(figure=figure, psi=psi, p_value=p_value, is_drift=is_drift))
    return found


def alarm_level(figures: int, window_of_week: int) -> float:
    """Return the p-value below which a figure of the k-th window of a week may drift."""
    return ALARMS_A_YEAR / (WEEKS * figures) * 6 / (math.pi * window_of_week) ** 2


def _known(values: Sequence[float | str | None]) -> list[float | str]:
    return [value for value in values if value is not None]


def _compare_numbers(before: NDArray[np.float64], after: NDArray[np.float64]) -> tuple[float, float]:
    """Return index and p-value of numbers; ties make the test of Kolmogorov and Smirnov stricter, never laxer."""
    import numpy as np
    from scipy.special import kolmogorov

    before, after = np.sort(before), np.sort(after)
    both = np.concatenate([before, after])
    shares = (np.searchsorted(values, both, "right") / len(values) for values in (before, after))
    distance = float(np.abs(np.subtract(*shares)).max())
    size = len(before) * len(after) / (len(before) + len(after))
    edges = np.unique(np.quantile(before, np.linspace(0, 1, BINS + 1)[1:-1]))
    counts = [np.bincount(np.searchsorted(edges, v, "right"), minlength=len(edges) + 1) for v in (before, after)]
    return _psi(*counts), float(kolmogorov(math.sqrt(size) * distance))


def _compare_categories(before: Sequence[float | str], after: Sequence[float | str]) -> tuple[float, float]:
    import numpy as np
    from scipy.special import chdtrc

    common = {value for value, number in Counter(before).items() if number >= LEAST_SHARE * len(before)}
    names = [*sorted(map(str, common)), None]
    tables = [Counter(value if value in common else None for value in values) for values in (before, after)]
    m, n = (np.array([table[name] for name in names]) for table in tables)
    m, n = m[m + n > 0], n[m + n > 0]
    if len(m) < 2:
        return 0.0, 1.0
    ratio = math.sqrt(n.sum() / m.sum())
    chi_square = float(((ratio * m - n / ratio) ** 2 / (m + n)).sum())
    return _psi(m, n), float(chdtrc(len(m) - 1, chi_square))


def _psi(before: NDArray[np.int_], after: NDArray[np.int_]) -> float:
    """Return the population stability index of counts; half a radiograph more in each keeps it finite."""
    import numpy as np

    p, q = ((counts + 0.5) / (counts.sum() + 0.5 * len(counts)) for counts in (before, after))
    return float(((q - p) * np.log(q / p)).sum())
