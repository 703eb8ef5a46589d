"""The plan of a sample: the number of radiographs that a hoped-for accuracy needs to pass the gate."""

from __future__ import annotations

from .gate import ACCURACY, LEAST_FRACTURES, LEAST_RADIOGRAPHS, least_right
from .statistics import rate

MOST_RADIOGRAPHS = 5000
"""Largest sample that is planned."""


def chance_of_accuracy(n: int, accuracy: float) -> float:
    """Return the probability that a system of that true accuracy meets the criterion of accuracy on `n` radiographs."""
    right = least_right(n)
    return 0.0 if right is None else _at_least(right, n, accuracy)


def chance_of_fractures(n: int, share: float) -> float:
    """Return the probability that enough of `n` radiographs show a fracture, where that share of all does."""
    return _at_least(LEAST_FRACTURES, n, share)


def radiographs_needed(accuracy: float, chance: float) -> int | None:
    """Return the number from which on the chance is reached by every number; None above `MOST_RADIOGRAPHS`.

    The chance falls a little where one more radiograph allows no further error: a smaller number may reach it, too.
    """
    needed, right = None, least_right(LEAST_RADIOGRAPHS)
    assert right is not None
    for n in range(LEAST_RADIOGRAPHS, MOST_RADIOGRAPHS + 1):
        if rate(right, n).low <= ACCURACY:
            right += 1  # one more radiograph takes at most one more right one
        if _at_least(right, n, accuracy) < chance:
            needed = None
        elif needed is None:
            needed = n
    return needed


def _at_least(k: int, n: int, share: float) -> float:
    """Return the probability of at least `k` of `n`, each with that probability."""
    from scipy.special import bdtrc

    return float(bdtrc(k - 1, n, share)) if k <= n else 0.0
