"""Surroundings of the anatomy in other X-ray rooms: shutters, frames, and pictures without any anatomy."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

FRAMED = 0.5
"""Share of radiographs that get a frame."""

WIDEST = 0.22
"""Widest border of each of four shutters, as a share of the image's side."""

TURNED_DEG = 20.0
"""Largest rotation of a frame: on bedside radiographs shutters are seldom parallel to the image's edge."""

ROUND = 0.15
"""Share of frames that are circles, as cones make them."""

WHITE = 0.4
"""Share of frames that are white: MONOCHROME1 shutters, or unexposed borders."""


def add_frame(image: Tensor, generator: torch.Generator) -> Tensor:
    """Put a black, grey or white frame with straight or round edges around some (1,h,w) float32 images."""
    if torch.rand((), generator=generator) > FRAMED:
        return image
    h, w = image.shape[-2:]
    y, x = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
    a, b, c, d, shape, white, level, turn = torch.rand(8, generator=generator).tolist()
    if shape < ROUND:
        radius = 0.75 + 0.5 * a
        outside = (x - 0.3 * (b - 0.5)) ** 2 + (y - 0.3 * (c - 0.5)) ** 2 > radius**2
    else:
        angle = math.radians((2 * turn - 1) ** 3 * TURNED_DEG)  # mostly small
        u, v = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
        left, right, top, bottom = (1 - 2 * WIDEST * share for share in (a, b, c, d))
        outside = (u < -left) | (u > right) | (v < -top) | (v > bottom)
    shade = 255.0 if white < WHITE else 1.0 + 60 * level**3  # not 0, which is padding
    return image.masked_fill(outside & (image > 0), shade)


def equalise(image: Tensor) -> Tensor:
    """Equalise the histogram of (1,h,w) float32 grey levels; padding is left out and stays 0."""
    exposed = image > 0
    if not exposed.any():
        return image
    levels = image[exposed].round().long()
    share = torch.bincount(levels, minlength=256).cumsum(0).float() / levels.numel()
    out = image.clone()
    out[exposed] = 255 * share[levels]
    return out


def draw_junk(side: int, generator: torch.Generator) -> Tensor:
    """Draw (1,side,side) float32 without anatomy: noise of a random grain, a slope, or soft blobs."""
    kind, grain = torch.rand(2, generator=generator).tolist()
    cells = 2 ** int(1 + grain * math.log2(side))
    coarse = torch.rand(1, 1, min(cells, side), min(cells, side), generator=generator)
    smooth = functional.interpolate(coarse, size=(side, side), mode="bilinear" if kind < 0.7 else "nearest")[0]
    slope = torch.linspace(0, 1, side).expand(1, side, side)
    return 1 + 254 * (smooth if kind > 0.3 else (smooth + slope) / 2)
