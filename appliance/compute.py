"""The choice of hardware for the pipeline: made once, at start, with a reason in plain words."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from appliance.domain.reason import ReasonCode
from engines.plan import PlanError, load_tensorrt, supports
from kernels import INSTALL
from kernels.build import FATBIN

from .errors import Fault
from .gpu import GpuCard, NoDriver, NoGpu, card

Wanted = Literal["auto", "gpu", "cpu"]

DRIVER = 580
"""The oldest driver that runs CUDA 13, which DALI's and TensorRT's wheels are built for (CUDA 13.0 release notes)."""

COMPUTE_CAPABILITY = (8, 0)
"""The oldest with machine code in `kernels.build.ARCHITECTURES`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """The chosen hardware.

    Attributes
    ----------
    device
        ``"cpu"`` or ``"gpu"``.
    name
        Processor or card with versions, for people and for the result's provenance.
    reason
        The reason of the choice, for the page and the log.
    has_unused_gpu
        Whether the CPU computes although a GPU was wanted and NVIDIA's driver is there: that needs attention.
    """

    device: Literal["cpu", "gpu"]
    name: str
    reason: str
    has_unused_gpu: bool = False


def choose_compute(wanted: Wanted = "auto", *, half: bool = False) -> Compute:
    """Choose the hardware on this machine.

    Parameters
    ----------
    half
        Whether classifiers shall compute in float16 on a GPU.

    Raises
    ------
    Fault
        ``no_gpu`` if a GPU is wanted and cannot be used, with the remedy.
    """
    if wanted == "cpu":
        return on_cpu("analyse.compute is cpu", half=half)
    try:
        found, engine = _usable()
    except NoGpu as error:
        if wanted == "gpu":
            raise Fault(ReasonCode.NO_GPU, f"analyse.compute is gpu, and it cannot be used: {error}") from error
        return on_cpu(f"no GPU is used: {error}", half=half, has_unused_gpu=not isinstance(error, NoDriver))
    precision = ", float16" if half else ""
    return Compute(
        device="gpu",
        name=f"gpu ({found.name}, driver {found.driver}, {engine}{precision})",
        reason="analyse.compute is gpu" if wanted == "gpu" else "driver, packages and GPU are there",
    )


def on_cpu(reason: str, *, half: bool = False, has_unused_gpu: bool = False) -> Compute:
    """Return the CPU as the choice; its engines always compute in float32, so `half` only adds a note to the reason."""
    if half:
        reason += "; analyse.precision is float16, which has no effect on a CPU"
    name = f"cpu ({_cpu_model()}, {os.cpu_count()} threads)"
    return Compute(device="cpu", name=name, reason=reason, has_unused_gpu=has_unused_gpu)


def _usable() -> tuple[GpuCard, str]:
    """Return the GPU, and name and version of TensorRT.

    Raises
    ------
    NoGpu
        If card, driver, a package or the kernels are missing or too old, or TensorRT does not support the card.
    """
    found = card()
    capability = ".".join(map(str, found.compute_capability))
    if int(found.driver.partition(".")[0]) < DRIVER:
        raise NoGpu(f"driver {found.driver} is too old for CUDA 13: install {DRIVER} or newer and restart the box")
    if found.compute_capability < COMPUTE_CAPABILITY:
        oldest = ".".join(map(str, COMPUTE_CAPABILITY))
        raise NoGpu(f"{found.name} has compute capability {capability}: install a card with {oldest} or newer")
    if find_spec("pycuda") is None:
        raise NoGpu(f"pycuda is not installed: run {INSTALL}")
    try:
        trt = load_tensorrt()
    except PlanError as error:
        raise NoGpu(str(error)) from error
    if not supports(found.compute_capability):
        raise NoGpu(
            f"{trt.__name__} does not support {found.name} with compute capability {capability}: install the full "
            "TensorRT beside it, which is taken first (docs/install.md, With a GPU), or a card that it supports"
        )
    if not FATBIN.is_file():
        raise NoGpu(f"{FATBIN.name} is missing, and the wheel of Osteon has it: run {INSTALL}")
    return found, f"{trt.__name__} {trt.__version__}"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
