"""TensorRT on an NVIDIA GPU: a plan of `engines.plan`, its tensors bound to memory that is taken once.

Batches are rounded up to a power of two, so that a plan meets five shapes in its life and every one of them when it is
loaded: nothing is compiled, and no other kernel chosen, while a radiograph waits. What TensorRT-RTX compiles for this
GPU is kept beside the plan.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from kernels.device import Buffer, DeviceArray, Gpu, OutOfMemory
from kernels.operations import KernelError

from .plan import LARGEST_BATCH, load_tensorrt
from .runner import Runner, RunnerError, Tensors, TensorSpec

CACHE = ".cache"
"""Suffix beside the plan; TensorRT-RTX refuses a cache of another version, driver or card, and it is made anew."""


class TensorRtRunner(Runner):
    """A plan on `gpu`, with float32 inputs and outputs and a dynamic first axis.

    Outputs stay on the GPU until the next batch. `largest_batch` is a power of two; where there is no memory for it,
    half of it is tried, and half of that.

    Raises
    ------
    RunnerError
        If the plan cannot be loaded on this GPU, or there is not even memory for one.
    """

    def __init__(self, plan: Path, gpu: Gpu, largest_batch: int = LARGEST_BATCH) -> None:
        self._name, self._gpu = plan.stem, gpu
        trt = load_tensorrt()
        self._logger = trt.Logger(trt.Logger.ERROR)
        self._runtime = trt.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan.read_bytes())
        if self._engine is None:  # TensorRT's way to refuse
            raise RunnerError(f"{trt.__name__} {trt.__version__} cannot load the plan {plan.name} on this GPU")
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        is_input = {n: self._engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT for n in names}
        if strange := [n for n in names if self._engine.get_tensor_dtype(n) != trt.DataType.FLOAT]:
            raise RunnerError(f"{', '.join(strange)} of {plan.name} are not float32: build the plan again")
        self.inputs = tuple(self._spec(n) for n in names if is_input[n])
        self.outputs = tuple(self._spec(n) for n in names if not is_input[n])
        self._config = self._engine.create_runtime_config()
        self._cache = _compiled_before(trt, self._config, plan.with_suffix(CACHE))
        self._context = self._engine.create_execution_context(self._config)
        if self._context is None:
            raise RunnerError(f"{trt.__name__} finds no memory to run {plan.name}: what else uses the GPU?")
        gpu.at_close(self._release)
        self.most, self._buffers = self._largest(largest_batch)
        self._meet_every_shape()
        if self._cache is not None:
            _keep(bytes(self._cache.serialize()), plan.with_suffix(CACHE))

    def _run(self, tensors: Tensors) -> Mapping[str, DeviceArray]:
        length = len(next(iter(tensors.values())))
        try:
            for name, array in tensors.items():
                self._buffers[name].filled(array)
            return self._enqueue(length)
        except KernelError as error:
            raise RunnerError(f"{self._name}: {error}") from error

    def _enqueue(self, length: int) -> dict[str, DeviceArray]:
        """Run on what lies in the input buffers; rows beyond `length` are whatever was there, and are not looked at."""
        shapes = 1 << max(length - 1, 0).bit_length()
        for spec in self.inputs:
            if not self._context.set_input_shape(spec.name, (shapes, *_rest(spec))):
                raise RunnerError(f"{self._name} does not take a batch of {shapes}")
        if not self._context.execute_async_v3(self._gpu.stream.handle):
            raise RunnerError(f"{self._name} cannot be run: TensorRT's log says why")
        return {s.name: self._buffers[s.name].made((length, *_rest(s)), np.float32) for s in self.outputs}

    def _largest(self, batch: int) -> tuple[int, dict[str, Buffer]]:
        """As much as there is memory for, a power of two; its buffers, bound."""
        taken: dict[str, Buffer] = {}
        try:
            for spec in (*self.inputs, *self.outputs):
                taken[spec.name] = self._gpu.buffer(spec.name, 4 * batch * prod(_rest(spec)))
        except OutOfMemory as error:
            for buffer in taken.values():
                buffer.free()
            if batch == 1:
                raise RunnerError(f"{self._name}: {error}") from error
            return self._largest(batch // 2)
        for name, buffer in taken.items():
            if not self._context.set_tensor_address(name, buffer.pointer):
                raise RunnerError(f"{self._name} has no tensor {name!r}")
        return batch, taken

    def _meet_every_shape(self) -> None:
        batch, most = 1, self.most or 1
        while batch <= most:
            zeros = {s.name: np.zeros((batch, *_rest(s)), np.float32) for s in self.inputs}
            for output in self._run(zeros).values():
                np.asarray(output)
            batch *= 2

    def _release(self) -> None:
        """Before the GPU's context goes."""
        self._context = self._config = self._cache = self._engine = self._runtime = None

    def _spec(self, name: str) -> TensorSpec:
        _, *rest = self._engine.get_tensor_shape(name)
        return TensorSpec(name, (None, *rest))


def _rest(spec: TensorSpec) -> tuple[int, ...]:
    """Its shape without the batch."""
    return tuple(n or 0 for n in spec.shape[1:])


def _compiled_before(trt: Any, config: Any, kept: Path) -> Any:
    """TensorRT-RTX's cache of what it compiled, in use by `config`; None with `tensorrt`, which compiles nothing."""
    if not hasattr(config, "create_runtime_cache"):
        return None
    cache = config.create_runtime_cache()
    if kept.is_file():
        cache.deserialize(kept.read_bytes())  # False: of another version, driver or card, so it stays empty
    config.set_runtime_cache(cache)
    # what serves a shape is compiled when the shape is met, not behind our back while others serve it
    config.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
    config.cuda_graph_strategy = (
        trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
    )  # many small kernels: launches would dominate
    return cache


def _keep(content: bytes, file: Path) -> None:
    unfinished = file.with_suffix(f".{os.getpid()}")
    unfinished.write_bytes(content)
    unfinished.replace(file)
