"""Training of the localiser.

Films of other places differ in how they are collimated, framed and exposed. Exposure hardly matters after equalisation;
what enters the histogram does. So films are cut, framed, shuttered and only then equalised anew.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from engines.training.augment import Augmentation, warp, warp_boxes
from engines.training.backbone import pretrained, settle
from engines.training.dataset import Dataset
from engines.training.frames import equalised, junk, shuttered
from engines.training.loop import DEVICE, Schedule, train
from engines.training.losses import box_loss, centre_loss
from engines.training.networks import IMAGE_PX, LocaliserNetwork, half_size
from engines.training.targets import grid_targets

CELLS = 32  # 16 px of the 512 image: no region in the labels is smaller than two cells
BOX_SHARE = 2.0  # of the box loss beside the centre loss; boxes learn from few places
FLAG_SHARE = 0.5  # of the loss of what is told of the whole film
CLOSE_UP = 0.4  # share of films shown as a close-up of one region: elsewhere films are collimated to the joint
CLOSE_UP_SIDE = (0.75, 1.8)  # side of a close-up in longer sides of its region
ANEW = 0.7  # share of films equalised anew after their framing; the rest as the appliance prepared them
JUNK = 0.04  # share of pictures without any anatomy
SETTLING = 8  # batches of 32 from which the part that does not learn takes its statistics


def begin_from_lite(network: LocaliserNetwork, dataset: Dataset, films: NDArray[np.int64]) -> LocaliserNetwork:
    """Give `lite_localiser` its first weights, and its early part the statistics of `films`."""
    stages = (network.fine, network.middle, network.coarse)
    pretrained([layer for stage in stages for layer in stage])
    some = np.random.default_rng(0).permutation(films)[: SETTLING * 32].reshape(-1, 32)
    settle(network.fine, [network.normalised(_halves(dataset, f).float()) for f in some])
    return network


def _halves(dataset: Dataset, films: NDArray[np.int64]) -> Tensor:
    """(n,1,256,256) uint8, what the localiser makes of films first."""
    parts = [half_size(torch.from_numpy(dataset.films[i : i + 1, None]).float()) for i in films]
    return torch.cat(parts).round().to(torch.uint8)


def train_localiser(
    network: LocaliserNetwork,
    dataset: Dataset,
    films: NDArray[np.int64],
    schedule: Schedule,
    augmentation: Augmentation,
    kept: Path,
    *,
    seed: int = 0,
) -> LocaliserNetwork:
    """Train on `films`."""
    generator = torch.Generator().manual_seed(seed)
    halves = _halves(dataset, films)
    of_film = [np.flatnonzero(dataset.film == i) for i in films]
    boxes, sites = torch.from_numpy(dataset.boxes), torch.from_numpy(dataset.site)
    flagged = torch.from_numpy(dataset.flagged[films]).float()
    channels, batch = len(dataset.sites), schedule.batch

    def chance(share: float) -> bool:
        return bool(torch.rand((), generator=generator) < share)

    def loss(network: LocaliserNetwork, _done: float) -> Tensor:
        drawn = torch.randint(len(films), (batch,), generator=generator).tolist()
        empty = [n for n in range(batch) if chance(JUNK)]
        maps = augmentation.maps(batch, generator)
        near = close_ups(maps, [boxes[of_film[f]] for f in drawn], generator)
        images = warp(halves[drawn].float(), maps)
        for n in near:  # from the whole film, which is finer
            film = torch.from_numpy(dataset.films[films[drawn[n]]]).float()[None, None]
            images[n] = warp(film, maps[n : n + 1])[0, :, ::2, ::2]
        for n in range(batch):
            if n in empty:
                images[n] = junk(images.shape[-1], generator)
            images[n] = shuttered(images[n], generator)
            if n in near or chance(ANEW):
                images[n] = equalised(images[n])
        images = augmentation.grey(images, generator)
        shown = [f for n, f in enumerate(drawn) if n not in empty]
        counts = torch.tensor([0 if n in empty else len(of_film[f]) for n, f in enumerate(drawn)])
        regions = torch.from_numpy(np.concatenate([of_film[f] for f in shown]))
        owner = torch.repeat_interleave(torch.arange(batch), counts)
        moved = warp_boxes(boxes[regions], maps[owner], IMAGE_PX)
        targets = grid_targets(moved, sites[regions], owner, batch, channels, CELLS)
        heat, distances, weight = (t.to(DEVICE) for t in targets)
        with torch.autocast(DEVICE.type, torch.bfloat16):
            logits, sides, flags = network(images.to(DEVICE, memory_format=torch.channels_last))
        total = centre_loss(logits.float(), heat) + BOX_SHARE * box_loss(sides.float(), distances, weight)
        if flags is not None:
            seen = torch.ones(batch, 1)
            seen[[*near, *empty]] = 0  # a close-up may leave out what the flag is about
            each = functional.binary_cross_entropy_with_logits(
                flags.float(), flagged[drawn].to(DEVICE), reduction="none"
            )
            total = total + FLAG_SHARE * (each * seen.to(DEVICE)).mean()
        return total

    network.to(DEVICE, memory_format=torch.channels_last)
    return train(network, loss, schedule, generator, kept)


def close_ups(maps: Tensor, boxes: list[Tensor], generator: torch.Generator) -> list[int]:
    """Turn some of the (N,2,3) `maps` into close-ups of one of their film's (R,4) `boxes`, in place; which."""
    near = []
    for n, of_film in enumerate(boxes):
        if len(of_film) == 0 or torch.rand((), generator=generator) > CLOSE_UP:
            continue
        x0, y0, x1, y1 = of_film[int(torch.randint(len(of_film), (), generator=generator))].tolist()
        low, high = CLOSE_UP_SIDE
        share = low + (high - low) * float(torch.rand((), generator=generator))
        side = min(1.0, max(x1 - x0, y1 - y0) / IMAGE_PX * share)
        jitter = (torch.rand(2, generator=generator) - 0.5) * 0.3 * side
        maps[n, :, :2] *= side
        maps[n, :, 2] = torch.tensor([x0 + x1, y0 + y1]) / IMAGE_PX - 1 + jitter
        near.append(n)
    return near
