"""The plans of a pack, kept by what they were made from and never used for anything else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .pack import Pack
from .plan import PlanError, build_plan, plan_key

LOCALISER = "localiser"
"""The network that finds regions, among `networks`; any other is a site's classifier."""


class Built(NamedTuple):
    """A network's plan, and whether it was there already."""

    network: str
    onnx: Path
    file: Path
    was_there: bool


def networks(pack: Pack) -> dict[str, Path]:
    """ONNX file of each network of `pack`, the localiser first."""
    return {LOCALISER: pack.localiser.file} | {site: c.file for site, c in pack.classifiers.items()}


def build_plans(pack: Pack, target: str, folder: Path, *, half: bool = False) -> Iterator[Built]:
    """Build what is not there yet, one network at a time; each plan appears whole or not at all.

    Parameters
    ----------
    half
        Classifiers compute in float16. The localiser does not: where it cuts a region a little further, its classifier
        sees another image, which moved probabilities forty times as far (docs/models.md).

    Raises
    ------
    engines.plan.PlanError
        If a network cannot be built.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for network, onnx in networks(pack).items():
        model = onnx.read_bytes()
        if half and network != LOCALISER:
            model = _in_half(model)
        plan = folder / f"{plan_key(model, target)}.plan"
        was_there = plan.exists()
        if not was_there:
            unfinished = plan.with_suffix(f".{os.getpid()}")
            try:
                content = build_plan(model, target)
            except PlanError as error:
                raise PlanError(f"{network}: {error}") from error
            with unfinished.open("wb") as file:
                file.write(content)
                os.fsync(file.fileno())
            unfinished.replace(plan)
        yield Built(network, onnx, plan, was_there)


def _in_half(model: bytes) -> bytes:
    import onnx  # only whoever builds needs it

    from .half import in_half

    return in_half(onnx.load_model_from_string(model)).SerializeToString()
