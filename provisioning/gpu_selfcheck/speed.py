"""Steps that measure: only a card's figures mean anything."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from appliance.analysis.pipeline import Pipeline
from appliance.ports import Heat
from kernels.device import Gpu
from kernels.operations import ACROSS, BLOCK, DEEP, PIXELS, layers_on
from kernels.reference import OPACITY, colour_map
from provisioning.phantoms.large import TEN_MEGAPIXELS, copy_of, large_radiograph

from .pipelines import SITES, both_pipelines
from .step import Figures, Place
from .timing import LAUNCHES, Rings

FEATURES = (16, 1280, 16, 16)
"""Activations of the largest batch of the widest backbone in use (`kernels.cuda.Capacity`)."""

UP_BYTES, DOWN_BYTES = 20 << 20, 31 << 20
"""A radiograph of 10 megapixels in 16 bits, and its picture in colour."""

ROUNDS = 20


def time_kernels(place: Place) -> Figures:
    """Measure each kernel, and its bandwidth as a share of a copy's."""
    with Gpu() as gpu, Rings(gpu) as rings:
        return kernel_figures(gpu, rings, place.fatbin)


def kernel_figures(
    gpu: Gpu,
    rings: Rings,
    fatbin: Path,
    shape: tuple[int, int] = TEN_MEGAPIXELS,
    features: tuple[int, int, int, int] = FEATURES,
    launches: int = LAUNCHES,
) -> Figures:
    """Measure the kernels of `fatbin` on pictures of `shape` (H, W) and on `features` (N, K, h, w)."""
    module = gpu.module(fatbin)
    copy = 2 * rings.size_bytes / rings.ms(rings.copy, 8) / 1e6
    figures: Figures = {"copy on the card, GB/s": round(copy)}

    def measure(name: str, work: Any, read_bytes: int, written_bytes: int) -> None:
        ms = rings.ms(rings.walk(work, read_bytes, written_bytes), launches)
        rate = (read_bytes + written_bytes) / ms / 1e6
        figures[name] = {"us": round(ms * 1e3, 1), "GB/s": round(rate), "of copy": round(rate / copy, 2)}

    height, width = shape
    for name, heats in (
        ("no heat", []),
        ("heat on a tenth", [_heat(0.3 * width, 0.3 * height, 0.6 * width, 0.63 * height)]),
        ("heat on all", [_heat(0, 0, width, height)]),
    ):
        draw = _overlay(gpu, module.get_function("overlay"), heats, shape)
        measure(f"overlay, {name}", draw, height * width, 3 * height * width)

    maps, channels, *rest = features
    count, size = np.int32(np.prod(rest)), 4 * int(np.prod(features))
    mean, combine = module.get_function("channel_weights"), module.get_function("combine")
    weights = gpu.buffer("weights", 4 * maps * channels).filled(np.ones(maps * channels, np.float32))

    def channel_weights(source: int, target: int) -> None:
        grid, block = (maps * channels, 1, 1), (BLOCK, 1, 1)
        mean(np.uintp(source), np.uintp(target), count, grid=grid, block=block, stream=gpu.stream)

    def combined(source: int, target: int) -> None:
        arguments = (np.uintp(source), np.uintp(weights.pointer), np.uintp(target), np.int32(channels), count)
        grid = (-(-int(count) // ACROSS), maps, 1)
        combine(*arguments, grid=grid, block=(ACROSS, DEEP, 1), stream=gpu.stream)

    measure("channel_weights", channel_weights, size, 4 * maps * channels)
    measure("combine", combined, size, 4 * maps * int(count))
    return figures


def _heat(x0: float, y0: float, x1: float, y1: float) -> Heat:
    cells = np.random.default_rng(1).random((64, 64), np.float32)
    return Heat(cells=cells, extent=(x0, y0, x1, y1), within=(x0, y0, x1, y1))


def _overlay(gpu: Gpu, kernel: Any, heats: list[Heat], shape: tuple[int, int]) -> Callable[[int, int], None]:
    """Return a launch of the overlay's `kernel` with `heats`, from a grey picture's address to a coloured one's."""
    height, width = shape
    colours = np.zeros((256, 4), np.uint8)
    colours[:, :3] = colour_map()
    layers, cells = layers_on(heats, height, width)
    taken = [gpu.buffer("a drawing", array.nbytes).filled(array) for array in (layers, cells, colours)]
    before = [np.uintp(array.pointer) for array in taken]
    after = (*(np.int32(n) for n in (len(layers), width, height * width)), np.float32(OPACITY))
    grid = (-(-height * width // (BLOCK * PIXELS)), 1, 1)

    def draw(source: int, target: int) -> None:
        arguments = (np.uintp(source), *before, np.uintp(target), *after)
        kernel(*arguments, grid=grid, block=(BLOCK, 1, 1), stream=gpu.stream)

    return draw


def time_bus(_: Place) -> Figures:
    """Measure copies of a radiograph's pixels up and of its picture down, from and to pinned memory."""
    with Gpu() as gpu, Rings(gpu) as rings:
        return bus_figures(gpu, rings)


def bus_figures(gpu: Gpu, rings: Rings, launches: int = LAUNCHES) -> Figures:
    """Measure the bus with pieces that the rings must hold."""
    figures: Figures = {}
    driver = gpu.driver
    with gpu.reported("pinned memory"):
        pinned = driver.pagelocked_empty(DOWN_BYTES, np.uint8)
    for name, size, copy in (
        ("up", UP_BYTES, lambda: driver.memcpy_htod_async(rings.target, pinned[:UP_BYTES], gpu.stream)),
        ("down", DOWN_BYTES, lambda: driver.memcpy_dtoh_async(pinned, rings.source, gpu.stream)),
    ):
        ms = rings.ms(copy, launches)
        figures[name] = {"MB": size >> 20, "ms": round(ms, 3), "GB/s": round(size / ms / 1e6, 1)}
    pinned.base.free()
    return figures


def time_pipeline(place: Place) -> Figures:
    """Measure stages 1 to 3 on a radiograph of 10 megapixels, on the card and on the CPU beside it."""
    pipelines = both_pipelines(place, "fracatlas")
    return {name: pipeline_figures(pipeline, ROUNDS) for name, pipeline in zip(("CPU", "GPU"), pipelines, strict=True)}


def pipeline_figures(pipeline: Pipeline, rounds: int) -> Figures:
    """Return median ms of each stage for one radiograph, and radiographs a second by batch; half the rounds warm up."""
    radiographs = [large_radiograph(SITES[k % len(SITES)], k) for k in range(16)]
    stages: dict[str, list[float]] = defaultdict(list)
    for number in range(2 * rounds):
        stored = copy_of(radiographs[1])  # the same array would stay on the GPU
        start = perf_counter()
        timings = pipeline.analyse(stored).result.timings_ms
        whole = (perf_counter() - start) * 1e3
        if number >= rounds:
            for stage, ms in (*timings, ("all", whole)):
                stages[stage].append(ms)
    rates = {}
    for batch in (1, 4, 16):
        fresh = [copy_of(radiograph) for radiograph in radiographs]
        start = perf_counter()
        for first in range(0, len(fresh), batch):
            pipeline.analyse_all(fresh[first : first + batch])
        rates[str(batch)] = round(len(fresh) / (perf_counter() - start), 1)
    medians = {stage: round(statistics.median(ms), 2) for stage, ms in stages.items()}
    return {"one radiograph, ms": medians, "radiographs a second, by batch": rates}
