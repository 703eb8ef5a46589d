"""Golden inputs and outputs of a pack: proof that a network computes here as it did when it was measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .build import LOCALISER, networks
from .pack import Pack, PackError
from .runner import Runner, RunnerError, worst_difference

TOLERANCE = 1e-3
"""Largest relative difference; goldens are stored rounded to 1.2e-4, and processors sum in different orders."""

HALF_TOLERANCE = 2e-2
"""Largest relative difference of classifiers in float16.

No output of a pack that ships was off by more than 1.1e-2, summed in float32 (docs/models.md); a GPU may sum in
float16.
"""


def check_goldens(pack: Pack, runner_of: Callable[[Path], Runner], *, half: bool = False) -> dict[str, float]:
    """Run every network of `pack` on its golden inputs; return the worst relative difference of each.

    Parameters
    ----------
    runner_of
        Returns the runner of a network's ONNX file.
    half
        Whether the classifiers compute in float16.

    Raises
    ------
    PackError
        If a network cannot run, or one differs by more than the tolerance: with the differences of all.
    """
    goldens, worst = pack.goldens(), {}
    for network, file in networks(pack).items():
        try:
            runner = runner_of(file)
            made = runner.run({s.name: goldens[f"{network}/{s.name}"] for s in runner.inputs})
            outputs = {s.name: goldens[f"{network}/{s.name}"] for s in runner.outputs}
        except RunnerError as error:
            raise PackError(f"the {network} network of pack {pack.name} cannot run: {error}") from error
        except KeyError as error:
            raise PackError(f"pack {pack.name} lacks the golden {error}: build the pack again") from error
        worst[network] = max(worst_difference(expected, made[name]) for name, expected in outputs.items())
    tolerances = {n: HALF_TOLERANCE if half and n != LOCALISER else TOLERANCE for n in worst}
    if not all(worst[network] <= tolerance for network, tolerance in tolerances.items()):
        seen = ", ".join(f"{network} by {worst[network]:.2g} of {tolerances[network]:g}" for network in worst)
        raise PackError(
            f"pack {pack.name} is off its golden outputs on this machine ({seen}): do not use it; install the pack "
            "again, or report it with these figures"
        )
    return worst
