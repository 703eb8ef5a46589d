"""Training of the fracture network, all sites together."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from engines.training.augment import Augmentation, warp
from engines.training.backbone import pretrained, settle
from engines.training.dataset import Dataset
from engines.training.loop import DEVICE, Schedule, train
from engines.training.losses import heat_loss, place_loss
from engines.training.networks import REGION_PX, FractureNetwork, soft_maximum
from engines.training.targets import place_targets

FRACTURED_SHARE = 0.3  # of a batch: above the 12 % of the labels, so that each batch has some; calibration undoes it
PLACE_SHARE = 4.0  # weight of the score map's loss: a mean over 256 places of which a few matter
TAP_SHARE = 2.0  # the same at the tap
HEAT_SHARE = 0.1  # of the loss of where Grad-CAM lies: at 1 the heat is sharper still, and the answers are worse
SITE_SHARE = 0.1  # naming the site is easy and only steadies the trunk
DEVIATION_SHARE = 1e-3  # keeps a site's own weights near the shared ones
SMALL_PX, SMALL_UNTIL = 192, 0.7  # the larger part of the training sees smaller regions (Tan and Le, ICML 2021)
SETTLING = 16  # batches from which the part that does not learn takes its statistics


def begin_from_lite(network: FractureNetwork, dataset: Dataset, regions: NDArray[np.int64]) -> FractureNetwork:
    """Give a network on `lite_trunk` its first weights, and its early part the statistics of `regions`."""
    early, late = (cast("nn.Sequential", part) for part in cast("nn.Sequential", network.trunk))
    pretrained([*early, *late])
    some = np.random.default_rng(0).permutation(regions)[: SETTLING * 32].reshape(-1, 32)
    settle(early, [network.contrast(torch.from_numpy(dataset.regions[r])[:, None].float()) for r in some])
    return network


def train_classifiers(
    network: FractureNetwork,
    dataset: Dataset,
    regions: NDArray[np.int64],
    schedule: Schedule,
    augmentation: Augmentation,
    kept: Path,
    *,
    seed: int = 0,
) -> FractureNetwork:
    """Train on `regions`; those with a neighbour's fracture and none of their own are left out."""
    generator = torch.Generator().manual_seed(seed)
    chosen = regions[dataset.clear[regions]]
    labels, sites = torch.from_numpy(dataset.labels), torch.from_numpy(dataset.site)
    pictures, masks = torch.from_numpy(dataset.regions), torch.from_numpy(dataset.masks)
    fractured, whole = (torch.from_numpy(chosen[dataset.labels[chosen] == is_one]) for is_one in (True, False))
    batch = schedule.batch
    some = round(batch * max(FRACTURED_SHARE, len(fractured) / len(chosen)))

    def loss(network: FractureNetwork, done: float) -> Tensor:
        drawn = [
            pool[torch.randint(len(pool), (n,), generator=generator)]
            for pool, n in ((fractured, some), (whole, batch - some))
        ]
        index = torch.cat(drawn)
        maps = augmentation.maps(batch, generator)
        images = augmentation.grey(warp(pictures[index, None].float(), maps), generator)
        side = SMALL_PX if done < SMALL_UNTIL else REGION_PX
        moved = warp(masks[index, None].float(), maps, nearest=True)
        fracture, known = (t.to(DEVICE) for t in place_targets(moved, side // 16))
        # a fracture that the map moved off the region is no longer to be seen
        answer = labels[index].float().to(DEVICE) * fracture.amax((1, 2))
        site = sites[index].to(DEVICE)
        contrasted = network.contrast(images.to(DEVICE))  # small differences of large numbers: not in bfloat16
        if side != REGION_PX:
            contrasted = functional.interpolate(contrasted, size=(side, side), mode="bilinear", antialias=True)
        with torch.autocast(DEVICE.type, torch.bfloat16):
            activations = network.trunk(contrasted.contiguous(memory_format=torch.channels_last))
            scores = network.scores(activations)
            tap = network.tap_score(activations)
            named = network.site_score(activations.mean((2, 3)))
        own = scores.float()[torch.arange(batch), site]
        logit = soft_maximum(own)
        return (
            functional.binary_cross_entropy_with_logits(logit, answer)
            + HEAT_SHARE * heat_loss(logit, activations, fracture, answer > 0)
            + PLACE_SHARE * place_loss(own, fracture, known)
            + TAP_SHARE * place_loss(tap.float().squeeze(1), fracture, known)
            + SITE_SHARE * functional.cross_entropy(named.float(), site)
            + DEVIATION_SHARE * network.deviation.weight.square().sum()
        )

    network.to(DEVICE, memory_format=torch.channels_last)
    return train(network, loss, schedule, generator, kept)
