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
CLOSE_UP = 0.4  # share of films shown as a close-up of one region: elsewhere films are collimated to the joint
COLLIMATED = 0.25  # share of films with a border
WIDEST_BORDER = 0.12  # of the film's side
CLOSE_UP_SIDE = (0.75, 1.8)  # side of a close-up in longer sides of its region


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
        near = close_ups(maps, [boxes[of_film[f]] for f in films], generator)
        images = warp(halves[films].float(), maps)
        for n in near:  # from the whole film, and equalised anew, as a film of the joint alone would have been
            film = torch.from_numpy(dataset.films[chosen[films[n]]]).float()[None, None]
            images[n] = equalised(warp(film, maps[n : n + 1])[:, :, ::2, ::2])[0]
        images = augmentation.grey(collimated(images, generator), generator)
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


def equalised(images: Tensor) -> Tensor:
    """Histogram equalisation of each of (N,1,H,W) float32 grey levels over what is not black."""
    out = images.clone()
    for image in out:
        exposed = image > 0
        if exposed.any():
            levels = image[exposed].round().long()
            share = torch.bincount(levels, minlength=256).cumsum(0).float() / levels.numel()
            image[exposed] = 255 * share[levels]
    return out


def collimated(images: Tensor, generator: torch.Generator) -> Tensor:
    """Some of (N,1,H,W) with a black or white border on one or more sides, as shutters and frames make it."""
    out = images.clone()
    side = images.shape[-1]
    for image in out:
        if torch.rand((), generator=generator) > COLLIMATED:
            continue
        top, bottom, left, right = (torch.rand(4, generator=generator) * WIDEST_BORDER * side).long().tolist()
        level = 255.0 if torch.rand((), generator=generator) < 0.5 else 0.0
        image[:, :top], image[:, :, :left] = level, level
        image[:, side - bottom :], image[:, :, side - right :] = level, level
    return out
