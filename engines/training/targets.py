"""Training targets: boxes and masks as the maps that the networks should compute."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from engines.training.networks import IMAGE_PX, TAP_CELLS

SPREAD = 0.1
"""Standard deviation of a centre's Gaussian in sides of the region (readers' boxes agree to about IoU 0.8)."""

MINIMUM_SPREAD = 0.7
"""Least standard deviation in cells: a centre near the border of two cells must reach both."""

BOX_PLACES = 0.3
"""Value of a centre's Gaussian from which a place learns the box: the peak may fall beside the true cell."""

PLACES = 4
"""Pixels of a mask per side of a cell."""

VISIBLE = 0.4
"""Share of a region that must remain on the changed image for the region to be a target."""


def grid_targets(
    boxes: Tensor, sites: Tensor, owner: Tensor, n: int, channels: int, cells: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the localiser's targets: regions drawn onto its grid.

    Parameters
    ----------
    boxes : (R,4) float32
        Pixels of the 512 image; may reach outside.
    sites, owner : (R,) int64
        Channel of each box and the image of the batch it belongs to.

    Returns
    -------
    heat : (n,channels,cells,cells) float32
    distances : (n,4,cells,cells) float32
    weight : (n,cells,cells) float32
    """
    stride = IMAGE_PX / cells
    heat = torch.zeros(n, channels, cells, cells)
    distances = torch.zeros(n, 4, cells, cells)
    weight = torch.zeros(n, cells, cells)
    along = torch.arange(cells) + 0.5
    clipped = boxes.clamp(0, IMAGE_PX)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    seen = (clipped[:, 2:] - clipped[:, :2]).prod(1) >= VISIBLE * area
    for r in torch.nonzero(seen).flatten().tolist():
        box, i = clipped[r], int(owner[r])
        x, y = ((box[:2] + box[2:]) / 2 / stride).tolist()
        sx, sy = ((box[2:] - box[:2]) / stride * SPREAD).clamp(min=MINIMUM_SPREAD).tolist()
        column, row = min(int(x), cells - 1), min(int(y), cells - 1)
        gauss = torch.exp(
            -(((along - column - 0.5) / sx) ** 2)[None, :] / 2 - (((along - row - 0.5) / sy) ** 2)[:, None] / 2
        )
        gauss[row, column] = 1.0
        site = int(sites[r])
        heat[i, site] = torch.maximum(heat[i, site], gauss)
        learning = (gauss >= BOX_PLACES) & (gauss > weight[i])
        weight[i][learning] = gauss[learning]
        px, py = along * stride, along * stride
        sides = torch.stack(
            [
                (px - box[0])[None, :].expand(cells, cells),
                (py - box[1])[:, None].expand(cells, cells),
                (box[2] - px)[None, :].expand(cells, cells),
                (box[3] - py)[:, None].expand(cells, cells),
            ]
        ).clamp(min=0)
        distances[i][:, learning] = sides[:, learning]
    return heat, distances, weight


def place_targets(masks: Tensor, cells: int = TAP_CELLS) -> tuple[Tensor, Tensor]:
    """Return fracture and known, each (N,cells,cells) float32, from (N,1,m,m) masks of 0, 1 (fracture), 2 (unknown)."""
    if masks.shape[-1] % cells:
        masks = functional.interpolate(masks, size=(cells * PLACES, cells * PLACES), mode="nearest")
    factor = masks.shape[-1] // cells
    share = functional.avg_pool2d((masks == 1).float(), factor).squeeze(1)
    unknown = functional.max_pool2d((masks == 2).float(), factor).squeeze(1)
    peak = share.amax((1, 2), keepdim=True)
    # a cell with a third of the best-filled cell counts, so that a line thinner than a cell still has places
    fracture = ((share >= peak / 3) & (share > 0)).float()
    return fracture, torch.maximum(fracture, 1 - unknown)
