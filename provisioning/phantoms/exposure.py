"""From attenuation to a detector's stored values: scatter, exposure, collimation, marker, noise, 12 or 14 bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from scipy import ndimage

from .attenuation import Field

QUANTA = (2500.0, 16000.0)
"""Fewest and most detected quanta per pixel in air; the logarithm's noise has the deviation 1 / sqrt(quanta)."""

HEEL = 0.06
"""Fall of the exposure from one edge of the detector to the other (heel effect), as the logarithm of a share."""

SCATTER = (0.05, 0.35)
"""Scattered over primary quanta behind the grid, for limbs and trunks (Barnes, RadioGraphics 1991)."""

SCATTER_SPREAD = 0.09
"""Distance, as a share of the image's longer side, that scattered quanta land from their primary path."""

TRUNK = 1.5
"""Mean attenuation of a trunk."""

THUMBNAIL = 16
"""Image pixels per pixel of the scatter, which has no detail."""

COLLIMATED = 0.11
"""Widest dark border of one side, as a share of the image's; most are far narrower."""

LEAVES_DEG = 2.5
"""Largest angle between the collimator's leaves and the detector's edges."""

TURNED = 0.4
"""Share of radiographs on which the leaves are not parallel to the detector's edges."""

LEAK = 0.02
"""Stored value behind the leaves, as a share of full scale: never quite black."""

MARKER = (0.03, 0.052)
"""Least and largest height of the lead letter, as a share of the image's height."""

RINGED = 0.35
"""Share of markers with a ring around the letter."""

LEAD = 2.2
"""Attenuation of the lead letter: beyond that of any bone."""


def stored_values(
    whole: Field,
    added: Field | None,
    letter: str,
    letter_left: bool,
    keep: tuple[int, int, int, int],
    bits_stored: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint16], float, float]:
    """Return the pixels (H, W) uint16, in which bone is bright, and the center and width of a window that suits them.

    Parameters
    ----------
    whole
        (H, W) float32, attenuation of the unbroken patient without metal; exposure and scatter depend on it alone.
    added
        (H, W) float32, difference that a fracture and metal make to it; None: no difference.
    letter
        Letter of the lead marker.
    letter_left
        Whether the marker must lie on the viewer's left, as a body's right side does; else it may lie on either side.
    keep
        x0, y0, x1, y1 of the area that the collimator leaves open at least, px.
    """
    height, width = whole.shape
    field = whole + added if added is not None else whole.copy()
    veil = draw_scatter(whole, rng)
    field = add_scatter(field, veil)
    _lay_marker(field, letter, rng, left=letter_left)
    angle = rng.uniform(0, 2 * np.pi)
    slope_x, slope_y = HEEL * np.cos(angle) / width, HEEL * np.sin(angle) / height
    field += np.float32(slope_x) * (np.arange(width, dtype=np.float32) - width / 2)
    field += (np.float32(slope_y) * (np.arange(height, dtype=np.float32) - height / 2))[:, None]
    quanta = rng.uniform(*QUANTA)
    field += rng.standard_normal(field.shape, np.float32) * np.exp(field / 2) / np.float32(np.sqrt(quanta))

    low, high = np.quantile(add_scatter(whole[::8, ::8], veil[::8, ::8]), (0.002, 0.998))
    low -= 0.05
    high += 0.1 * (high - low)
    top = 2**bits_stored - 1
    gain, offset = rng.uniform(0.68, 0.9) * top / (high - low), rng.uniform(0.04, 0.1) * top
    values = (field - np.float32(low)) * np.float32(gain) + np.float32(offset)
    open_share = _shutter(height, width, keep, rng)
    values = values * open_share + np.float32(LEAK * top) * (1 - open_share)
    window_low, window_high = offset, offset + gain * (high - low)
    pixels = np.clip(np.rint(values), 0, top).astype(np.uint16)
    return pixels, round((window_low + window_high) / 2), round((window_high - window_low) * 1.04)


def draw_scatter(whole: Field, rng: np.random.Generator) -> Field:
    """Return the scattered quanta on each pixel, (H, W) float32, as a share of the quanta in air.

    A thick body scatters more.
    """
    height, width = whole.shape
    coarse = whole[::THUMBNAIL, ::THUMBNAIL]
    thickness = min(float(coarse.mean()) / TRUNK, 1.0)
    ratio = (SCATTER[0] + (SCATTER[1] - SCATTER[0]) * thickness) * rng.uniform(0.7, 1)
    veil = ndimage.gaussian_filter(np.exp(-coarse), SCATTER_SPREAD * max(height, width) / THUMBNAIL, mode="constant")
    veil = np.asarray(Image.fromarray(veil).resize((width, height), Image.Resampling.BILINEAR), np.float32)
    return np.asarray(np.float32(ratio) * veil, np.float32)


def add_scatter(attenuation: Field, veil: Field) -> Field:
    """Return the attenuation that is measured when scattered quanta join the primary ones; contrast gets flatter."""
    return np.asarray(-np.log(np.exp(-attenuation) + veil), np.float32)


def _shutter(height: int, width: int, keep: tuple[int, int, int, int], rng: np.random.Generator) -> Field:
    """Return (H, W) float32: 1 in the open field, which contains `keep`, falling to 0 within pixels at the leaves."""
    x0, y0, x1, y1 = keep
    corners = np.array([(x0, y0), (x1, y0), (x0, y1), (x1, y1)], np.float32)
    turn = np.deg2rad(rng.uniform(-LEAVES_DEG, LEAVES_DEG)) if rng.random() < TURNED else 0.0
    y, x = np.ogrid[:height, :width]
    opened = np.full((height, width), 1e6, np.float32)
    for normal_deg, side in ((0, width), (90, height), (180, width), (270, height)):
        inwards = np.array([np.cos(np.deg2rad(normal_deg) + turn), np.sin(np.deg2rad(normal_deg) + turn)], np.float32)
        edge = min(0.0, (width - 1) * float(inwards[0])) + min(0.0, (height - 1) * float(inwards[1]))
        leaf = edge + side * COLLIMATED * float(rng.beta(0.7, 2.5)) + side * abs(np.sin(turn)) / 2
        leaf = min(leaf, float((corners @ inwards).min()) - 6)
        opened = np.minimum(opened, x * inwards[0] + y * inwards[1] - np.float32(leaf))
    return np.asarray(np.clip(opened / 4, 0, 1), np.float32)


def _lay_marker(field: Field, letter: str, rng: np.random.Generator, *, left: bool) -> None:
    """Add a lead letter to `field` near a corner, in place."""
    height, width = field.shape
    size = int(rng.uniform(*MARKER) * height)
    canvas = Image.new("L", (size, size))
    ImageDraw.Draw(canvas).text(
        (size / 2, size / 2), letter, fill=255, font=ImageFont.load_default(size=size * 0.8), anchor="mm"
    )
    if rng.random() < RINGED:
        ImageDraw.Draw(canvas).ellipse([1, 1, size - 2, size - 2], outline=200, width=max(2, size // 14))
    soft = canvas.rotate(rng.uniform(-12, 12), Image.Resampling.BILINEAR).filter(ImageFilter.GaussianBlur(0.8))
    x = int(width * (0.14 if rng.random() < 0.5 or left else 0.86)) - size // 2
    y = int(height * rng.uniform(0.13, 0.24)) - size // 2
    x, y = max(0, min(x, width - size)), max(0, min(y, height - size))
    field[y : y + size, x : x + size] += np.asarray(soft, np.float32) * np.float32(LEAD / 255)
