"""Stage 3: probability and heat map of a region, from the network of its site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from appliance.preprocessing.recipe import REGION_PX
from engines.familiarity import mean_activations
from engines.pack import ClassifierSpec
from engines.runner import Runner, Tensor, host_tensor
from kernels import reference


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionEvidence:
    """The output of a classifier for one region: calibrated probability, and Grad-CAM over the region alone.

    Attributes
    ----------
    heat
        (h, w) float32 in [0, 1]: the cells on the region, without those on its padding.
    cell_px
        Side of a cell in px of the network's input.
    is_familiar
        Whether the region is like those that the engine was measured on; True if the pack cannot tell.
    """

    probability: float
    heat: NDArray[np.float32] = field(repr=False)
    cell_px: float
    is_familiar: bool = True


class EvidenceKernel(Protocol):
    """Grad-CAM on the device of the network: `kernels.reference`, or an implementation tested against it."""

    def evidence(self, activations: Any, gradients: Any) -> NDArray[np.float32]:
        """Return (N, h, w) float32 >= 0 on the host; see `kernels.reference.evidence`."""
        ...


class Classifier:
    """The engine of one site.

    Parameters
    ----------
    kernels
        Compute Grad-CAM from the outputs of `runner`, on its device.
    """

    def __init__(self, runner: Runner, spec: ClassifierSpec, kernels: EvidenceKernel = reference) -> None:
        self._runner = runner
        self._kernels = kernels
        self.spec = spec

    def evidence(self, regions: NDArray[np.uint8], fitted: Sequence[tuple[int, int]]) -> list[RegionEvidence]:
        """Classify each of `regions` (R, 256, 256) uint8; the first `fitted` (h, w) px of a region are not padding."""
        found: list[RegionEvidence] = []
        for out in self._runner.infer({"region": regions[:, None].astype(np.float32)}):
            maps = host_tensor("evidence", self._kernels.evidence(out["activations"], out["gradients"]))
            cell_px = REGION_PX / maps.shape[1]
            part = slice(len(found), len(found) + len(maps))
            familiar = self._are_familiar(out["activations"], regions[part])
            found += [
                RegionEvidence(
                    probability=self.spec.probability(float(logit)),
                    heat=_crop_to_region(cells, size, cell_px),
                    cell_px=cell_px,
                    is_familiar=is_familiar,
                )
                for logit, cells, size, is_familiar in zip(
                    host_tensor("logit", out["logit"]), maps, fitted[part], familiar, strict=True
                )
            ]
        return found

    def _are_familiar(self, activations: Tensor, regions: NDArray[np.uint8]) -> list[bool]:
        if self.spec.familiarity is None:
            return [True] * len(regions)
        means = mean_activations(host_tensor("activations", activations), regions)
        return [bool(each) for each in self.spec.familiarity.are_familiar(means)]


def _crop_to_region(cells: NDArray[np.float32], fitted: tuple[int, int], cell_px: float) -> NDArray[np.float32]:
    """Return the cells on the fitted region, normalised; a cell across its edge counts by its share on the region."""
    rows, columns = (np.clip(side / cell_px - np.arange(len(cells)), 0, 1).astype(np.float32) for side in fitted)
    shared = cells * np.outer(rows, columns)
    return reference.normalise(shared[None, rows > 0][:, :, columns > 0])[0]
