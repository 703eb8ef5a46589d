"""An NVIDIA GPU for the thread that takes it: context, stream and memory; the one file that imports PyCUDA.

The primary context, which DALI and TensorRT use too, is current in one thread and in no other; the stream is PyCUDA's,
since it cannot wrap another's, and its `handle` is what they are given. Memory is taken once and given back at the
end, but for that of the radiographs in hand, which grows with them.
"""

from __future__ import annotations

import atexit
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

from .operations import KernelError, TooLarge

ALLOCATED_BYTES = 256
"""Where the driver lets memory begin; what is laid into it one after the other begins at such places, too."""


class OutOfMemory(KernelError):
    """The GPU has no more room: ask for less."""


def aligned(size_bytes: int) -> int:
    """`size_bytes`, up to where the next thing may begin."""
    return -(-size_bytes // ALLOCATED_BYTES) * ALLOCATED_BYTES


class Buffer:
    """Memory of the GPU's, and as much of the host's that it can be copied from and to.

    Attributes
    ----------
    name
        For messages.
    """

    def __init__(self, gpu: Gpu, name: str, device: Any, pinned: NDArray[np.uint8]) -> None:
        self.name, self._gpu, self._device, self._pinned = name, gpu, device, pinned
        self._filled_after = -1

    @property
    def size_bytes(self) -> int:
        """How much fits."""
        return self._pinned.nbytes

    @property
    def pointer(self) -> int:
        """Where it begins."""
        return int(self._device)

    def made(self, shape: tuple[int, ...], dtype: DTypeLike, start: int = 0) -> DeviceArray:
        """An array at the buffer's `start` bytes, with whatever lies there.

        Raises
        ------
        TooLarge
            If it does not fit.
        """
        size = prod(shape) * np.dtype(dtype).itemsize
        if start + size > self._pinned.nbytes:
            room = f"there is room for {self._pinned.nbytes}: raise the capacity"
            raise TooLarge(f"{self.name} {shape} takes {start + size} bytes, and {room}")
        return DeviceArray(self.pointer + start, shape, np.dtype(dtype), self)

    def filled(self, array: NDArray[Any]) -> DeviceArray:
        """`array`, which need not be dense, on the GPU once the stream gets there."""
        return self.filled_in_turn([array])[0]

    def filled_in_turn(self, arrays: Sequence[NDArray[Any]]) -> list[DeviceArray]:
        """`arrays` one after the other, each `aligned`: one is copied while the next is laid out."""
        starts = [0, *accumulate(aligned(array.nbytes) for array in arrays)]
        taken = [self.made(a.shape, a.dtype, start) for a, start in zip(arrays, starts, strict=False)]
        if any(array.size for array in arrays):
            if self._filled_after == self._gpu.waits:  # the last copy may still read the pinned memory
                self._gpu.wait()
            self._filled_after = self._gpu.waits
            with self._gpu.reported(f"{self.name} cannot be copied to the GPU"):
                for array, there, start in zip(arrays, taken, starts, strict=False):
                    if array.size:
                        pinned = self._on_host(there, start)
                        np.copyto(pinned, array)
                        self._gpu.driver.memcpy_htod_async(there.pointer, pinned, self._gpu.stream)
        return taken

    def fetched(self, array: DeviceArray) -> NDArray[Any]:
        """The caller's own copy, once all that was launched before has ended."""
        pinned = self._on_host(array)
        with self._gpu.reported(f"{self.name} cannot be copied from the GPU"):
            if pinned.size:
                self._gpu.driver.memcpy_dtoh_async(pinned, array.pointer, self._gpu.stream)
        self._gpu.wait()
        return pinned.copy()

    def free(self) -> None:
        """Give both memories back; once is enough. There is no room in it any more."""
        if self._device is not None:
            self._device.free()
            self._pinned.base.free()  # type: ignore[union-attr]  # PyCUDA's own object beneath the array
            self._device, self._pinned = None, np.empty(0, np.uint8)

    def _on_host(self, array: DeviceArray, start: int = 0) -> NDArray[Any]:
        size = prod(array.shape) * array.dtype.itemsize
        return self._pinned[start : start + size].view(array.dtype).reshape(array.shape)


@dataclass(frozen=True, slots=True, eq=False)
class DeviceArray:
    """A dense array in the GPU's memory, valid until its buffer is written again; `numpy.asarray` brings it back."""

    pointer: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    buffer: Buffer

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {"data": (self.pointer, False), "shape": self.shape, "typestr": self.dtype.str, "version": 3}

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        fetched = self.buffer.fetched(self)
        return fetched if dtype is None else fetched.astype(dtype)


class Gpu:
    """The GPU, for the thread that makes it.

    Attributes
    ----------
    stream
        `pycuda.driver.Stream` on which everything happens.
    driver
        `pycuda.driver`.
    waits
        How often it was waited for.

    Raises
    ------
    KernelError
        On construction if there is no PyCUDA or no GPU; later if the GPU fails, after which nothing on it can be
        trusted: the process must start anew.
    """

    def __init__(self, device: int = 0) -> None:
        self.driver = driver = _pycuda()
        self._thread = threading.get_ident()
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
        """Give memory and context back, in the thread that took them: PyCUDA aborts a process that ends without."""
        atexit.unregister(self.close)
        with self.reported("the GPU cannot be released"):
            self._undo.close()

    def at_close(self, release: Callable[[], object]) -> None:
        """Have `release` called before the context goes: the newest first, as it may need the older ones."""
        self._undo.callback(release)

    def buffer(self, name: str, size_bytes: int) -> Buffer:
        """Memory that is kept until the end or until it is freed, aligned to 256 bytes.

        Raises
        ------
        OutOfMemory
            If there is not as much.
        """
        with self.reported(f"{name} finds no room on the GPU"):
            device = self.driver.mem_alloc(max(size_bytes, 1))
            try:
                pinned = self.driver.pagelocked_empty(max(size_bytes, 1), np.uint8)
            except self.driver.Error:
                device.free()
                raise
        buffer = Buffer(self, name, device, pinned)
        self._undo.callback(buffer.free)
        return buffer

    def wait(self) -> None:
        """Until all that was put on the stream has ended; a failure of it is told here."""
        with self.reported("the GPU failed"):
            self.stream.synchronize()
        self.waits += 1

    def module(self, fatbin: Path) -> Any:
        """The kernels of a fatbin, loaded."""
        with self.reported(f"{fatbin.name} cannot be loaded"):
            return self.driver.module_from_file(str(fatbin))

    @contextmanager
    def reported(self, what: str) -> Iterator[None]:
        """What the driver raises, as `KernelError`; so is a call from another thread."""
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
        raise KernelError(f"PyCUDA cannot be imported ({error}): pip install 'osteon[gpu]' beside a driver") from error
    return pycuda.driver
