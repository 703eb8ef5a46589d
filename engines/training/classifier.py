"""Training of the fracture network, all sites together."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from engines.training.augment import Augmentation, warp
from engines.training.dataset import Dataset, Part
from engines.training.loop import Schedule, train
from engines.training.losses import place_loss
from engines.training.networks import FractureNetwork, soft_maximum
from engines.training.targets import place_targets

FRACTURED_SHARE = 0.3  # of a batch: above the 12 % of the labels, so that each batch has some; calibration undoes it
PLACE_SHARE = 4.0  # weight of the score map's loss: a mean over 256 places of which a few matter
TAP_SHARE = 2.0  # the same at the tap
SITE_SHARE = 0.1  # naming the site is easy and only steadies the trunk
DEVIATION_SHARE = 1e-3  # keeps a site's own weights near the shared ones


def train_classifiers(
    dataset: Dataset,
    widths: tuple[int, int, int, int],
    schedule: Schedule,
    augmentation: Augmentation,
    *,
    batch: int = 32,
    seed: int = 0,
) -> FractureNetwork:
    """Train on the regions of the training part whose fracture, if one shows, is their own."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    chosen = dataset.regions_of(Part.TRAIN)
    chosen = chosen[dataset.clear[chosen]]
    labels = torch.from_numpy(dataset.labels)
    sites = torch.from_numpy(dataset.site)
    regions, masks = torch.from_numpy(dataset.regions), torch.from_numpy(dataset.masks)
    fractured, whole = chosen[dataset.labels[chosen]], chosen[~dataset.labels[chosen]]
    share = max(FRACTURED_SHARE, len(fractured) / len(chosen))
    queues: dict[bool, list[int]] = {True: [], False: []}
    pools: dict[bool, np.ndarray] = {True: fractured, False: whole}

    def draw(label: bool, n: int) -> list[int]:
        while len(queues[label]) < n:
            queues[label].extend(
                torch.from_numpy(pools[label])[torch.randperm(len(pools[label]), generator=generator)].tolist()
            )
        return [queues[label].pop() for _ in range(n)]

    def loss(network: FractureNetwork) -> Tensor:
        some = round(batch * share)
        index = torch.tensor(draw(True, some) + draw(False, batch - some))
        maps = augmentation.maps(batch, generator)
        images = augmentation.grey(warp(regions[index, None].float(), maps), generator)
        fracture, known = place_targets(warp(masks[index, None].float(), maps, nearest=True))
        # a fracture that the map moved off the region is no longer to be seen
        answer = labels[index].float() * fracture.amax((1, 2))
        site = sites[index]
        contrasted = network.contrast(images)  # small differences of large numbers: not in bfloat16
        with torch.autocast("cpu", torch.bfloat16):
            activations = network.trunk(contrasted.contiguous(memory_format=torch.channels_last))
            scores = network.scores(activations)
            tap = network.tap_score(activations)
            named = network.site_score(activations.mean((2, 3)))
        own = scores.float()[torch.arange(batch), site]
        return (
            functional.binary_cross_entropy_with_logits(soft_maximum(own), answer)
            + PLACE_SHARE * place_loss(own, fracture, known)
            + TAP_SHARE * place_loss(tap.float().squeeze(1), fracture, known)
            + SITE_SHARE * functional.cross_entropy(named.float(), site)
            + DEVIATION_SHARE * network.deviation.weight.square().sum()
        )

    network = FractureNetwork(len(dataset.sites), widths)
    network.to(memory_format=torch.channels_last)
    return train(network, loss, schedule, "fracture network")
