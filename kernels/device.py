"""An NVIDIA GPU for one thread: context, stream and memory; the one file that imports PyCUDA.

The primary context, which DALI and TensorRT use too, is current in one thread only. The stream is PyCUDA's, since
PyCUDA cannot wrap a foreign one; DALI and TensorRT get its `handle`. Memory is allocated once and freed at the end,
except that of the radiographs in work, which grows with them.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import INSTALL
from .operations import KernelError, TooLarge

# CUDA's first card is then the driver's own (NVML), which was asked for its name and capability; CUDA reads it once
os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"

ALLOCATED_BYTES = 256
"""Alignment of the driver's allocations; arrays inside a buffer have the same alignment."""


class OutOfMemory(KernelError):
    """The GPU has not enough free memory: ask for less."""


def aligned(size_bytes: int) -> int:
    """Return `size_bytes` rounded up to the alignment of the next array."""
    return -(-size_bytes // ALLOCATED_BYTES) * ALLOCATED_BYTES


class Buffer:
    """Memory on the GPU; pinned memory on the host for copies is taken when it is first needed.

    Attributes
    ----------
    name
        Name for messages.
    size_bytes
        Size on the GPU; 0 once it is freed.
    """

    def __init__(self, gpu: Gpu, name: str, device: Any, size_bytes: int) -> None:
        self.name = name
        self.size_bytes = size_bytes
        self._gpu = gpu
        self._device = device
        self._pinned: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._filled_after = -1

    @property
    def pointer(self) -> int:
        """Address of the buffer on the GPU."""
        return int(self._device)

    def made(self, shape: tuple[int, ...], dtype: DTypeLike, start: int = 0) -> DeviceArray:
        """Return an array at byte `start` of the buffer; its content is undefined.

        Raises
        ------
        TooLarge
            If it does not fit.
        """
        size = prod(shape) * np.dtype(dtype).itemsize
        if start + size > self.size_bytes:
            room = f"there is room for {self.size_bytes}: raise the capacity"
            raise TooLarge(f"{self.name} {shape} takes {start + size} bytes, and {room}")
        return DeviceArray(self.pointer + start, shape, np.dtype(dtype), self)

    def filled(self, array: NDArray[Any]) -> DeviceArray:
        """Copy `array`, which need not be dense, to the GPU; the copy is queued on the stream."""
        return self.filled_in_turn([array])[0]

    def filled_in_turn(self, arrays: Sequence[NDArray[Any]]) -> list[DeviceArray]:
        """Copy `arrays` one after the other, each `aligned`; one is copied while the next is made dense."""
        starts = [0, *accumulate(aligned(array.nbytes) for array in arrays)]
        taken = [self.made(a.shape, a.dtype, start) for a, start in zip(arrays, starts, strict=False)]
        if any(array.size for array in arrays):
            self._pin(starts[-1])
            self._wait_for_copies()
            self._filled_after = self._gpu.waits
            with self._gpu.reported(f"{self.name} cannot be copied to the GPU"):
                for array, there, start in zip(arrays, taken, starts, strict=False):
                    if array.size:
                        pinned = self._on_host(there, start)
                        np.copyto(pinned, array)
                        self._gpu.driver.memcpy_htod_async(there.pointer, pinned, self._gpu.stream)
        return taken

    def fetched(self, array: DeviceArray) -> NDArray[Any]:
        """Wait for all earlier work on the stream and return a copy that the caller owns."""
        pinned = self._on_host(array)
        with self._gpu.reported(f"{self.name} cannot be copied from the GPU"):
            if pinned.size:
                self._gpu.driver.memcpy_dtoh_async(pinned, array.pointer, self._gpu.stream)
        self._gpu.wait()
        return pinned.copy()

    def free(self) -> None:
        """Free both memories; the buffer is empty afterwards. A second call has no effect."""
        if self._device is not None:
            self._device.free()
            self._device, self.size_bytes = None, 0
            self._free_pinned()

    def _on_host(self, array: DeviceArray, start: int = 0) -> NDArray[Any]:
        size = prod(array.shape) * array.dtype.itemsize
        self._pin(start + size)
        return self._pinned[start : start + size].view(array.dtype).reshape(array.shape)

    def _pin(self, size_bytes: int) -> None:
        """Take `size_bytes` of pinned memory, or half as much again as before, if there is less."""
        if size_bytes > self._pinned.nbytes:
            larger = max(size_bytes, min(self._pinned.nbytes * 3 // 2, self.size_bytes))
            self._wait_for_copies()
            self._free_pinned()
            with self._gpu.reported(f"{self.name} finds no room in pinned memory of the host"):
                self._pinned = self._gpu.driver.pagelocked_empty(larger, np.uint8)

    def _wait_for_copies(self) -> None:
        """Wait for a copy to the GPU that may still read the pinned memory."""
        if self._filled_after == self._gpu.waits:
            self._gpu.wait()

    def _free_pinned(self) -> None:
        if self._pinned.base is not None:
            self._pinned.base.free()  # type: ignore[attr-defined]  # PyCUDA's own object beneath the array
            self._pinned = np.empty(0, np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class DeviceArray:
    """A dense array on the GPU, valid until its buffer is written again; `numpy.asarray` copies it to the host.

    Attributes
    ----------
    buffer
        None for memory of another library, which is not copied.
    """

    pointer: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    buffer: Buffer | None

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {"data": (self.pointer, False), "shape": self.shape, "typestr": self.dtype.str, "version": 3}

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        assert self.buffer is not None
        fetched = self.buffer.fetched(self)
        return fetched if dtype is None else fetched.astype(dtype)


class Gpu:
    """The GPU, usable only in the thread that makes this object.

    Attributes
    ----------
    stream
        `pycuda.driver.Stream` of all copies and launches.
    driver
        Module `pycuda.driver`.
    waits
        Number of waits for the stream.

    Raises
    ------
    KernelError
        On construction if there is no PyCUDA or no GPU; later if the GPU fails. After a failure no content of its
        memory can be trusted: the process must be restarted.
    """

    def __init__(self, device: int = 0) -> None:
        self.driver = driver = _pycuda()
        self._thread = threading.get_ident()
        self._scratch, self._scratch_bytes = 0, 0
        self.waits = 0
        with ExitStack() as undo, self.reported("the GPU cannot be used"):
            driver.init()
            context = driver.Device(device).retain_primary_context()
            undo.callback(context.detach)
            context.push()
            undo.callback(driver.Context.pop)
            self.stream = driver.Stream()
            undo.callback(self.__dict__.pop, "stream")
            self._undo = undo.pop_all()
        atexit.register(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free memory and context, in the thread that made them; PyCUDA aborts a process that ends without this."""
        atexit.unregister(self.close)
        with self.reported("the GPU cannot be released"):
            self._undo.close()

    def at_close(self, release: Callable[[], object]) -> None:
        """Register `release` to be called before the context is freed, the newest first."""
        self._undo.callback(release)

    def buffer(self, name: str, size_bytes: int) -> Buffer:
        """Allocate memory, aligned to 256 bytes, that stays until it is freed or the GPU is closed.

        Raises
        ------
        OutOfMemory
            If there is not enough memory.
        """
        with self.reported(f"{name} finds no room on the GPU"):
            device = self.driver.mem_alloc(max(size_bytes, 1))
        buffer = Buffer(self, name, device, size_bytes)
        self._undo.callback(buffer.free)
        return buffer

    def scratch(self, size_bytes: int) -> int:
        """Return the address of at least `size_bytes` on the GPU, shared by all callers and without a copy on the host.

        Each work on the stream may overwrite it, so nothing may be left there for the next. An address stays valid
        until the GPU is closed: a larger request gets another one.

        Raises
        ------
        OutOfMemory
            If there is not enough memory.
        """
        if size_bytes > self._scratch_bytes:
            with self.reported("scratch memory finds no room on the GPU"):
                block = self.driver.mem_alloc(size_bytes)
            self._undo.callback(block.free)
            self._scratch, self._scratch_bytes = int(block), size_bytes
        return self._scratch

    def wait(self) -> None:
        """Wait until all work on the stream has ended; a failure of that work is raised here."""
        with self.reported("the GPU failed"):
            self.stream.synchronize()
        self.waits += 1

    def module(self, fatbin: Path) -> Any:
        """Load the kernels of a fatbin."""
        with self.reported(f"{fatbin.name} cannot be loaded"):
            return self.driver.module_from_file(str(fatbin))

    @contextmanager
    def reported(self, what: str) -> Iterator[None]:
        """Raise the driver's errors as `KernelError`, after the sentence `what`; refuse calls from another thread."""
        if threading.get_ident() != self._thread:
            raise KernelError(f"{what}: another thread owns the GPU")
        try:
            yield
        except self.driver.MemoryError as error:
            raise OutOfMemory(f"{what}: {error}") from error
        except self.driver.Error as error:
            raise KernelError(f"{what}: {error}") from error


def _pycuda() -> Any:
    try:
        import pycuda.driver
    except ImportError as error:
        raise KernelError(f"PyCUDA cannot be imported ({error}): beside a driver, run {INSTALL}") from error
    return pycuda.driver
