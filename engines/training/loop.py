"""The one training loop: AdamW, one cycle of the learning rate, and an average of the weights that is what ships."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

N = TypeVar("N", bound=nn.Module)
WARM_UP = 0.05  # share of the training in which the learning rate rises (Goyal et al. 2017 warm up for 5 of 90 epochs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long and how fast.

    Attributes
    ----------
    steps
        Batches; the training ends with these or with `seconds`, and the learning rate follows whichever is nearer
        its end, so that a slow machine still ends with a small one.
    averaging
        Decay per step of the weights' running average (Polyak and Juditsky 1992).
    """

    steps: int
    seconds: float
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    averaging: float = 0.995

    def rate(self, done: float) -> float:
        """Learning rate after a share `done` of the training: linear up, then linear to zero."""
        return self.learning_rate * min(done / WARM_UP, (1 - done) / (1 - WARM_UP))


def train(network: N, loss: Callable[[N], Tensor], schedule: Schedule, what: str) -> N:
    """Train `network` in place and return the average of its weights along the way, in evaluation mode.

    Parameters
    ----------
    loss
        Draws a batch, runs the network and gives a scalar.
    """
    optimiser = torch.optim.AdamW(network.parameters(), schedule.learning_rate, weight_decay=schedule.weight_decay)
    average = copy.deepcopy(network).eval()
    network.train()
    begun, recent = time.monotonic(), 0.0
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"), TimeRemainingColumn()
    with Progress(*columns) as progress:
        task = progress.add_task(what, total=1.0, state="")
        for step in range(schedule.steps):
            elapsed = time.monotonic() - begun
            done = max(step / schedule.steps, elapsed / schedule.seconds)
            if done >= 1:
                break
            for group in optimiser.param_groups:
                group["lr"] = max(schedule.rate(done), 1e-6)
            optimiser.zero_grad(set_to_none=True)
            value = loss(network)
            value.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimiser.step()
            _follow(average, network, min(schedule.averaging, (step + 1) / (step + 10)))
            recent += (value.item() - recent) * max(0.01, 1 / (step + 1))
            progress.update(task, completed=done, state=f"step {step}/{schedule.steps} loss {recent:.3f}")
            if step % 200 == 0:
                progress.console.print(f"{what}: step {step}, loss {recent:.4f}, {elapsed:.0f} s")
    return average


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    present = network.state_dict()
    for name, kept in average.state_dict().items():
        if kept.dtype.is_floating_point:
            kept.lerp_(present[name], 1 - decay)
        else:
            kept.copy_(present[name])
