"""The part of TensorRT that engines/plan.py and tensorrt_runner.py use, without a GPU.

A plan is the network itself. ONNX Runtime computes it on the given addresses, which over libcuda.cpp are the host's.
Like TensorRT-RTX 1.7 it refuses an allocation strategy that the plan was not built for, and a run without scratch
memory. Each run overwrites that memory.

Names and signatures are TensorRT-RTX's own (tests/contract/test_tensorrt_cuda.py compares them). TENSORRT_FAILS names a
function that fails as TensorRT does, without an exception; with TENSORRT_FULL the names that only RTX has are missing.
"""

from __future__ import annotations

import ctypes
import enum
import os
from math import prod
from typing import Any

import numpy as np
import onnxruntime

__version__ = "0"
FULL = "TENSORRT_FULL" in os.environ
MAGIC = b"stand-in"
SCRATCH_BYTES = 512


def _fails(name: str) -> bool:
    return os.environ.get("TENSORRT_FAILS") == name


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class BuilderFlag(enum.Enum):
    TF32 = 7
    if not FULL:
        REQUIRE_USER_ALLOCATION = 25


class ComputeCapability(enum.Enum):
    SM80 = 80
    SM86 = 86
    SM89 = 89
    SM120 = 120


class ExecutionContextAllocationStrategy(enum.Enum):
    STATIC = 0
    USER_MANAGED = 2


class TensorIOMode(enum.Enum):
    INPUT = 1
    OUTPUT = 2


class DataType(enum.Enum):
    FLOAT = 0
    HALF = 1


class DynamicShapesKernelSpecializationStrategy(enum.Enum):
    EAGER = 1


class CudaGraphStrategy(enum.Enum):
    WHOLE_GRAPH_CAPTURE = 1


class Logger:
    ERROR = 1

    def __init__(self, min_severity: int) -> None: ...


def _session(model: bytes) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


class INetworkDefinition:
    model = b""

    @property
    def num_inputs(self) -> int:
        return len(_session(self.model).get_inputs())

    def get_input(self, index: int) -> Any:
        return _session(self.model).get_inputs()[index]


class OnnxParser:
    num_errors = 1

    def __init__(self, network: INetworkDefinition, logger: Logger) -> None:
        self._network = network

    def parse(self, model: bytes) -> bool:
        self._network.model = model
        return not _fails("parse")

    def get_error(self, index: int) -> ParserError:
        return ParserError()


class ParserError:
    def desc(self) -> str:
        return "the parser's own words"


Shape = tuple[int, ...]


class IOptimizationProfile:
    def set_shape(self, input: str, min: Shape, opt: Shape, max: Shape) -> None:  # noqa: A002
        self.most = max[0]


class IBuilderConfig:
    num_compute_capabilities = 0
    user_allocation = False

    def clear_flag(self, flag: BuilderFlag) -> None: ...

    def set_flag(self, flag: BuilderFlag) -> None:
        self.user_allocation |= flag.name == "REQUIRE_USER_ALLOCATION"

    def set_compute_capability(self, compute_capability: ComputeCapability, index: int) -> bool:
        return index < self.num_compute_capabilities

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self.profile = profile
        return 0


class Builder:
    def __init__(self, logger: Logger) -> None: ...

    def create_network(self, flags: int) -> INetworkDefinition:
        return INetworkDefinition()

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> bytes | None:
        head = MAGIC + bytes([config.profile.most, config.user_allocation])
        return None if _fails("build_serialized_network") else head + network.model


class IRuntimeCache:
    held = b""

    def deserialize(self, blob: bytes) -> bool:
        self.held = blob if blob.startswith(MAGIC) else b""
        return bool(self.held)

    def serialize(self) -> bytes | None:
        return None if _fails("serialize") else self.held or MAGIC + b"compiled"


class IRuntimeConfig:
    dynamic_shapes_kernel_specialization_strategy: Any = None
    cuda_graph_strategy: Any = None
    allocation = ExecutionContextAllocationStrategy.STATIC

    def set_execution_context_allocation_strategy(self, strategy: ExecutionContextAllocationStrategy) -> None:
        self.allocation = strategy

    def create_runtime_cache(self) -> IRuntimeCache:
        return IRuntimeCache()

    def set_runtime_cache(self, cache: IRuntimeCache) -> bool:
        return True


class Runtime:
    def __init__(self, logger: Logger) -> None: ...

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        if _fails("deserialize_cuda_engine") or not serialized_engine.startswith(MAGIC):
            return None
        most, user_allocation = serialized_engine[len(MAGIC) : len(MAGIC) + 2]
        return ICudaEngine(most, bool(user_allocation), serialized_engine[len(MAGIC) + 2 :])


class ICudaEngine:
    def __init__(self, most: int, user_allocation: bool, model: bytes) -> None:
        self.most, self.user_allocation, self.session = most, user_allocation, _session(model)
        self.inputs = {t.name: t for t in self.session.get_inputs()}
        self.tensors = self.inputs | {t.name: t for t in self.session.get_outputs()}

    @property
    def num_io_tensors(self) -> int:
        return len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType.HALF if _fails("get_tensor_dtype") else DataType.FLOAT

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(n if isinstance(n, int) else -1 for n in self.tensors[name].shape)

    @property
    def device_memory_size_v2(self) -> int:
        return SCRATCH_BYTES

    def create_runtime_config(self) -> IRuntimeConfig:
        return IRuntimeConfig()

    def create_execution_context(self, runtime_config: IRuntimeConfig) -> IExecutionContext | None:
        own = runtime_config.allocation is ExecutionContextAllocationStrategy.USER_MANAGED
        if _fails("create_execution_context") or (self.user_allocation and not own):
            return None
        return IExecutionContext(self, scratch=0 if own else None)


class IExecutionContext:
    def __init__(self, engine: ICudaEngine, scratch: int | None) -> None:
        self.engine, self.shapes, self.addresses = engine, dict[str, tuple[int, ...]](), dict[str, int]()
        self.scratch = scratch

    def set_device_memory(self, memory: int, size: int) -> None:
        if self.scratch is not None and memory % 256 == 0 and size >= SCRATCH_BYTES:
            self.scratch = memory

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = shape
        return 1 <= shape[0] <= self.engine.most and shape[1:] == self.engine.get_tensor_shape(name)[1:]

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self.addresses[name] = memory
        return name in self.engine.tensors

    def execute_async_v3(self, stream_handle: int) -> bool:
        if _fails("execute_async_v3") or self.scratch == 0:
            return False
        if self.scratch is not None:
            ctypes.memset(self.scratch, 0xFF, SCRATCH_BYTES)
        names = [name for name in self.engine.tensors if name not in self.engine.inputs]
        feed = {name: self._at(name, self.shapes[name]) for name in self.engine.inputs}
        for name, made in zip(names, self.engine.session.run(names, feed), strict=True):
            self._at(name, made.shape)[...] = made
        return True

    def _at(self, name: str, shape: tuple[int, ...]) -> Any:
        memory = (ctypes.c_float * prod(shape)).from_address(self.addresses[name])
        return np.ctypeslib.as_array(memory).reshape(shape)


if FULL:
    del ComputeCapability, CudaGraphStrategy, DynamicShapesKernelSpecializationStrategy
    del IRuntimeCache, IBuilderConfig.set_compute_capability
    del IRuntimeConfig.create_runtime_cache, IRuntimeConfig.set_runtime_cache
