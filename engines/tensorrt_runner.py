"""TensorRT on an NVIDIA GPU: runs a plan of `engines.plan`, with its tensors bound to memory that is allocated once.

Batches are rounded up to a power of two, so that a plan runs with five shapes only. Each shape has an execution context
of its own, since TensorRT-RTX keeps one captured CUDA graph a context, and runs once when the plan is loaded: nothing
is compiled or captured while a radiograph waits. Code that TensorRT-RTX compiles for this GPU is kept beside the plan.

The contexts of all plans compute in the same scratch memory, since they run one after another on one stream.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from kernels.device import Buffer, DeviceArray, Gpu, OutOfMemory
from kernels.operations import KernelError

from .plan import CACHE, LARGEST_BATCH, load_tensorrt
from .runner import Runner, RunnerError, Tensors, TensorSpec
from .whole_file import write_whole

log = logging.getLogger(__name__)


class PlanRefused(RunnerError):
    """The plan is not one that this TensorRT can run on this GPU: it can be built again."""


class TensorRtRunner(Runner):
    """A plan on `gpu`, with float32 inputs and outputs and a dynamic first axis.

    Outputs stay on the GPU until the next batch. `largest_batch` is a power of two; it is halved until there is memory
    for it.

    Raises
    ------
    PlanRefused
        If the plan cannot be loaded on this GPU.
    RunnerError
        If there is no memory even for a batch of one, or it cannot be run.
    """

    def __init__(self, plan: Path, gpu: Gpu, largest_batch: int = LARGEST_BATCH) -> None:
        self._name = plan.stem
        self._gpu = gpu
        trt = load_tensorrt()
        self._logger = trt.Logger(trt.Logger.ERROR)
        self._runtime = trt.Runtime(self._logger)
        try:
            self._engine = self._runtime.deserialize_cuda_engine(plan.read_bytes())
        except OSError as error:
            raise PlanRefused(f"the plan {plan.name} cannot be read: {error.strerror}") from error
        if self._engine is None:  # TensorRT raises no exception
            raise PlanRefused(f"{trt.__name__} {trt.__version__} cannot load the plan {plan.name} on this GPU")
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        is_input = {n: self._engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT for n in names}
        if strange := [n for n in names if self._engine.get_tensor_dtype(n) != trt.DataType.FLOAT]:
            raise PlanRefused(f"{', '.join(strange)} of {plan.name} are not float32")
        self.inputs = tuple(self._spec(n) for n in names if is_input[n])
        self.outputs = tuple(self._spec(n) for n in names if not is_input[n])
        self._config = self._engine.create_runtime_config()
        self._config.set_execution_context_allocation_strategy(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        self._cache = _load_compiled_code(trt, self._config, plan.with_suffix(CACHE))
        self._contexts: dict[int, Any] = {}
        gpu.at_close(self._release)
        scratch_bytes = self._engine.device_memory_size_v2
        try:
            scratch = gpu.scratch(scratch_bytes)
        except OutOfMemory as error:
            raise RunnerError(f"{self._name}: {error}: see nvidia-smi for other users of the GPU") from error
        largest_batch, self._buffers = self._take_buffers(largest_batch)
        self.most = largest_batch
        for batch in _batches(largest_batch):
            self._contexts[batch] = self._bound_context(batch)
            self._contexts[batch].set_device_memory(scratch, scratch_bytes)
        self._run_every_shape()
        if self._cache is not None:
            _keep_compiled_code(self._cache, plan.with_suffix(CACHE))

    def _run(self, tensors: Tensors) -> Mapping[str, DeviceArray]:
        length = len(next(iter(tensors.values())))
        try:
            for name, array in tensors.items():
                self._buffers[name].filled(array)
            return self._enqueue(length)
        except KernelError as error:
            raise RunnerError(f"{self._name}: {error}") from error

    def _enqueue(self, length: int) -> dict[str, DeviceArray]:
        """Run on the input buffers; rows beyond `length` hold old values, whose outputs are ignored."""
        if not self._contexts[1 << max(length - 1, 0).bit_length()].execute_async_v3(self._gpu.stream.handle):
            raise RunnerError(f"{self._name} cannot be run: see TensorRT's message in the log")
        return {
            s.name: self._buffers[s.name].made((length, *_shape_without_batch(s)), np.float32) for s in self.outputs
        }

    def _take_buffers(self, batch: int) -> tuple[int, dict[str, Buffer]]:
        """Allocate the buffers of a batch, halved until there is memory; return its size and the buffers."""
        taken: dict[str, Buffer] = {}
        try:
            for spec in (*self.inputs, *self.outputs):
                taken[spec.name] = self._gpu.buffer(spec.name, 4 * batch * prod(_shape_without_batch(spec)))
        except OutOfMemory as error:
            for buffer in taken.values():
                buffer.free()
            if batch == 1:
                raise RunnerError(f"{self._name}: {error}") from error
            return self._take_buffers(batch // 2)
        return batch, taken

    def _bound_context(self, batch: int) -> Any:
        """Return a context for this batch, bound to the buffers; it has no scratch memory yet."""
        context = self._engine.create_execution_context(self._config)
        if context is None:  # TensorRT raises no exception
            raise RunnerError(f"{self._name} gets no execution context: see TensorRT's message in the log")
        for spec in self.inputs:
            if not context.set_input_shape(spec.name, (batch, *_shape_without_batch(spec))):
                raise RunnerError(f"{self._name} does not take a batch of {batch}")
        for name, buffer in self._buffers.items():
            if not context.set_tensor_address(name, buffer.pointer):
                raise RunnerError(f"{self._name} has no tensor {name!r}")
        return context

    def _run_every_shape(self) -> None:
        """Run every shape once, so that TensorRT compiles and chooses its kernels now."""
        for batch in self._contexts:
            zeros = {s.name: np.zeros((batch, *_shape_without_batch(s)), np.float32) for s in self.inputs}
            for output in self._run(zeros).values():
                np.asarray(output)

    def _release(self) -> None:
        """Free TensorRT's objects, which must not outlive the GPU's context."""
        self._contexts.clear()
        self._config = self._cache = self._engine = self._runtime = None

    def _spec(self, name: str) -> TensorSpec:
        _, *rest = self._engine.get_tensor_shape(name)
        return TensorSpec(name, (None, *rest))


def _batches(most: int) -> list[int]:
    """Return the sizes of batches that run: the powers of two up to `most`."""
    return [1 << power for power in range(most.bit_length())]


def _shape_without_batch(spec: TensorSpec) -> tuple[int, ...]:
    return tuple(n or 0 for n in spec.shape[1:])


def _load_compiled_code(trt: Any, config: Any, kept: Path) -> Any:
    """Return TensorRT-RTX's cache of compiled code, set in `config`; None with `tensorrt`, which compiles nothing."""
    if not hasattr(config, "create_runtime_cache"):
        return None
    cache = config.create_runtime_cache()
    with contextlib.suppress(OSError):
        cache.deserialize(kept.read_bytes())  # returns False for another version, driver or card; the cache stays empty
    config.set_runtime_cache(cache)
    # EAGER: a shape's kernels are compiled when the shape first runs, not in the background afterwards
    config.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
    # one CUDA graph: the networks are many small kernels, and their launches would dominate
    config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
    return cache


def _keep_compiled_code(cache: Any, file: Path) -> None:
    """Write the compiled code for the next start, which otherwise compiles again: an error is logged and no more."""
    content = cache.serialize()
    if content is None:  # TensorRT raises no exception
        log.warning("TensorRT gives no compiled code for %s: the next start compiles again", file.stem)
        return
    try:
        write_whole(file, bytes(content))
    except OSError as error:
        log.warning("%s cannot be kept (%s): the next start compiles again", file.name, error.strerror)
