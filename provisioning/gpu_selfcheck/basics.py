"""Steps that need no network: card, driver and kernels."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from appliance.compute import choose_compute
from appliance.gpu import card, figures
from appliance.ports import Heat
from kernels import INSTALL, reference
from kernels.build import KERNELS
from kernels.cuda import CudaKernels
from kernels.device import Gpu

from .step import Figures, Place, StepFailed

UNIT = 2.0**-24
"""Rounding error of one float32 operation."""

PICTURE_LEVELS = 2
"""Largest difference of a picture, of 255: a heat between two colours may take either."""


def look_at_card(place: Place) -> Figures:
    """Describe the card; fail if the appliance would not take it."""
    seen, chosen = card(), choose_compute("auto")
    if chosen.device == "cpu" and not place.stand_in:
        raise StepFailed(chosen.reason)
    return {
        "name": seen.name,
        "driver": seen.driver,
        "compute capability": ".".join(map(str, seen.compute_capability)),
        "figures": figures().sentence(),
        "processors": os.cpu_count(),
        "choice of the appliance": f"{chosen.name}: {chosen.reason}",
    }


def try_driver(place: Place) -> Figures:
    """Open CUDA as the role does, copy there and back; list the device files, which belong to a card alone."""
    found: Figures = {}
    if not place.stand_in:
        files = sorted(p.name for p in Path("/dev").glob("nvidia*"))
        found["device files"] = ", ".join(files)
        if "nvidia-uvm" not in files:
            raise StepFailed(f"/dev/nvidia-uvm is missing ({found['device files']}): systemctl start osteon-gpu")
    sent = np.arange(1 << 20, dtype=np.uint32)
    with Gpu() as gpu:
        if not np.array_equal(np.asarray(gpu.buffer("numbers", sent.nbytes).filled(sent)), sent):
            raise StepFailed("numbers that were copied to the card came back changed: replace the card")
    return found


def load_kernels(place: Place) -> Figures:
    """Load the compiled kernels."""
    if not place.fatbin.is_file():
        raise StepFailed(f"{place.fatbin} is missing: run {INSTALL}")
    with Gpu() as gpu:
        _find_kernels(gpu, place.fatbin)
    return {"bytes": place.fatbin.stat().st_size, "kernels": ", ".join(KERNELS)}


def _find_kernels(gpu: Gpu, fatbin: Path) -> None:
    """Load the module, which must not outlive the context, and find each kernel in it."""
    module = gpu.module(fatbin)
    with gpu.reported(f"{fatbin.name} lacks a kernel"):
        for kernel in KERNELS:
            module.get_function(kernel)


def compare_kernels(place: Place) -> Figures:
    """Compare each kernel with its definition in NumPy."""
    rng, found = np.random.default_rng(7), Figures()
    with Gpu() as gpu:
        kernels = CudaKernels(gpu, fatbin=place.fatbin)
        for shape in ((2, 3, 5, 7), (1, 129, 1, 31), (16, 1280, 16, 16)):
            activations, gradients = rng.normal(size=(2, *shape)).astype(np.float32)
            weights, expected = kernels.channel_weights(gradients), reference.channel_weights(gradients)
            cells, sums = shape[2] * shape[3], np.abs(gradients).mean(axis=(2, 3))
            _within(f"channel_weights {shape}", weights, expected, 2 * (cells + 2) * UNIT * sums, found)
            maps, wanted = kernels.combine(activations, expected), reference.combine(activations, expected)
            terms = np.abs(expected[:, :, None, None] * activations).sum(axis=1)
            _within(f"combine {shape}", maps, wanted, 2 * (shape[1] + 2) * UNIT * terms, found)
            _within(f"normalise {shape}", kernels.normalise(wanted), reference.normalise(wanted), 0, found)
        for height, width in ((1, 15), (97, 131), (1203, 1311)):
            grey = rng.integers(0, 256, (height, width), np.uint8)
            whole = Heat(
                cells=rng.random((16, 16), np.float32), extent=(0, 0, width, height), within=(0, 0, width, height)
            )
            beside = Heat(
                cells=rng.random((7, 5), np.float32),
                extent=(-9, -3, 0.6 * width, 0.4 * height),
                within=(0, 0, width, 0.3 * height),
            )
            for heats in ([], [whole], [whole, beside]):
                made, expected_picture = kernels.overlay(grey, heats), reference.overlay(grey, heats)
                name = f"overlay {height} x {width}, {len(heats)} heats"
                _within(name, made, expected_picture, PICTURE_LEVELS, found)
    return found


def _within(
    name: str,
    made: NDArray[np.generic],
    expected: NDArray[np.generic],
    most: NDArray[np.float64] | float,
    found: Figures,
) -> None:
    """Note the largest difference in `found`, and fail if one exceeds `most`; NaN does."""
    difference = np.abs(made.astype(np.float64) - expected.astype(np.float64))
    found[name] = float(f"{difference.max(initial=0):.3g}")
    if made.shape != expected.shape or not (difference <= most).all():
        raise StepFailed(f"{name} differs from its definition by {found[name]:.3g}: {found}")
