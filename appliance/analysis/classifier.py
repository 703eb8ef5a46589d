"""Stage 3: probability and heat map of one region, by the network of its site."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engines.pack import ClassifierSpec
from engines.runner import Runner
from kernels import reference as kernels


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a classifier says of one region: calibrated probability, and Grad-CAM (h, w) float32 in [0, 1]."""

    probability: float
    heat: NDArray[np.float32] = field(repr=False)


class Classifier:
    """The engine of one site."""

    def __init__(self, runner: Runner, spec: ClassifierSpec) -> None:
        self._runner = runner
        self.spec = spec

    def evidence(self, regions: NDArray[np.uint8]) -> list[Evidence]:
        """One `Evidence` for each of `regions` (R, 256, 256) uint8."""
        out = self._runner.run({"region": regions[:, None].astype(np.float32)})
        heats = kernels.gradcam(out["activations"], out["gradients"])
        return [
            Evidence(probability=self.spec.probability(float(logit)), heat=heat)
            for logit, heat in zip(out["logit"], heats, strict=True)
        ]
