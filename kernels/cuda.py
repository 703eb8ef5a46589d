"""The kernels on an NVIDIA GPU: the one file that imports PyCUDA.

One thread owns the GPU: the primary context, which DALI and TensorRT use too, is current in it and in no other; the
stream is PyCUDA's, since it cannot wrap another's, and its `handle` is what they are given. Device and pinned memory
are taken once, for the largest batch; a call moves what is not yet on the device, launches, and waits once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from .build import FATBIN
from .operations import LAYER, KernelError, Operations

FLOAT_BYTES = 4
ALIGNED_BYTES = 16
"""What the overlay reads at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """The largest of everything in one call; the buffers are as large.

    Attributes
    ----------
    maps, channels, cells
        N, as many regions as one inference takes; K, of the widest backbone in use (EfficientNet-Lite0's 1280); h * w,
        of a region of 256 px at a stride of 16.
    heats
        Maps drawn on one radiograph.
    pixels
        H * W of a radiograph: a detector of 43 x 43 cm at 0.1 mm has 18.5 million, and long legs are stitched.
    """

    maps: int = 16
    channels: int = 1280
    cells: int = 16 * 16
    heats: int = 64
    pixels: int = 48_000_000

    def sizes_bytes(self) -> dict[str, int]:
        """Of each buffer that `Operations` names."""
        features, cells = self.maps * self.channels, self.maps * self.cells
        return {
            "activations": features * self.cells * FLOAT_BYTES,
            "gradients": features * self.cells * FLOAT_BYTES,
            "weights": features * FLOAT_BYTES,
            "maps": cells * FLOAT_BYTES,
            "normalised": cells * FLOAT_BYTES,
            "grey": self.pixels,
            "layers": self.heats * LAYER.itemsize,
            "cells": self.heats * self.cells * FLOAT_BYTES,
            "colours": 256 * 4,
            "rgb": self.pixels * 3,
        }


class DeviceArray(NamedTuple):
    """A dense array in the GPU's memory, and the buffer's name."""

    name: str
    pointer: int
    shape: tuple[int, ...]
    dtype: Any


class CudaKernels(Operations):
    """The kernels on a GPU, for the thread that makes it.

    An argument that lies on the GPU already (it has ``__cuda_array_interface__`` and was written on `stream`) is used
    where it is.

    Attributes
    ----------
    stream
        `pycuda.driver.Stream` on which everything happens.

    Raises
    ------
    KernelError
        On construction if there is no PyCUDA, no GPU, no fatbin or too little memory; later if the GPU fails, after
        which nothing on it can be trusted: the process must start anew.
    """

    def __init__(self, capacity: Capacity | None = None, fatbin: Path = FATBIN, device: int = 0) -> None:
        self._driver = driver = _pycuda()
        self._thread = threading.get_ident()
        if not fatbin.is_file():
            raise KernelError(f"{fatbin.name} is not there: make kernels")
        with ExitStack() as undo, self._reported("the GPU cannot be used"):
            driver.init()
            context = driver.Device(device).retain_primary_context()
            undo.callback(context.detach)
            context.push()
            undo.callback(driver.Context.pop)
            undo.callback(self.__dict__.clear)  # what belongs to the context goes before it
            self._module = driver.module_from_file(str(fatbin))
            self.stream = driver.Stream()
            sizes = (capacity or Capacity()).sizes_bytes()
            self._device = {name: driver.mem_alloc(size) for name, size in sizes.items()}
            self._pinned = {name: driver.pagelocked_empty(size, np.uint8) for name, size in sizes.items()}
            self._undo = undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give memory and context back, in the thread that took them: PyCUDA aborts a process that ends without."""
        with self._reported("the GPU cannot be released"):
            self._undo.close()

    def _take(self, name: str, array: Any) -> DeviceArray:
        shared = getattr(array, "__cuda_array_interface__", None)
        if shared is not None:
            pointer = shared["data"][0]
            if shared.get("strides") is not None or pointer % ALIGNED_BYTES:
                raise KernelError(f"{name} lies on the GPU, but not dense and aligned to {ALIGNED_BYTES} bytes")
            return DeviceArray(name, pointer, tuple(shared["shape"]), np.dtype(shared["typestr"]))
        taken = self._made(name, array.shape, array.dtype)
        if array.size:
            pinned = self._on_host(taken)
            np.copyto(pinned, array)
            with self._reported(f"{name} cannot be copied to the GPU"):
                self._driver.memcpy_htod_async(taken.pointer, pinned, self.stream)
        return taken

    def _made(self, name: str, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        size, room = prod(shape) * np.dtype(dtype).itemsize, self._pinned[name].nbytes
        if size > room:
            raise KernelError(f"{name} {shape} takes {size} bytes, and there is room for {room}: raise the capacity")
        return DeviceArray(name, int(self._device[name]), shape, dtype)

    def _give(self, buffer: DeviceArray) -> NDArray[Any]:
        pinned = self._on_host(buffer)
        with self._reported("the kernels failed"):
            if pinned.size:
                self._driver.memcpy_dtoh_async(pinned, buffer.pointer, self.stream)
            self.stream.synchronize()
        return pinned.copy()

    def _run(self, kernel: str, grid: tuple[int, int, int], block: tuple[int, int, int], *arguments: Any) -> None:
        values = [np.uintp(a.pointer) if isinstance(a, DeviceArray) else a for a in arguments]
        with self._reported(f"{kernel} cannot be launched"):
            self._module.get_function(kernel)(*values, grid=grid, block=block, stream=self.stream)

    def _on_host(self, buffer: DeviceArray) -> NDArray[Any]:
        """The pinned memory beside a buffer, in its shape."""
        size = prod(buffer.shape) * np.dtype(buffer.dtype).itemsize
        return self._pinned[buffer.name][:size].view(buffer.dtype).reshape(buffer.shape)

    @contextmanager
    def _reported(self, what: str) -> Iterator[None]:
        if threading.get_ident() != self._thread:
            raise KernelError(f"{what}: another thread owns the GPU")
        failure = self._driver.Error
        try:
            yield
        except failure as error:
            raise KernelError(f"{what}: {error}") from error


def _pycuda() -> Any:
    try:
        return import_module("pycuda.driver")
    except ImportError as error:
        raise KernelError(f"PyCUDA cannot be imported ({error}): pip install 'osteon[gpu]' beside a driver") from error
