"""The kernels on an NVIDIA GPU: a call copies the arrays that are not on the GPU yet, launches, and waits once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import INSTALL
from .build import FATBIN
from .device import DeviceArray, Gpu
from .operations import LAYER, KernelError, Operations

FLOAT_BYTES = 4
"""Size of a float32."""

FROM_ENGINE = ("activations", "gradients")
"""Arrays that come from an engine on the same GPU and need no buffer, unless a caller has them on the host."""

ALIGNED_BYTES = 16
"""Alignment that the overlay needs: it reads 16 bytes at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """Largest arrays of one call, which give the sizes of the buffers.

    Attributes
    ----------
    maps, channels, cells
        N, the largest batch of an inference; K of the widest backbone in use (EfficientNet-Lite0's 1280); h * w of a
        region of 256 px at a stride of 16.
    heats, drawn_cells
        Number of maps drawn on one radiograph; h * w of each, which pictures make four times finer along both axes.
    pixels
        H * W of a radiograph: a detector of 43 x 43 cm at 0.1 mm has 18.5 million, and long legs are stitched.
    """

    maps: int = 16
    channels: int = 1280
    cells: int = 16 * 16
    heats: int = 64
    drawn_cells: int = 64 * 64
    pixels: int = 48_000_000

    def sizes_bytes(self) -> dict[str, int]:
        """Return the size of each buffer that `Operations` names."""
        features, cells = self.maps * self.channels, self.maps * self.cells
        return {
            "activations": features * self.cells * FLOAT_BYTES,
            "gradients": features * self.cells * FLOAT_BYTES,
            "weights": features * FLOAT_BYTES,
            "maps": cells * FLOAT_BYTES,
            "normalised": cells * FLOAT_BYTES,
            "grey": self.pixels,
            "layers": self.heats * LAYER.itemsize,
            "cells": self.heats * self.drawn_cells * FLOAT_BYTES,
            "colours": 256 * 4,
            "rgb": self.pixels * 3,
        }


class CudaKernels(Operations):
    """The kernels on `gpu`.

    An argument that is on the GPU already is used in place; it has ``__cuda_array_interface__`` and was written on the
    GPU's stream.

    Raises
    ------
    KernelError
        On construction if there is no fatbin or too little memory; later as from `Gpu`.
    """

    def __init__(self, gpu: Gpu, capacity: Capacity | None = None, fatbin: Path = FATBIN) -> None:
        if not fatbin.is_file():
            raise KernelError(f"{fatbin.name} is missing, and the wheel of Osteon has it: run {INSTALL}")
        self._gpu = gpu
        self._module = gpu.module(fatbin)
        gpu.at_close(self.__dict__.clear)  # the module must not outlive the context
        self._sizes = (capacity or Capacity()).sizes_bytes()
        self._buffers = {name: gpu.buffer(name, size) for name, size in self._sizes.items() if name not in FROM_ENGINE}

    def _take(self, name: str, array: Any) -> DeviceArray:
        shared = getattr(array, "__cuda_array_interface__", None)
        if shared is None:
            if name not in self._buffers:
                self._buffers[name] = self._gpu.buffer(name, self._sizes[name])
            return self._buffers[name].filled(array)
        pointer = shared["data"][0]
        if shared.get("strides") is not None or pointer % ALIGNED_BYTES:
            raise KernelError(f"{name} lies on the GPU, but not dense and aligned to {ALIGNED_BYTES} bytes")
        return DeviceArray(pointer, tuple(shared["shape"]), np.dtype(shared["typestr"]), None)

    def _made(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> DeviceArray:
        return self._buffers[name].made(shape, dtype)

    def _give(self, buffer: DeviceArray) -> NDArray[Any]:
        return np.asarray(buffer)

    def _run(self, kernel: str, grid: tuple[int, int, int], block: tuple[int, int, int], *arguments: Any) -> None:
        values = [np.uintp(a.pointer) if isinstance(a, DeviceArray) else a for a in arguments]
        with self._gpu.reported(f"{kernel} cannot be launched"):
            self._module.get_function(kernel)(*values, grid=grid, block=block, stream=self._gpu.stream)
