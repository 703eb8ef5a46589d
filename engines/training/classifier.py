"""Training of the fracture network on all sites together."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from engines.training.augment import Augmentation, warp
from engines.training.backbone import adapt_and_freeze, load_pretrained
from engines.training.dataset import Dataset
from engines.training.loop import DEVICE, Schedule, train
from engines.training.losses import heat_loss, place_loss
from engines.training.networks import REGION_PX, FractureNetwork, soft_maximum
from engines.training.targets import place_targets

FRACTURED_SHARE = 0.3
"""Share of fractured regions in a batch: above the 12 % of the labels, so that each batch has some."""

PLACE_WEIGHT = 4.0
"""Weight of the score map's loss, a mean over 256 places of which a few matter."""

TAP_WEIGHT = 2.0
"""Weight of the same loss at the tap."""

HEAT_WEIGHT = 0.1
"""Weight of the loss that pulls Grad-CAM onto the fracture; at 1 heat is sharper still, but probabilities are worse."""

SITE_WEIGHT = 0.1
"""Weight of the loss of naming the site, which is easy and only steadies the trunk."""

DEVIATION_WEIGHT = 1e-3
"""Weight of the penalty that keeps a site's own weights near the shared ones."""

SMALL_PX = 192
"""Side of the regions in the first part of the training (progressive resizing: Tan and Le, ICML 2021)."""

SMALL_UNTIL = 0.7
"""Share of the training with small regions."""

STATISTICS_BATCHES = 16
"""Batches of 32 regions from which the frozen part takes its statistics."""


def begin_from_lite(network: FractureNetwork, dataset: Dataset, regions: NDArray[np.int64]) -> FractureNetwork:
    """Load the pretrained weights into a network on `lite_trunk`; adapt its frozen part to `regions`."""
    early, late = (cast("nn.Sequential", part) for part in cast("nn.Sequential", network.trunk))
    load_pretrained([*early, *late])
    some = np.random.default_rng(0).permutation(regions)[: STATISTICS_BATCHES * 32].reshape(-1, 32)
    adapt_and_freeze(early, [network.contrast(torch.from_numpy(dataset.regions[r])[:, None].float()) for r in some])
    return network


def train_classifiers(
    network: FractureNetwork,
    dataset: Dataset,
    regions: NDArray[np.int64],
    schedule: Schedule,
    augmentation: Augmentation,
    state_file: Path,
    *,
    seed: int = 0,
) -> FractureNetwork:
    """Train the network on `regions`; those with a neighbour's fracture and none of their own are left out.

    `state_file` holds the state of an interrupted training.
    """
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
        # a fracture that the map moved off the region cannot be seen any more
        target = labels[index].float().to(DEVICE) * fracture.amax((1, 2))
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
            functional.binary_cross_entropy_with_logits(logit, target)
            + HEAT_WEIGHT * heat_loss(logit, activations, fracture, target > 0)
            + PLACE_WEIGHT * place_loss(own, fracture, known)
            + TAP_WEIGHT * place_loss(tap.float().squeeze(1), fracture, known)
            + SITE_WEIGHT * functional.cross_entropy(named.float(), site)
            + DEVIATION_WEIGHT * network.deviation.weight.square().sum()
        )

    network.to(DEVICE, memory_format=torch.channels_last)
    return train(network, loss, schedule, generator, state_file)
