"""Augmentation: random changes of a batch that keep its labels; geometry as one affine map, then grey levels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """Largest changes of a batch; estimates of the differences between X-ray rooms, not measured.

    Attributes
    ----------
    scale, gamma, contrast
        Natural logarithms.
    shift
        Share of the side.
    mirror, quarter_turns
        Whether images are mirrored, and turned by multiples of 90 degrees.
    noise
        Standard deviation, grey levels.
    """

    rotation_deg: float = 12.0
    scale: float = 0.2
    shift: float = 0.08
    mirror: bool = True
    quarter_turns: bool = False
    gamma: float = 0.35
    contrast: float = 0.2
    noise: float = 3.0

    def maps(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw (n,2,3) float32 maps from changed to original coordinates, both -1..1 between the image's edges."""

        def uniform() -> Tensor:
            return torch.rand(n, generator=generator) * 2 - 1

        def coin() -> Tensor:
            return torch.randint(0, 2, (n,), generator=generator) * 2.0 - 1

        angle = uniform() * math.radians(self.rotation_deg)
        if self.quarter_turns:
            angle = angle + torch.randint(0, 4, (n,), generator=generator) * (math.pi / 2)
        factor = torch.exp(uniform() * self.scale)
        across = coin() if self.mirror else torch.ones(n)
        down = coin() if self.mirror and self.quarter_turns else torch.ones(n)
        cosine, sine = torch.cos(angle) * factor, torch.sin(angle) * factor
        maps = torch.zeros(n, 2, 3)
        maps[:, 0, 0] = cosine * across
        maps[:, 0, 1] = -sine * down
        maps[:, 1, 0] = sine * across
        maps[:, 1, 1] = cosine * down
        maps[:, 0, 2] = uniform() * 2 * self.shift
        maps[:, 1, 2] = uniform() * 2 * self.shift
        return maps

    def grey(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Change gamma, contrast and noise of (N,1,H,W) float32 grey levels 0..255; black padding stays black."""
        n = images.shape[0]

        def uniform(spread: float) -> Tensor:
            return (torch.rand(n, 1, 1, 1, generator=generator) * 2 - 1) * spread

        outside = images <= 0
        changed = 255 * (images / 255).clamp(0, 1) ** torch.exp(uniform(self.gamma))
        changed = (changed - 127.5) * torch.exp(uniform(self.contrast)) + 127.5
        sigma = torch.rand(n, 1, 1, 1, generator=generator) * self.noise
        changed = changed + torch.randn(images.shape, generator=generator) * sigma
        return changed.clamp(0, 255).masked_fill(outside, 0.0)


def warp(images: Tensor, maps: Tensor, *, nearest: bool = False) -> Tensor:
    """Resample (N,1,H,W) through (N,2,3) maps; black outside."""
    grid = functional.affine_grid(maps, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="nearest" if nearest else "bilinear", align_corners=False)


def warp_boxes(boxes: Tensor, maps: Tensor, side_px: float) -> Tensor:
    """Carry (R,4) boxes through the inverse of one map each, (R,2,3).

    The new box holds the ellipse that filled the old one: the box around the turned corners would grow with every
    degree, and anatomy has no corners.
    """
    inverse = torch.linalg.inv(maps[:, :, :2])
    centre = (boxes[:, :2] + boxes[:, 2:]) / side_px - 1
    half = (boxes[:, 2:] - boxes[:, :2]) / side_px
    centre = (inverse @ (centre - maps[:, :, 2]).unsqueeze(2)).squeeze(2)
    half = ((inverse**2) @ (half**2).unsqueeze(2)).squeeze(2).sqrt()
    return (torch.cat([centre - half, centre + half], 1) + 1) * (side_px / 2)
