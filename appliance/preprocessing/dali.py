"""Stage 1 as one DALI graph for CPU and GPU; only the source of the pixels differs.

Stored values are resized before the window: this takes half the time of the other order, and averages before values are
clamped. A DALI pipeline cannot be used after an error: it is built anew (10 to 35 ms), for half the batch if memory was
short. A second error, or too little memory for one radiograph, is a fault of the role.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from nvidia.dali import Pipeline, backend, fn, math, types

from appliance.domain.radiograph import StoredValues
from appliance.domain.reason import ReasonCode
from appliance.errors import Fault
from kernels.device import Buffer, DeviceArray, Gpu, OutOfMemory, aligned

from .recipe import DIGEST, IMAGE_PX, REGION_PX, Cut, Prepared, equalisation_table, fitted_size, windowing

AT_ONCE = 16
"""Most radiographs or regions in one run of a graph."""

_DALI_ERRORS = (IndexError, MemoryError, RuntimeError, TypeError, ValueError)
"""Exceptions that DALI raises."""

_OUT_OF_MEMORY = re.compile("bad_alloc|allocat(e|ion)|out of memory")
"""Words of DALI and NumPy when memory of the host or the GPU is short (dali/core/cuda_error.h)."""

_LAST_LINE = "Current pipeline object is no longer valid"
"""Last line of every message of DALI."""

log = logging.getLogger(__name__)

_SCALARS = ("a", "b", "sigmoid", "inverted")
_VECTORS = ("size", "roi_start", "roi_end")


def graph(device: Literal["cpu", "gpu"], side_px: int) -> tuple[Any, Any]:
    """Return the output nodes (grey, equalised), each (side_px, side_px, 1) uint8."""
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

Sample = tuple[StoredValues, Pixels, NDArray[np.float32]]
"""A radiograph, its pixels on the device of the graph, and the box to be resampled: (4,) x0 y0 x1 y1."""


class _Graph:
    """A built pipeline for one output size."""

    def __init__(self, device: Literal["cpu", "gpu"], side_px: int, threads: int) -> None:
        self._device = device
        self._side_px = side_px
        self._threads = threads
        self._batch = AT_ONCE
        try:
            self._pipeline: Pipeline | None = self._build()
        except _DALI_ERRORS as error:
            raise Fault(ReasonCode.DALI_FAILED, f"DALI cannot use the {device}: {_reason(error)}") from error

    def _build(self) -> Pipeline:
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

    def __call__(self, samples: Sequence[Sample]) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        """Yield (grey, equalised) of each sample, (side_px, side_px) uint8 with padding.

        If memory is short, this run and all later ones take half as many samples.
        """
        for start in range(0, len(samples), AT_ONCE):
            yield from zip(*self._run(samples[start : start + AT_ONCE]), strict=True)

    def _run(self, samples: Sequence[Sample]) -> tuple[NDArray[np.uint8], ...]:
        if len(samples) > self._batch:
            runs = [self._run(part) for part in (samples[: self._batch], samples[self._batch :])]
            return tuple(np.concatenate(outputs) for outputs in zip(*runs, strict=True))
        n = len(samples)
        radiographs, pixels, boxes = zip(*samples, strict=True)
        scalars = [np.array((*windowing(stored), stored.invert), np.float32) for stored in radiographs]
        sizes = [fitted_size(y1 - y0, x1 - x0, self._side_px) for x0, y0, x1, y1 in np.array(boxes, float)]
        inputs = {
            "pixels": list(pixels),  # the same memory for each region of a radiograph
            **{name: list(values) for name, values in zip(_SCALARS, zip(*scalars, strict=True), strict=True)},
            "size": [np.array(s, np.float32) for s in sizes],
            "roi_start": [box[[1, 0]] for box in boxes],
            "roi_end": [box[[3, 2]] for box in boxes],
        }
        try:
            return self._outputs(inputs)
        except _DALI_ERRORS as error:
            halve = n > 1 and _OUT_OF_MEMORY.search(_reason(error)) is not None
            self._batch = n // 2 if halve else self._batch
            log.error("DALI failed; its graph is built anew for batches of %d: %s", self._batch, _reason(error))
        self._pipeline = None
        # DALI's pools would keep the memory of the old pipeline
        backend.ReleaseUnusedMemory()  # type: ignore[attr-defined]  # its stub lacks it
        try:
            return self._run(samples) if halve else self._outputs(inputs)
        except _DALI_ERRORS as error:
            message = f"DALI failed twice: {_reason(error)}"
            if _OUT_OF_MEMORY.search(_reason(error)):
                raise OutOfMemory(message) from error
            raise Fault(ReasonCode.DALI_FAILED, message) from error

    def _outputs(self, inputs: dict[str, Any]) -> tuple[NDArray[np.uint8], ...]:
        if self._pipeline is None:
            self._pipeline = self._build()
        outputs = self._pipeline.run(**inputs)
        return tuple(np.asarray(o.as_cpu().as_array())[..., 0].copy() for o in outputs)


def _reason(error: Exception) -> str:
    """Return the last meaningful line of a message of DALI."""
    lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith(_LAST_LINE)]
    return lines[-1] if lines else "no reason given"


class DaliPreprocessor:
    """The `Preprocessor` port, with DALI.

    Parameters
    ----------
    device
        ``"cpu"`` or ``"gpu"``.
    threads
        DALI's worker threads; one image uses one thread in the resize.
    gpu
        Holds each radiograph on the GPU for all of its regions; required with ``"gpu"``.
    """

    digest = DIGEST

    def __init__(self, device: Literal["cpu", "gpu"] = "cpu", threads: int = 2, gpu: Gpu | None = None) -> None:
        self._on_gpu = _OnGpu(gpu) if gpu else None
        self._image = _Graph(device, IMAGE_PX, threads)
        self._region = _Graph(device, REGION_PX, threads)

    def prepare(self, radiographs: Sequence[StoredValues]) -> list[Prepared]:
        """Run stage 1 on each radiograph."""
        prepared = []
        with self._memory_freed_if_short():
            for stored, (grey, equalised) in zip(radiographs, self._image(self._samples(radiographs)), strict=True):
                h, w = stored.pixels.shape
                fitted_h, fitted_w = fitted_size(h, w, IMAGE_PX)
                table = equalisation_table(grey[:fitted_h, :fitted_w])
                prepared.append(Prepared(image=equalised, table=table, scale=IMAGE_PX / max(h, w)))
        return prepared

    def regions(self, cuts: Sequence[Cut]) -> NDArray[np.uint8]:
        """Resample each of `cuts` to (R, 256, 256) uint8, padded with 0."""
        out = np.zeros((len(cuts), REGION_PX, REGION_PX), np.uint8)
        samples = self._samples([cut.stored for cut in cuts], [cut.box for cut in cuts])
        with self._memory_freed_if_short():
            for region, cut, (grey, _) in zip(out, cuts, self._region(samples), strict=True):
                x0, y0, x1, y1 = cut.box.astype(float)
                h, w = fitted_size(y1 - y0, x1 - x0, REGION_PX)
                region[:h, :w] = cut.table[grey[:h, :w]]
        return out

    @contextmanager
    def _memory_freed_if_short(self) -> Iterator[None]:
        """Free the radiographs held on the GPU if memory runs out; the caller may then try fewer at a time."""
        try:
            yield
        except OutOfMemory:
            if self._on_gpu:
                self._on_gpu.forget()
            raise

    def _samples(
        self, radiographs: Sequence[StoredValues], boxes: Sequence[NDArray[np.float32]] | None = None
    ) -> list[Sample]:
        """Return samples of `boxes`, or of whole radiographs; copy the pixels to the GPU if the graph runs there."""
        whole = [np.array([0, 0, *reversed(stored.pixels.shape)], np.float32) for stored in radiographs]
        pixels: list[Pixels] = [stored.pixels[..., None] for stored in radiographs]
        if self._on_gpu:
            pixels = self._on_gpu([stored.pixels for stored in radiographs])
        return list(zip(radiographs, pixels, boxes or whole, strict=True))


class _OnGpu:
    """The radiographs of the current batch on the GPU, in one buffer that grows to the largest batch."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._buffer = gpu.buffer("pixels", 0)
        # by `id`, which stays unique because the arrays are held, too
        self._held: dict[int, tuple[NDArray[np.uint16], DeviceArray]] = {}

    def __call__(self, radiographs: Sequence[NDArray[np.uint16]]) -> list[Pixels]:
        """Return the pixels on the GPU; if one was not in the last call, copy all and forget those of the last call."""
        if any(id(pixels) not in self._held for pixels in radiographs):
            distinct = {id(pixels): pixels for pixels in radiographs}
            self._held = {}
            buffer = self._buffer_of(sum(aligned(pixels.nbytes) for pixels in distinct.values()))
            on_gpu = buffer.filled_in_turn([pixels[..., None] for pixels in distinct.values()])
            self._held = {key: (distinct[key], array) for key, array in zip(distinct, on_gpu, strict=True)}
            self._gpu.wait()  # DALI reads on a stream of its own
        return [self._held[id(pixels)][1] for pixels in radiographs]

    def forget(self) -> None:
        """Free the memory on the GPU."""
        self._held = {}
        self._buffer.free()

    def _buffer_of(self, size_bytes: int) -> Buffer:
        """Return a buffer of that size; a new one has half as much again as the old one, where there is room."""
        if size_bytes > self._buffer.size_bytes:
            larger = max(size_bytes, self._buffer.size_bytes * 3 // 2)
            self._buffer.free()
            try:
                self._buffer = self._gpu.buffer("pixels", larger)
            except OutOfMemory:
                if larger == size_bytes:
                    raise
                self._buffer = self._gpu.buffer("pixels", size_bytes)
        return self._buffer
