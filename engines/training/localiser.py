"""Training of the localiser."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from engines.training.augment import Augmentation, warp, warp_boxes
from engines.training.dataset import Dataset, Part
from engines.training.loop import Schedule, train
from engines.training.losses import box_loss, centre_loss
from engines.training.networks import IMAGE_PX, LocaliserNetwork, half_size
from engines.training.targets import grid_targets

CELLS = 32  # 16 px of the 512 image: no region in the labels is smaller than two cells
BOX_SHARE = 2.0  # of the box loss beside the centre loss; boxes learn from few places


def train_localiser(
    dataset: Dataset,
    widths: tuple[int, int, int, int, int],
    schedule: Schedule,
    augmentation: Augmentation,
    *,
    batch: int = 16,
    seed: int = 0,
) -> LocaliserNetwork:
    """Train on the films of the training part."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    chosen = dataset.films_of(Part.TRAIN)
    halves = torch.cat([half_size(torch.from_numpy(dataset.films[i : i + 1, None]).float()) for i in chosen])
    halves = halves.round().to(torch.uint8)
    of_film = [np.flatnonzero(dataset.film == i) for i in chosen]
    boxes, sites = torch.from_numpy(dataset.boxes), torch.from_numpy(dataset.site)
    channels = len(dataset.sites)
    order: list[int] = []

    def loss(network: LocaliserNetwork) -> Tensor:
        while len(order) < batch:
            order.extend(torch.randperm(len(chosen), generator=generator).tolist())
        films = [order.pop() for _ in range(batch)]
        maps = augmentation.maps(batch, generator)
        images = augmentation.grey(warp(halves[films].float(), maps), generator)
        regions = torch.from_numpy(np.concatenate([of_film[f] for f in films]))
        owner = torch.repeat_interleave(torch.arange(batch), torch.tensor([len(of_film[f]) for f in films]))
        moved = warp_boxes(boxes[regions], maps[owner], IMAGE_PX)
        heat, distances, weight = grid_targets(moved, sites[regions], owner, batch, channels, CELLS)
        with torch.autocast("cpu", torch.bfloat16):
            logits, sides = network(images.contiguous(memory_format=torch.channels_last))
        return centre_loss(logits.float(), heat) + BOX_SHARE * box_loss(sides.float(), distances, weight)

    network = LocaliserNetwork(channels, widths)
    network.to(memory_format=torch.channels_last)
    return train(network, loss, schedule, "localiser")
