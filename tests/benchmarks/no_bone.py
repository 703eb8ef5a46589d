"""Pictures that show no bone, drawn for the safety benchmark: noise, gradients, letters, shapes and cloth."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

SIDES_PX: Final = (640, 512)
Grey = NDArray[np.float64]


def drawn_pictures(count: int, seed: int = 7) -> Iterator[Path]:
    """Draw `count` PNG files, each kind in turn; a file lives until the next is asked for."""
    rng = np.random.default_rng(seed)
    kinds = list(KINDS.values())
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            grey = kinds[number % len(kinds)](rng)
            low, high = float(grey.min()), float(grey.max())
            path = Path(folder) / f"{number}.png"
            Image.fromarray(((grey - low) / max(high - low, 1e-9) * 255).astype(np.uint8)).save(path)
            yield path
            path.unlink()


def _noise(rng: np.random.Generator) -> Grey:
    return rng.normal(size=SIDES_PX)


def _clouds(rng: np.random.Generator) -> Grey:
    return np.sum([ndimage.gaussian_filter(rng.normal(size=SIDES_PX), s) * s for s in (4, 12, 40)], axis=0)


def _gradient(rng: np.random.Generator) -> Grey:
    y, x = np.mgrid[: SIDES_PX[0], : SIDES_PX[1]]
    angle = rng.uniform(0, 2 * np.pi)
    return np.asarray(np.cos(angle) * x + np.sin(angle) * y + rng.normal(0, 5, SIDES_PX), float)


def _letters(rng: np.random.Generator) -> Grey:
    image = Image.new("L", SIDES_PX[::-1], 245)
    draw = ImageDraw.Draw(image)
    letters = [chr(c) for c in range(97, 123)]
    for line in range(12, SIDES_PX[0] - 12, 22):
        words = " ".join("".join(rng.choice(letters, rng.integers(2, 9))) for _ in range(11))
        draw.text((20, line), words, fill=20)
    return np.asarray(image, float)


def _shapes(rng: np.random.Generator) -> Grey:
    image = Image.new("L", SIDES_PX[::-1], int(rng.integers(0, 80)))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(3, 12))):
        x, y = rng.integers(0, SIDES_PX[1]), rng.integers(0, SIDES_PX[0])
        w, h = rng.integers(20, 240, 2)
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((int(x), int(y), int(x + w), int(y + h)), fill=int(rng.integers(60, 255)))
    return ndimage.gaussian_filter(np.asarray(image, float), 1.5) + rng.normal(0, 4, SIDES_PX)


def _cloth(rng: np.random.Generator) -> Grey:
    y, x = np.mgrid[: SIDES_PX[0], : SIDES_PX[1]]
    folds = ndimage.gaussian_filter(rng.normal(size=SIDES_PX), 50) * 900
    return np.asarray(np.sin((x + folds) / 3) + np.sin((y - folds) / 3) + folds / 9, float)


KINDS: Final[dict[str, Callable[[np.random.Generator], Grey]]] = {
    "noise": _noise,
    "clouds": _clouds,
    "gradient": _gradient,
    "letters": _letters,
    "shapes": _shapes,
    "cloth": _cloth,
}
