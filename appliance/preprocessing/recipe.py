"""The parameters of stage 1, and their digest, by which a pack names the preprocessing it was trained on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from appliance.domain.radiograph import StoredValues

IMAGE_PX = 512
"""Side of the image that the localiser sees."""

REGION_PX = 256
"""Side of a region that a classifier sees."""

RECIPE = (
    "resize stored values, triangle filter with antialiasing, to fit; modality LUT and window; 8 bit, round half up; "
    "polarity; histogram equalisation over the fitted image; pad with 0 to the right and below; "
    f"image {IMAGE_PX}, region {REGION_PX} with the image's equalisation table; 1"
)
"""Description of stage 1. Change it with every change of the images that networks see: packs carry its digest."""

DIGEST = hashlib.sha256(RECIPE.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A radiograph after stage 1.

    Attributes
    ----------
    image
        (512, 512) uint8, equalised, fitted to the top left corner, padded with 0.
    table
        (256,) uint8: the equalisation, from windowed to equalised grey level.
    scale
        px of `image` per px received.
    """

    image: NDArray[np.uint8] = field(repr=False)
    table: NDArray[np.uint8] = field(repr=False)
    scale: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A region to be resampled from its radiograph.

    Attributes
    ----------
    table
        Equalisation of the radiograph, from its `Prepared`.
    box
        (4,) float32: x0, y0, x1, y1 in px of the received image.
    """

    stored: StoredValues
    table: NDArray[np.uint8] = field(repr=False)
    box: NDArray[np.float32]


def fitted_size(height: float, width: float, side_px: int) -> tuple[int, int]:
    """Return (h, w) in px of a `height` x `width` rectangle fitted into a square; each at least 1.

    No library computes it, so that boxes can be mapped back exactly.
    """
    scale = side_px / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def windowing(stored: StoredValues) -> tuple[float, float, bool]:
    """Combine rescale and window into (a, b, is_sigmoid).

    With x = a * pixel + b, the grey level is x clamped to [0, 1], or 1 / (1 + exp(-x)) for SIGMOID.

    References
    ----------
    DICOM PS3.3 C.11.2.1.2.1 (LINEAR), C.11.2.1.3.2 (LINEAR_EXACT), C.11.2.1.3.1 (SIGMOID).
    """
    center, width = stored.window.center, stored.window.width
    match stored.window.function:
        case "LINEAR":
            a = 1.0 / max(width - 1.0, 1e-6)
            b = 0.5 - (center - 0.5) * a
        case "LINEAR_EXACT":
            a = 1.0 / width
            b = 0.5 - center * a
        case "SIGMOID":
            a = 4.0 / width
            b = -center * a
    return a * stored.slope, a * stored.intercept + b, stored.window.function == "SIGMOID"


def equalisation_table(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the histogram equalisation of an (h, w) uint8 image as a (256,) uint8 table.

    Cumulative histogram, scaled so that the first occupied level becomes 0 and the last 255; a constant image keeps
    its level. This is OpenCV's `equalizeHist`, which DALI's `equalize` reproduces bit for bit.
    """
    counts = np.bincount(image.ravel(), minlength=256)
    first = int(np.flatnonzero(counts)[0])
    rest = image.size - int(counts[first])
    if rest == 0:
        return np.full(256, first, np.uint8)
    cumulative = np.cumsum(counts) - counts[first]
    scaled = np.rint(cumulative.astype(np.float32) * np.float32(255.0 / rest))
    return np.clip(scaled, 0, 255).astype(np.uint8)
