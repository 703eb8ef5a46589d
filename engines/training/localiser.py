"""Training of the localiser.

Radiographs of other hospitals differ in collimation, frame and exposure. Exposure hardly matters after equalisation,
but the pixels that enter the histogram do. So radiographs are cut and framed first, and then equalised anew.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from engines.training.augment import Augmentation, warp, warp_boxes
from engines.training.backbone import adapt_and_freeze, load_pretrained
from engines.training.dataset import Dataset
from engines.training.frames import add_frame, draw_junk, equalise
from engines.training.loop import DEVICE, Schedule, train
from engines.training.losses import box_loss, centre_loss
from engines.training.networks import IMAGE_PX, LocaliserNetwork, half_size
from engines.training.targets import grid_targets

CELLS = 32
"""Cells per side of the grid, 16 px of the 512 image each: no labelled region is smaller than two cells."""

BOX_WEIGHT = 2.0
"""Weight of the box loss beside the centre loss; boxes learn from few places."""

FLAG_WEIGHT = 0.5
"""Weight of the loss of the flags of the whole radiograph."""

CLOSE_UP = 0.4
"""Share of radiographs shown as a close-up of one region: other hospitals collimate to the joint."""

CLOSE_UP_SIDE = (0.75, 1.8)
"""Least and largest side of a close-up, in longer sides of its region."""

ANEW = 0.7
"""Share of radiographs that are equalised anew after their framing; the rest stays as the appliance prepared it."""

JUNK = 0.04
"""Share of pictures without any anatomy."""

STATISTICS_BATCHES = 8
"""Batches of 32 radiographs from which the frozen part takes its statistics."""


def begin_from_lite(network: LocaliserNetwork, dataset: Dataset, radiographs: NDArray[np.int64]) -> LocaliserNetwork:
    """Load the pretrained weights into a `lite_localiser`; adapt its frozen part to `radiographs`."""
    stages = (network.fine, network.middle, network.coarse)
    load_pretrained([layer for stage in stages for layer in stage])
    some = np.random.default_rng(0).permutation(radiographs)[: STATISTICS_BATCHES * 32].reshape(-1, 32)
    adapt_and_freeze(network.fine, [network.normalise(_half_size_images(dataset, r).float()) for r in some])
    return network


def _half_size_images(dataset: Dataset, radiographs: NDArray[np.int64]) -> Tensor:
    """Return (n,1,256,256) uint8: radiographs at half size, as after the localiser's first step."""
    parts = [half_size(torch.from_numpy(dataset.radiographs[i : i + 1, None]).float()) for i in radiographs]
    return torch.cat(parts).round().to(torch.uint8)


def train_localiser(
    network: LocaliserNetwork,
    dataset: Dataset,
    radiographs: NDArray[np.int64],
    schedule: Schedule,
    augmentation: Augmentation,
    state_file: Path,
    *,
    seed: int = 0,
) -> LocaliserNetwork:
    """Train the network on `radiographs`; `state_file` holds the state of an interrupted training."""
    generator = torch.Generator().manual_seed(seed)
    halves = _half_size_images(dataset, radiographs)
    regions_of = [np.flatnonzero(dataset.radiograph == i) for i in radiographs]
    boxes, sites = torch.from_numpy(dataset.boxes), torch.from_numpy(dataset.site)
    flagged = torch.from_numpy(dataset.flagged[radiographs]).float()
    channels, batch = len(dataset.sites), schedule.batch

    def chance(share: float) -> bool:
        return bool(torch.rand((), generator=generator) < share)

    def loss(network: LocaliserNetwork, _done: float) -> Tensor:
        drawn = torch.randint(len(radiographs), (batch,), generator=generator).tolist()
        empty = [n for n in range(batch) if chance(JUNK)]
        maps = augmentation.maps(batch, generator)
        near = make_close_ups(maps, [boxes[regions_of[r]] for r in drawn], generator)
        images = warp(halves[drawn].float(), maps)
        for n in near:  # from the full size, which is finer
            full = torch.from_numpy(dataset.radiographs[radiographs[drawn[n]]]).float()[None, None]
            images[n] = warp(full, maps[n : n + 1])[0, :, ::2, ::2]
        for n in range(batch):
            if n in empty:
                images[n] = draw_junk(images.shape[-1], generator)
            images[n] = add_frame(images[n], generator)
            if n in near or chance(ANEW):
                images[n] = equalise(images[n])
        images = augmentation.grey(images, generator)
        shown = [r for n, r in enumerate(drawn) if n not in empty]
        counts = torch.tensor([0 if n in empty else len(regions_of[r]) for n, r in enumerate(drawn)])
        regions = torch.from_numpy(np.concatenate([regions_of[r] for r in shown]))
        owner = torch.repeat_interleave(torch.arange(batch), counts)
        moved = warp_boxes(boxes[regions], maps[owner], IMAGE_PX)
        targets = grid_targets(moved, sites[regions], owner, batch, channels, CELLS)
        heat, distances, weight = (t.to(DEVICE) for t in targets)
        with torch.autocast(DEVICE.type, torch.bfloat16):
            logits, sides, flags = network(images.to(DEVICE, memory_format=torch.channels_last))
        total = centre_loss(logits.float(), heat) + BOX_WEIGHT * box_loss(sides.float(), distances, weight)
        if flags is not None:
            seen = torch.ones(batch, 1)
            seen[[*near, *empty]] = 0  # a close-up may leave out the cast or metal
            each = functional.binary_cross_entropy_with_logits(
                flags.float(), flagged[drawn].to(DEVICE), reduction="none"
            )
            total = total + FLAG_WEIGHT * (each * seen.to(DEVICE)).mean()
        return total

    network.to(DEVICE, memory_format=torch.channels_last)
    return train(network, loss, schedule, generator, state_file)


def make_close_ups(maps: Tensor, boxes: list[Tensor], generator: torch.Generator) -> list[int]:
    """Turn some of the (N,2,3) `maps` into close-ups of one of their radiograph's (R,4) `boxes`, in place.

    Returns
    -------
    Indices of the close-ups.
    """
    near = []
    for n, own in enumerate(boxes):
        if len(own) == 0 or torch.rand((), generator=generator) > CLOSE_UP:
            continue
        x0, y0, x1, y1 = own[int(torch.randint(len(own), (), generator=generator))].tolist()
        low, high = CLOSE_UP_SIDE
        share = low + (high - low) * float(torch.rand((), generator=generator))
        side = min(1.0, max(x1 - x0, y1 - y0) / IMAGE_PX * share)
        jitter = (torch.rand(2, generator=generator) - 0.5) * 0.3 * side
        maps[n, :, :2] *= side
        maps[n, :, 2] = torch.tensor([x0 + x1, y0 + y1]) / IMAGE_PX - 1 + jitter
        near.append(n)
    return near
