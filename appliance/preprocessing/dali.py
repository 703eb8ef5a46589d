"""Stage 1 as one DALI graph; the device is a parameter, and where the pixels come from the only line that differs.

Stored values are resized before the window: half the time of the other order, and the averaging happens before the
clamp. A DALI pipeline is dead after any error: it is built anew (10 to 35 ms), for half as many where memory was short;
a second error, or too little memory for one, is a fault of the role.
"""

from __future__ import annotations

import logging
import re
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from nvidia.dali import Pipeline, backend, fn, math, types

from appliance.domain.radiograph import StoredValues
from appliance.errors import Fault
from kernels.device import Buffer, DeviceArray, Gpu

from .recipe import DIGEST, IMAGE_PX, REGION_PX, Prepared, equalisation_table, fitted_size, windowing

REGIONS_AT_ONCE = 16

_DALI_ERRORS = (IndexError, MemoryError, RuntimeError, TypeError, ValueError)
"""What DALI makes of its own."""

_NO_ROOM = re.compile("bad_alloc|allocat(e|ion)|out of memory")
"""How it says, and NumPy beneath it, that memory is short, the host's or the GPU's (dali/core/cuda_error.h)."""

_DEAD = "Current pipeline object is no longer valid"
"""How it ends every message."""

log = logging.getLogger(__name__)

_SCALARS = ("a", "b", "sigmoid", "inverted")
_VECTORS = ("size", "roi_start", "roi_end")


def graph(device: Literal["cpu", "gpu"], side_px: int) -> tuple[Any, Any]:
    """Nodes (grey, equalised), each (side_px, side_px, 1) uint8, of the graph that both devices run."""
    x = fn.external_source(name="pixels", device=device, dtype=types.UINT16, ndim=3, layout="HWC", no_copy=True)
    # scalars and sizes stay on the CPU in both modes: DALI takes named arguments from there only
    a, b, sigmoid, inverted = (fn.external_source(name=n, dtype=types.FLOAT, ndim=0) for n in _SCALARS)
    size, roi_start, roi_end = (fn.external_source(name=n, dtype=types.FLOAT, ndim=1) for n in _VECTORS)
    x = fn.resize(
        x,
        size=size,
        roi_start=roi_start,
        roi_end=roi_end,
        dtype=types.FLOAT,
        interp_type=types.INTERP_LINEAR,
        antialias=True,
    )
    x = x * a + b
    y = sigmoid * (1.0 / (1.0 + math.exp(math.clamp(-x, -80.0, 80.0)))) + (1.0 - sigmoid) * math.clamp(x, 0.0, 1.0)
    y = math.abs(inverted - y)
    grey = fn.cast(y * 255.0, dtype=types.UINT8)  # saturates, rounds half away from zero
    return tuple(
        fn.crop(
            image,
            crop=(side_px, side_px),
            crop_pos_x=0.0,
            crop_pos_y=0.0,
            out_of_bounds_policy="pad",
            fill_values=0.0,
        )
        for image in (grey, fn.equalize(grey))  # before the padding, which must not enter the histogram
    )


Pixels = NDArray[np.uint16] | DeviceArray
"""(H, W, 1), on the host or on the GPU."""


class _Graph:
    """A built pipeline for one output size."""

    def __init__(self, device: Literal["cpu", "gpu"], side_px: int, batch: int, threads: int) -> None:
        self._device, self._side_px, self._batch, self._threads = device, side_px, batch, threads
        try:
            self._pipeline: Pipeline | None = self._built()
        except _DALI_ERRORS as error:
            raise Fault("dali_failed", f"DALI cannot use the {device}: {_reason(error)}") from error

    def _built(self) -> Pipeline:
        pipeline = Pipeline(
            batch_size=self._batch,
            num_threads=self._threads,
            device_id=0 if self._device == "gpu" else None,
            prefetch_queue_depth=1,
            exec_dynamic=True,
        )
        with pipeline:
            pipeline.set_outputs(*graph(self._device, self._side_px))
        pipeline.build()
        return pipeline

    def __call__(
        self, stored: StoredValues, pixels: Pixels, boxes: NDArray[np.float32]
    ) -> tuple[NDArray[np.uint8], ...]:
        """(n, side_px, side_px) grey and equalised; `pixels` are those of `stored`, where the graph takes them.

        Where memory is short, in runs of half as many, and from then on.
        """
        if len(boxes) > self._batch:
            runs = [self(stored, pixels, some) for some in (boxes[: self._batch], boxes[self._batch :])]
            return tuple(np.concatenate(made) for made in zip(*runs, strict=True))
        a, b, sigmoid = windowing(stored)
        n = len(boxes)
        sizes = [fitted_size(y1 - y0, x1 - x0, self._side_px) for x0, y0, x1, y1 in boxes.astype(float)]
        scalars = np.array((a, b, sigmoid, stored.invert), np.float32)
        inputs = {
            "pixels": [pixels] * n,  # the same memory for each region
            **{name: [value] * n for name, value in zip(_SCALARS, scalars, strict=True)},
            "size": [np.array(s, np.float32) for s in sizes],
            "roi_start": [box[[1, 0]] for box in boxes],
            "roi_end": [box[[3, 2]] for box in boxes],
        }
        try:
            return self._outputs(inputs)
        except _DALI_ERRORS as error:
            halve = n > 1 and _NO_ROOM.search(_reason(error)) is not None
            self._batch = n // 2 if halve else self._batch
            log.error("DALI gave up on the graph, which is built anew for %d at once: %s", self._batch, _reason(error))
        self._pipeline = None
        # DALI's pools would keep what it had, and memory may be short
        backend.ReleaseUnusedMemory()  # type: ignore[attr-defined]  # its stub lacks it
        try:
            return self(stored, pixels, boxes) if halve else self._outputs(inputs)
        except _DALI_ERRORS as error:
            raise Fault("dali_failed", f"DALI gave up on the graph twice: {_reason(error)}") from error

    def _outputs(self, inputs: dict[str, Any]) -> tuple[NDArray[np.uint8], ...]:
        if self._pipeline is None:
            self._pipeline = self._built()
        outputs = self._pipeline.run(**inputs)
        return tuple(np.asarray(o.as_cpu().as_array())[..., 0].copy() for o in outputs)


