"""The training loop: AdamW, one cycle of the learning rate, and a running average of the weights, which ships.

It ends after a number of steps, not by the clock, and keeps its whole state in a file on the way. So an interrupted
training goes on from its last kept step and reaches the same weights.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

N = TypeVar("N", bound=nn.Module)

WARM_UP = 0.05
"""Share of the training in which the learning rate rises (Goyal et al. 2017 warm up for 5 of 90 epochs)."""

KEPT_EVERY = 50
"""Steps after which the state is kept."""

LARGEST_GRADIENT = 5.0
"""Norm to which gradients are clipped; larger ones come from single odd batches."""

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
"""Device of the training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Length and learning rate of a training.

    Attributes
    ----------
    steps
        Number of batches.
    averaging
        Decay per step of the weights' running average (Polyak and Juditsky 1992).
    """

    steps: int
    batch: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 0.03
    averaging: float = 0.99

    def rate(self, done: float) -> float:
        """Return the learning rate after a share `done` of the training: linear up, then half a cosine down to zero."""
        return self.learning_rate * min(done / WARM_UP, (1 + math.cos(math.pi * done)) / 2)


def train(
    network: N,
    loss: Callable[[N, float], Tensor],
    schedule: Schedule,
    generator: torch.Generator,
    state_file: Path,
) -> N:
    """Train `network` in place; return a copy with the running average of its weights, in evaluation mode.

    Parameters
    ----------
    loss
        Draws a batch with `generator` and no other random numbers, runs the network and returns a scalar. Its second
        argument is the share of the training that is done.
    state_file
        File of the state; read if an interrupted training left it, removed at the end.
    """
    learning = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(learning, schedule.learning_rate, weight_decay=schedule.weight_decay)
    average = copy.deepcopy(network).eval()
    begun, recent = 0, 0.0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        generator.set_state(state["generator"].cpu())
        begun, recent = state["step"], state["recent"]
    _set_training_mode(network)
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"), TimeRemainingColumn()
    with Progress(*columns) as progress:
        task = progress.add_task(state_file.stem, total=schedule.steps, completed=begun, state="")
        for step in range(begun, schedule.steps):
            done = (step + 1) / (schedule.steps + 1)
            for group in optimiser.param_groups:
                group["lr"] = schedule.rate(done)
            optimiser.zero_grad(set_to_none=True)
            value = loss(network, done)
            value.backward()
            nn.utils.clip_grad_norm_(learning, LARGEST_GRADIENT)
            optimiser.step()
            _update_average(average, network, min(schedule.averaging, (step + 1) / (step + 10)))
            recent += (value.item() - recent) * max(0.02, 1 / (step + 1))
            progress.update(task, completed=step + 1, state=f"loss {recent:.3f}")
            if (step + 1) % KEPT_EVERY == 0:
                progress.console.print(f"{state_file.stem}: step {step + 1} of {schedule.steps}, loss {recent:.4f}")
                _write_state(
                    state_file,
                    {
                        "network": network.state_dict(),
                        "average": average.state_dict(),
                        "optimiser": optimiser.state_dict(),
                        "generator": generator.get_state(),
                        "step": step + 1,
                        "recent": recent,
                    },
                )
    state_file.unlink(missing_ok=True)
    return average.cpu()


def _set_training_mode(network: nn.Module) -> None:
    """Set training mode, except in the frozen parts."""
    network.train()
    for part in network.modules():
        weights = list(part.parameters())
        if weights and not any(w.requires_grad for w in weights):
            part.eval()


def _write_state(path: Path, state: dict[str, object]) -> None:
    unfinished = path.with_suffix(".part")
    torch.save(state, unfinished)
    unfinished.replace(path)


@torch.no_grad()
def _update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move `average` a share of 1 - `decay` towards `network`, in place."""
    present = network.state_dict()
    for name, kept in average.state_dict().items():
        if kept.dtype.is_floating_point:
            kept.lerp_(present[name], 1 - decay)
        else:
            kept.copy_(present[name])
