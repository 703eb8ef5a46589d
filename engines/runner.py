"""One checked interface over inference engines: `Runner` checks names, dtypes and shapes, an engine implements `_run`.

A tensor lies where its engine computes. Other code on the GPU takes it in place by ``__cuda_array_interface__``;
`numpy.asarray` copies it to the host after all earlier work on the stream has ended.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Tensors = dict[str, NDArray[np.float32]]


class Tensor(Protocol):
    """An array on the host or on a GPU."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def ndim(self) -> int: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def __array__(self, /) -> NDArray[Any]: ...


class RunnerError(Exception):
    """The engine failed, or was called with tensors that it cannot take."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name and shape of a float32 tensor; None is the batch."""

    name: str
    shape: tuple[int | None, ...]

    def check(self, tensors: Mapping[str, Tensor]) -> None:
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
        Tensors that `run` takes and returns.
    most
        Largest batch that the engine takes at once; None: no limit.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    most: int | None = None

    def run(self, tensors: Tensors) -> Tensors:
        """Infer a batch and copy the outputs to the host.

        Raises
        ------
        RunnerError
            On a wrong input, a failure of the engine, or an output that is not finite.
        """
        parts = [{n: host_tensor(n, made[n]) for n in made} for made in self.infer(tensors)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def infer(self, tensors: Tensors) -> Iterator[Mapping[str, Tensor]]:
        """Infer a batch in parts of at most `most`; the outputs of a part stay valid until the next.

        Raises
        ------
        RunnerError
            On a wrong input, or a failure of the engine.
        """
        for spec in self.inputs:
            spec.check(tensors)
        length = len(next(iter(tensors.values())))
        step = self.most or max(length, 1)
        for start in range(0, max(length, 1), step):
            made = self._run({s.name: tensors[s.name][start : start + step] for s in self.inputs})
            for spec in self.outputs:
                spec.check(made)
            yield made

    @abstractmethod
    def _run(self, tensors: Tensors) -> Mapping[str, Tensor]: ...


def host_tensor(name: str, tensor: Tensor) -> NDArray[np.float32]:
    """Copy `tensor` to the host.

    Raises
    ------
    RunnerError
        If it is not finite.
    """
    array = np.asarray(tensor)
    if not np.isfinite(array).all():
        raise RunnerError(f"output {name!r} is not finite")
    return array


def worst_difference(expected: NDArray[np.float32], actual: NDArray[np.float32]) -> float:
    """Return the largest |difference| relative to the largest |expected|; infinite for other shapes or NaN."""
    if expected.shape != actual.shape:
        return float("inf")
    difference = np.abs(expected.astype(np.float64) - actual).max(initial=0.0)
    scale = np.abs(expected).max(initial=0.0) or 1.0
    return float(difference / scale) if np.isfinite(difference) else float("inf")