def _reason(error: Exception) -> str:
    """The last line of what DALI says that says something."""
    said = [line for line in str(error).splitlines() if line.strip() and not line.startswith(_DEAD)]
    return said[-1] if said else "no reason given"


class DaliPreprocessor:
    """The `Preprocessor` port on DALI.

    Parameters
    ----------
    device
        ``"cpu"`` or ``"gpu"``.
    threads
        DALI's worker threads; one image uses one thread in the resize.
    gpu
        Takes a radiograph to the GPU, once for all of its regions; needed with ``"gpu"``.
    """

    digest = DIGEST

    def __init__(self, device: Literal["cpu", "gpu"] = "cpu", threads: int = 2, gpu: Gpu | None = None) -> None:
        self._on_gpu = _OnGpu(gpu) if gpu else None
        self._image = _Graph(device, IMAGE_PX, 1, threads)
        self._region = _Graph(device, REGION_PX, REGIONS_AT_ONCE, threads)

    def prepare(self, stored: StoredValues) -> Prepared:
        """Stage 1 for one radiograph."""
        h, w = stored.pixels.shape
        grey, equalised = self._image(stored, self._pixels(stored), np.array([[0, 0, w, h]], np.float32))
        fitted_h, fitted_w = fitted_size(h, w, IMAGE_PX)
        table = equalisation_table(grey[0, :fitted_h, :fitted_w])
        return Prepared(image=equalised[0], table=table, scale=IMAGE_PX / max(h, w))

    def regions(self, stored: StoredValues, table: NDArray[np.uint8], boxes: NDArray[np.float32]) -> NDArray[np.uint8]:
        """(R, 256, 256) uint8 from `boxes` (R, 4) x0 y0 x1 y1 in px of the received image, padded with 0."""
        out = np.zeros((len(boxes), REGION_PX, REGION_PX), np.uint8)
        for start in range(0, len(boxes), REGIONS_AT_ONCE):
            some = boxes[start : start + REGIONS_AT_ONCE].astype(np.float32)
            greys, _ = self._region(stored, self._pixels(stored), some)
            for r, (grey, (x0, y0, x1, y1)) in enumerate(zip(greys, some.astype(float), strict=True), start):
                h, w = fitted_size(y1 - y0, x1 - x0, REGION_PX)
                out[r, :h, :w] = table[grey[:h, :w]]
        return out

    def _pixels(self, stored: StoredValues) -> Pixels:
        return self._on_gpu(stored.pixels) if self._on_gpu else stored.pixels[..., None]


class _OnGpu:
    """The radiograph in hand, in memory that grows to the largest one."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu, self._buffer = gpu, gpu.buffer("pixels", 0)
        self._held: tuple[NDArray[np.uint16], DeviceArray] | None = None

    def __call__(self, pixels: NDArray[np.uint16]) -> DeviceArray:
        if self._held is None or self._held[0] is not pixels:
            self._held = (pixels, self._room(pixels.nbytes).filled(pixels[..., None]))
            self._gpu.wait()  # DALI reads on a stream of its own
        return self._held[1]

    def _room(self, size_bytes: int) -> Buffer:
        if size_bytes > self._buffer.size_bytes:
            self._buffer.free()
            self._buffer = self._gpu.buffer("pixels", size_bytes)
        return self._buffer
