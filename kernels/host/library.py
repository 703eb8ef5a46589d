"""gradcam.cu as a library for the CPU, loaded with ctypes and launched like on a GPU."""

from __future__ import annotations

import ctypes
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.operations import KernelError, Operations

Triple = tuple[int, int, int]


class HostKernels(Operations):
    """The kernels of a library that `kernels.build.host_library` made.

    Parameters
    ----------
    backward
        Run the threads of a block last to first: a missing barrier may show in one order only.

    Raises
    ------
    KernelError
        If the library cannot be loaded.
    """

    def __init__(self, library: Path, backward: bool = False) -> None:
        try:
            self._library = ctypes.CDLL(str(library))
        except OSError as error:
            raise KernelError(f"{library} cannot be loaded: {error}") from error
        self._backward = ctypes.c_int(backward)

    def _take(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        taken = self._made(name, array.shape, array.dtype)
        taken[...] = array
        return taken

    def _made(self, name: str, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        # exactly the bytes of malloc, aligned to 16, so that AddressSanitizer sees an access to the next byte;
        # 0xFF bytes are NaN, so that an element that no thread writes stays NaN
        return np.full(prod(shape) * np.dtype(dtype).itemsize, 0xFF, np.uint8).view(dtype).reshape(shape)

    def _give(self, buffer: NDArray[Any]) -> NDArray[Any]:
        return buffer

    def _run(self, kernel: str, grid: Triple, block: Triple, *arguments: Any) -> None:
        values = [np.array(a.ctypes.data if isinstance(a, np.ndarray) else a) for a in arguments]
        parameters = (ctypes.c_void_p * len(values))(*(v.ctypes.data for v in values))
        launch = self._library[f"launch_{kernel}"]
        launch((ctypes.c_uint * 3)(*grid), (ctypes.c_uint * 3)(*block), parameters, self._backward)
