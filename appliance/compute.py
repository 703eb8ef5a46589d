"""Which hardware runs the pipeline: chosen once, at start, with the reason in words."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from appliance.domain.reason import ReasonCode
from engines.plan import PlanError, load_tensorrt
from kernels.build import FATBIN

from .errors import Fault
from .gpu import GpuCard, NoGpu, card

Wanted = Literal["auto", "gpu", "cpu"]

DRIVER = 580
"""The oldest driver that runs CUDA 13, which DALI's and TensorRT's wheels are built for (CUDA 13.0 release notes)."""

COMPUTE_CAPABILITY = (8, 0)
"""The oldest that `kernels.build.ARCHITECTURES` has machine code for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """The choice, and why.

    Attributes
    ----------
    device
        ``"cpu"`` or ``"gpu"``.
    name
        For people and for the result's provenance.
    reason
        Why it was chosen.
    """

    device: Literal["cpu", "gpu"]
    name: str
    reason: str


def choose_compute(wanted: Wanted = "auto", *, half: bool = False) -> Compute:
    """What `wanted` comes to on this machine.

    Parameters
    ----------
    half
        Classifiers are to compute in float16 if it is a GPU.

    Raises
    ------
    Fault
        ``no_gpu`` if a GPU is wanted and cannot be had, with the remedy.
    """
    if wanted == "cpu":
        return on_cpu("analyse.compute is cpu", half=half)
    try:
        found, engine = _usable()
    except NoGpu as error:
        if wanted == "gpu":
            raise Fault(ReasonCode.NO_GPU, f"analyse.compute is gpu, and it cannot be used: {error}") from error
        return on_cpu(f"no GPU is used: {error}", half=half)
    return Compute(
        device="gpu",
        name=f"gpu ({found.name}, driver {found.driver}, {engine}{', float16' * half})",
        reason="analyse.compute is gpu" if wanted == "gpu" else "driver, packages and GPU are there",
    )


def on_cpu(reason: str, *, half: bool = False) -> Compute:
    """The CPU, whose engines define what a pack computes; `half` means nothing to them, which is said."""
    if half:
        reason += "; analyse.precision is float16, which has no effect on a CPU"
    return Compute(device="cpu", name=f"cpu ({_cpu_model()}, {os.cpu_count()} threads)", reason=reason)


def _usable() -> tuple[GpuCard, str]:
    """The GPU and what runs plans on it, if all is there that is needed; `NoGpu` says what is not."""
    found = card()
    if int(found.driver.partition(".")[0]) < DRIVER:
        raise NoGpu(f"driver {found.driver} is too old for CUDA 13: install {DRIVER} or newer and start the box again")
    if found.compute_capability < COMPUTE_CAPABILITY:
        oldest, this = (".".join(map(str, c)) for c in (COMPUTE_CAPABILITY, found.compute_capability))
        raise NoGpu(f"{found.name} has compute capability {this}, and {oldest} is the oldest that is supported")
    if find_spec("pycuda") is None:
        raise NoGpu("pycuda is not installed: pip install 'osteon[gpu]'")
    try:
        trt = load_tensorrt()
    except PlanError as error:
        raise NoGpu(str(error)) from error
    if not FATBIN.is_file():
        raise NoGpu(f"{FATBIN.name} is not there: make kernels, or install a package that has it")
    return found, f"{trt.__name__} {trt.__version__}"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
