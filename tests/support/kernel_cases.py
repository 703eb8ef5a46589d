"""Awkward inputs for the kernels, and their outputs in double precision.

``python -m tests.support.kernel_cases LIBRARY`` runs a library for the CPU over all of them, in both orders of its
threads: where AddressSanitizer watches, it must be loaded before Python is.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from kernels import reference
from kernels.build import FATBIN, fatbin, nvcc
from kernels.host.library import HostKernels

UNIT = 2.0**-24
"""Rounding error of one float32 operation; a sum of n terms is within n of them (Higham, Accuracy and Stability of
Numerical Algorithms, 2002, section 4.2)."""

HEAT_ERROR = 1e-5
"""Error of a heat that is sampled in float32."""

MAPS = [
    (0, 5, 4, 4),
    (1, 1, 1, 1),
    (2, 3, 5, 7),
    (1, 37, 7, 9),
    (3, 17, 13, 1),
    (1, 129, 1, 31),
    (2, 64, 16, 16),
    (1, 9, 31, 41),
]
"""(N, K, h, w): none, one, primes, K beside the block, more cells than threads."""

CONTENTS = ("noise", "constant", "zero", "gradients all negative", "strided", "beside the alignment")

IMAGES = [(1, 1), (1, 15), (3, 17), (1, 4099), (128, 64), (61, 16), (97, 131), (203, 311)]
"""(H, W): less than 16 bytes, rows that begin anywhere, whole blocks, one row over two of them."""

LAYOUTS = ("none", "whole", "beyond", "window", "meeting", "outside")


class Heat(NamedTuple):
    """`reference.Heat`."""

    cells: NDArray[np.float32]
    extent: tuple[float, float, float, float]
    within: tuple[float, float, float, float]


def maps(shape: tuple[int, int, int, int], content: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return activations and gradients of a shape."""
    rng = np.random.default_rng(len(content))
    activations, gradients = rng.normal(size=(2, *shape)).astype(np.float32)
    if content == "constant":
        activations[:], gradients[:] = 0.3, 0.7
    elif content == "zero":
        activations[:], gradients[:] = 0, 0
    elif content == "gradients all negative":
        activations, gradients = np.abs(activations), -np.abs(gradients)
    elif content == "strided":
        activations, gradients = (np.repeat(a, 2, axis=3)[..., ::-2] for a in (activations, gradients))
    elif content == "beside the alignment":
        activations, gradients = (np.append(np.float32(0), a)[1:].reshape(shape) for a in (activations, gradients))
    return activations, gradients


def heats(layout: str, height: int, width: int) -> list[Heat]:
    """Return maps on an image of that size."""
    rng = np.random.default_rng(len(layout))

    def heat(h: int, w: int, *borders: float, within: tuple[float, float, float, float] | None = None) -> Heat:
        x0, y0, x1, y1 = (border * side for border, side in zip(borders, (width, height) * 2, strict=True))
        return Heat(rng.random((h, w), np.float32), (x0, y0, x1, y1), within or (x0, y0, x1, y1))

    return {
        "none": [],
        "whole": [heat(16, 16, 0, 0, 1, 1)],
        "beyond": [heat(7, 5, -0.31, -0.2, 0.6, 0.45), heat(3, 4, 0.7, 0.8, 1.9, 1.4)],
        "window": [heat(8, 8, 0.1, 0.1, 0.9, 0.9, within=(0.2 * width, 2.5, 0.7 * width, height - 1.5))],
        "meeting": [heat(16, 16, 0, 0, 0.7, 0.7), heat(31, 41, 0.3, 0.2, 1, 0.9), heat(1, 1, 0.4, 0.4, 0.6, 0.6)],
        "outside": [
            heat(4, 4, 1.5, 0, 2, 1),
            heat(4, 4, -1, -1, -0.1, -0.1),
            heat(4, 4, 0, 0, 1, 1, within=(0, 0, 0, 9)),
        ],
    }[layout]


def same(actual: NDArray[Any], expected: NDArray[Any], tolerance: NDArray[np.float64] | float = 0.0) -> None:
    """Assert equal shape, dtype and elements; NaN fails."""
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    difference = np.abs(actual.astype(np.float64) - expected)
    wrong = ~(difference <= tolerance)
    assert not wrong.any(), (
        f"{wrong.sum()} of {wrong.size} differ, by up to {difference.max()}, first at {np.argwhere(wrong)[0]}"
    )


