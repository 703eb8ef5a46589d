"""The TensorRT plans of a pack, kept under names that identify network, target and TensorRT version."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from onnx import load_model_from_string
from onnx.checker import ValidationError

from .half import convert_to_half
from .network_file import read_network
from .pack import Pack
from .plan import CACHE, PlanError, build_plan, plan_key
from .whole_file import write_whole

LOCALISER = "localiser"
"""Name in `networks` of the network that finds regions; every other name is the site of a classifier."""


class Built(NamedTuple):
    """The plan of one network; `was_there` if it was built before."""

    network: str
    onnx: Path
    file: Path
    was_there: bool


def networks(pack: Pack) -> dict[str, Path]:
    """Return the ONNX file of each network of `pack`, the localiser first; sites may share one."""
    return {LOCALISER: pack.localiser.file} | {c.file.stem: c.file for c in pack.classifiers.values()}


def build_plans(pack: Pack, target: str, folder: Path, *, half: bool = False, machine: str = "") -> Iterator[Built]:
    """Build the plans that are missing in `folder` and yield every network's plan; a plan appears whole or not at all.

    Parameters
    ----------
    half
        Classifiers compute in float16. The localiser stays in float32: a slightly different box cuts another image for
        the classifier, which moved probabilities forty times as far (docs/models.md).
    machine
        Card and driver of this machine, for plans that fit no other.

    Raises
    ------
    engines.plan.PlanError
        If a network cannot be built, or the disk does not keep its plan.
    """
    for network, onnx in networks(pack).items():
        try:
            model = read_network(onnx)
            if half and network != LOCALISER:
                model = convert_to_half(load_model_from_string(model)).SerializeToString()
        except (TypeError, ValueError, ValidationError) as error:
            raise PlanError(f"{network}: {error}") from error
        plan = folder / f"{plan_key(model, target, machine)}.plan"
        was_there = plan.exists()
        if not was_there:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                write_whole(plan, build_plan(model, target))
            except OSError as error:
                raise PlanError(f"{network}: the plan cannot be kept in {folder}: {error.strerror}") from error
            except PlanError as error:
                raise PlanError(f"{network}: {error}") from error
        yield Built(network, onnx, plan, was_there)


def remove_plan(plan: Path) -> None:
    """Remove a plan that cannot be loaded, and its compiled code, so that it is built again.

    Raises
    ------
    engines.plan.PlanError
        If the disk refuses it.
    """
    try:
        for file in (plan, plan.with_suffix(CACHE)):
            file.unlink(missing_ok=True)
    except OSError as error:
        raise PlanError(f"{plan} cannot be removed: {error.strerror}") from error
