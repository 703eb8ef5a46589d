"""From attenuation to what a detector hands over: exposure, collimation, marker, noise, 12 or 14 bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from .rendering import Field

QUANTA = (4000.0, 16000.0)
"""Detected quanta per pixel in air: the noise of the logarithm has a standard deviation of 1 / sqrt(quanta)."""

HEEL = 0.06
"""Fall of the exposure from one edge of the film to the other, as the logarithm of a share."""

COLLIMATED = (0.0, 0.035)
"""Width of the dark border on each side, as a share of the film's side."""

MARKER = 0.045
"""Height of the lead letter as a share of the film's height."""

LEAD = 2.2
"""Attenuation of the lead letter: beyond any bone here."""


def stored_values(
    whole: Field, fracture: Field | None, letter: str, bits_stored: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint16], float, float]:
    """Pixels (H, W) uint16 in which bone is bright, and window center and width that show them well.

    Parameters
    ----------
    whole
        (H, W) float32, attenuation of the unbroken patient: it alone sets the exposure.
    fracture
        (H, W) float32, what a fracture adds to it; None: nothing is broken.
    letter
        The lead marker's; empty: no marker.
    """
    height, width = whole.shape
    field = whole.copy() if fracture is None else whole + fracture
    if letter:
        _lay_marker(field, letter, rng)
    angle = rng.uniform(0, 2 * np.pi)
    slope_x, slope_y = HEEL * np.cos(angle) / width, HEEL * np.sin(angle) / height
    field += np.float32(slope_x) * (np.arange(width, dtype=np.float32) - width / 2)
    field += (np.float32(slope_y) * (np.arange(height, dtype=np.float32) - height / 2))[:, None]
    quanta = rng.uniform(*QUANTA)
    field += rng.standard_normal(field.shape, np.float32) * np.exp(field / 2) / np.float32(np.sqrt(quanta))

    low, high = -0.05, float(np.quantile(whole[::8, ::8], 0.998)) * 1.12
    top = 2**bits_stored - 1
    gain, offset = rng.uniform(0.68, 0.9) * top / (high - low), rng.uniform(0.04, 0.1) * top
    values = (field - np.float32(low)) * np.float32(gain) + np.float32(offset)
    values *= _shutter(height, width, rng)
    window_low, window_high = offset, offset + gain * (high - low)
    pixels = np.clip(np.rint(values), 0, top).astype(np.uint16)
    return pixels, round((window_low + window_high) / 2), round((window_high - window_low) * 1.04)


def _shutter(height: int, width: int, rng: np.random.Generator) -> Field:
    """(H, W) float32, 1 in the exposed field, falling to 0 over a few pixels at the collimator's leaves."""
    sides = rng.uniform(*COLLIMATED, 4)

    def profile(length: int, first: float, last: float) -> Field:
        at = np.arange(length, dtype=np.float32) + 0.5
        return np.asarray(np.clip(np.minimum(at - first * length, length * (1 - last) - at) / 4, 0, 1), np.float32)

    return profile(height, sides[0], sides[1])[:, None] * profile(width, sides[2], sides[3])


def _lay_marker(field: Field, letter: str, rng: np.random.Generator) -> None:
    """Put a lead letter into a corner, in place."""
    height, width = field.shape
    size = int(MARKER * height)
    canvas = Image.new("L", (size, size))
    ImageDraw.Draw(canvas).text(
        (size / 2, size / 2), letter, fill=255, font=ImageFont.load_default(size=size * 0.95), anchor="mm"
    )
    soft = canvas.rotate(rng.uniform(-12, 12), Image.Resampling.BILINEAR).filter(ImageFilter.GaussianBlur(0.8))
    x = int(width * (0.07 if rng.random() < 0.5 else 0.93)) - size // 2
    y = int(height * rng.uniform(0.07, 0.14)) - size // 2
    x, y = max(0, min(x, width - size)), max(0, min(y, height - size))
    field[y : y + size, x : x + size] += np.asarray(soft, np.float32) * np.float32(LEAD / 255)