def check_maps(kernels: Any, activations: NDArray[np.float32], gradients: NDArray[np.float32]) -> None:
    """Check each kernel of Grad-CAM against double precision, and the three together against each."""
    channels, cells = gradients.shape[1], gradients[0:1, 0:1].size or 1
    a, g = activations.astype(np.float64), gradients.astype(np.float64)

    weights = kernels.channel_weights(gradients)
    mean, size = (x.sum(axis=(2, 3)) / (gradients.shape[2] * gradients.shape[3]) for x in (g, np.abs(g)))
    same(weights, mean.astype(np.float32), (cells + 2) * UNIT * size)

    evidence = kernels.combine(activations, weights)
    terms = weights.astype(np.float64)[:, :, None, None] * a
    expected = np.maximum(terms.sum(axis=1), 0).astype(np.float32)
    same(evidence, expected, (channels + 2) * UNIT * np.abs(terms).sum(axis=1))

    normalised = kernels.normalise(evidence)
    by_hand = [m / m.max() if m.max() > reference.FLAT else np.zeros_like(m) for m in evidence]
    same(normalised, np.array(by_hand, np.float32).reshape(evidence.shape))
    same(kernels.gradcam(activations, gradients), normalised)


def check_overlay(
    kernels: Any, grey: NDArray[np.uint8], shown: list[Heat], colours: NDArray[np.uint8] | None = None
) -> None:
    """Check that every channel lies between the values for a heat `HEAT_ERROR` lower and higher."""
    field, covered = in_double_precision(shown, *grey.shape)
    made = kernels.overlay(grey, shown, colours=colours).astype(int)
    table = (reference.colour_map() if colours is None else colours).astype(float)
    possible = []
    for offset in (-HEAT_ERROR, 0.0, HEAT_ERROR):
        heat = np.clip(field + offset, 0, 1) * covered
        alpha = (reference.OPACITY * np.sqrt(heat))[..., None]
        possible.append(grey[..., None] * (1 - alpha) + table[np.rint(heat * 255).astype(int)] * alpha)
    low, high = np.min(possible, axis=0), np.max(possible, axis=0)
    assert made.shape == (*grey.shape, 3)
    slack = 1e-3  # float32 at 255
    wrong = ~((made >= np.floor(low + 0.5 - slack)) & (made <= np.floor(high + 0.5 + slack)))
    assert not wrong.any(), f"{wrong.sum()} of {wrong.size} channels are wrong, first at {np.argwhere(wrong)[0]}"
    assert (made[~covered] == grey[~covered][:, None]).all()


def check_picture(actual: NDArray[np.uint8], expected: NDArray[np.uint8]) -> None:
    """Check two pictures of the same heat: equal within a grey level, except at roundings."""
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype == np.uint8
    difference = np.abs(actual.astype(int) - expected).reshape(*expected.shape[:2], -1).max(axis=2)
    assert (difference > 1).mean() < 1e-4
    assert difference.max() <= 2


def in_double_precision(shown: list[Heat], height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the hottest heat at each pixel, and a mask of the pixels on a map and inside its window."""
    y, x = np.mgrid[:height, :width]
    field, covered = np.zeros((height, width)), np.zeros((height, width), bool)
    for cells, (x0, y0, x1, y1), (left, top, right, bottom) in shown:
        h, w = cells.shape
        at = ((y + 0.5 - y0) / (y1 - y0) * h - 0.5, (x + 0.5 - x0) / (x1 - x0) * w - 0.5)
        value = map_coordinates(cells.astype(np.float64), at, order=1, mode="nearest")
        on = (x + 0.5 > x0) & (x + 0.5 < x1) & (y + 0.5 > y0) & (y + 0.5 < y1)
        on &= (x >= round(left)) & (x < round(right)) & (y >= round(top)) & (y < round(bottom))
        field, covered = np.maximum(field, np.where(on, value, 0)), covered | on
    return field, covered


def check_all(kernels: Any) -> None:
    """Check every case."""
    for shape in MAPS:
        for content in CONTENTS:
            check_maps(kernels, *maps(shape, content))
    for height, width in IMAGES:
        for layout in LAYOUTS:
            check_overlay(kernels, grey(height, width), heats(layout, height, width))


def grey(height: int, width: int) -> NDArray[np.uint8]:
    """Return a radiograph whose memory is not aligned."""
    noise = np.random.default_rng(height).integers(0, 256, height * width + 1, np.uint8)
    return noise[1:].reshape(height, width)


def fatbin_of_today(folder: Path) -> Path:
    """Build the fatbin from the present source where nvcc is installed, else return the one that ships."""
    if nvcc() is None:
        return FATBIN
    made = folder / FATBIN.name
    fatbin(made)
    return made


def main() -> None:
    """Check every case in both orders of the threads."""
    for backward in (False, True):
        check_all(HostKernels(Path(sys.argv[1]), backward))


if __name__ == "__main__":
    main()
