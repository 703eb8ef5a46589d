"""Golden inputs and outputs: a network that does not reproduce them is not the one that was measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .build import networks
from .pack import Pack, PackError
from .runner import Runner, RunnerError, worst_difference

TOLERANCE = 1e-3
"""Goldens are stored rounded to 1.2e-4 of their maximum, and another processor sums in another order."""

HALF_TOLERANCE = 2e-2
"""Of float16: no output of a pack that ships was off by more than 8e-3 (docs/models.md), summed in float32; a GPU may
sum in float16, too."""

FAINT = 0.05
"""Score below which, in float16, a cell may be a peak here and none there: 0.019 at most was (docs/models.md), and a
region counts from 0.35."""


def check_goldens(pack: Pack, runner_of: Callable[[Path], Runner], *, half: bool = False) -> dict[str, float]:
    """Run every network of `pack` on its golden inputs; the worst relative difference of each.

    Parameters
    ----------
    half
        They compute in float16.

    Raises
    ------
    PackError
        If a network cannot run, or differs by more than the tolerance.
    """
    goldens, worst, tolerance = pack.goldens(), {}, HALF_TOLERANCE if half else TOLERANCE
    for network, file in networks(pack).items():
        try:
            runner = runner_of(file)
            made = runner.run({s.name: goldens[f"{network}/{s.name}"] for s in runner.inputs})
            outputs = {s.name: goldens[f"{network}/{s.name}"] for s in runner.outputs}
        except RunnerError as error:
            raise PackError(f"the {network} network of pack {pack.name} cannot run: {error}") from error
        except KeyError as error:
            raise PackError(f"pack {pack.name} lacks the golden {error}: build the pack again") from error
        if half and "heat" in outputs:
            made["heat"] = _without_lone_peaks(outputs["heat"], made["heat"])
        worst[network] = max(worst_difference(expected, made[name]) for name, expected in outputs.items())
        if not worst[network] <= tolerance:
            raise PackError(
                f"the {network} network of pack {pack.name} is off its golden outputs by {worst[network]:.2g} on this "
                "machine: do not use it; install the pack again, or report it"
            )
    return worst


def _without_lone_peaks(expected: NDArray[np.float32], made: NDArray[np.float32]) -> NDArray[np.float32]:
    """The localiser's heat `made`, but as `expected` where a faint peak is in one of them alone.

    All but its peaks is zeroed, and which of two neighbours that are nearly alike is one is a matter of rounding.
    """
    if expected.shape != made.shape:
        return made
    lone = ((expected == 0) != (made == 0)) & (np.maximum(expected, made) < FAINT)
    return np.where(lone, expected, made)
