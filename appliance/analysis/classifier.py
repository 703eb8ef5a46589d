"""Stage 3: probability and heat map of one region, by the network of its site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from appliance.preprocessing.recipe import REGION_PX
from engines.pack import ClassifierSpec
from engines.runner import Runner
from kernels import reference as kernels


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a classifier says of one region: calibrated probability, and Grad-CAM over the region alone.

    Attributes
    ----------
    heat
        (h, w) float32 in [0, 1]: the cells that lie on the region, without those over its padding.
    cell_px
        Side of a cell in px of the network's input.
    """

    probability: float
    heat: NDArray[np.float32] = field(repr=False)
    cell_px: float


class Classifier:
    """The engine of one site."""

    def __init__(self, runner: Runner, spec: ClassifierSpec) -> None:
        self._runner = runner
        self.spec = spec

    def evidence(self, regions: NDArray[np.uint8], fitted: Sequence[tuple[int, int]]) -> list[Evidence]:
        """One `Evidence` for each of `regions` (R, 256, 256) uint8, of which `fitted` (h, w) px are no padding."""
        out = self._runner.run({"region": regions[:, None].astype(np.float32)})
        maps = kernels.combine(out["activations"], kernels.channel_weights(out["gradients"]))
        cell_px = REGION_PX / maps.shape[1]
        return [
            Evidence(
                probability=self.spec.probability(float(logit)), heat=_on_region(cells, size, cell_px), cell_px=cell_px
            )
            for logit, cells, size in zip(out["logit"], maps, fitted, strict=True)
        ]


def _on_region(cells: NDArray[np.float32], fitted: tuple[int, int], cell_px: float) -> NDArray[np.float32]:
    """The cells that lie on the fitted region, normalised; a cell that straddles its edge counts by its share."""
    rows, columns = (np.clip(side / cell_px - np.arange(len(cells)), 0, 1).astype(np.float32) for side in fitted)
    shared = cells * np.outer(rows, columns)
    return kernels.normalise(shared[None, rows > 0][:, :, columns > 0])[0]
