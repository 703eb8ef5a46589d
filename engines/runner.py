"""One checked interface over inference engines: names, dtypes and shapes are checked here, `_run` is theirs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Tensors = dict[str, NDArray[np.float32]]


class RunnerError(Exception):
    """The engine failed, or was called in a way that it cannot serve."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name and shape of a float32 tensor; None is the batch."""

    name: str
    shape: tuple[int | None, ...]

    def check(self, tensors: Tensors) -> None:
        """Raise `RunnerError` unless `tensors` has this one with that dtype and shape."""
        if self.name not in tensors:
            raise RunnerError(f"tensor {self.name!r} is missing; there is {sorted(tensors)}")
        array = tensors[self.name]
        fits = array.ndim == len(self.shape) and all(
            e is None or e == a for e, a in zip(self.shape, array.shape, strict=True)
        )
        if array.dtype != np.float32 or not fits:
            raise RunnerError(f"tensor {self.name!r} is {array.dtype} {array.shape}, wanted float32 {self.shape}")


class Runner(ABC):
    """An engine that is ready to run.

    Attributes
    ----------
    inputs, outputs
        What `run` takes and gives.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def run(self, tensors: Tensors) -> Tensors:
        """Infer a batch.

        Raises
        ------
        RunnerError
            On a wrong input, a failure of the engine, or an output that is not finite.
        """
        for spec in self.inputs:
            spec.check(tensors)
        result = self._run(tensors)
        for spec in self.outputs:
            spec.check(result)
            if not np.isfinite(result[spec.name]).all():
                raise RunnerError(f"output {spec.name!r} is not finite")
        return result

    @abstractmethod
    def _run(self, tensors: Tensors) -> Tensors: ...


def worst_difference(expected: NDArray[np.float32], actual: NDArray[np.float32]) -> float:
    """Largest |difference| relative to the largest |expected|; infinite if shapes differ or anything is NaN."""
    if expected.shape != actual.shape:
        return float("inf")
    difference = np.abs(expected.astype(np.float64) - actual).max(initial=0.0)
    scale = np.abs(expected).max(initial=0.0) or 1.0
    return float(difference / scale) if np.isfinite(difference) else float("inf")
