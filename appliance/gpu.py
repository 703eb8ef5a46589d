"""What NVIDIA's driver says of the first GPU through NVML: the one file that imports nvidia-ml-py.

NVML asks the driver and not the device: it needs no context, takes no memory and disturbs nothing that runs. The role
that has the GPU leaves its figures in a file, since the role that shows them may not open a device.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

FIGURES = "gpu.json"
"""In the state folder."""

_TOO_HOT, _TOO_MUCH_POWER = 0x20 | 0x40, 0x4 | 0x80
"""nvmlClocksEventReasonSwThermalSlowdown and HwThermalSlowdown; SwPowerCap and HwPowerBrakeSlowdown (nvml.h)."""


class NoGpu(Exception):
    """There is no GPU that can be asked; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuCard:
    """A GPU and its driver.

    Attributes
    ----------
    compute_capability
        Major and minor: (8, 9) is the RTX 4090.
    """

    name: str
    driver: str
    compute_capability: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuFigures:
    """How the GPU is at one moment; None is what this card or driver does not tell.

    Attributes
    ----------
    utilisation
        Share of the last second in which a kernel ran, 0 to 1.
    throttled
        Why its clocks are held down: ``"heat"``, ``"power"`` or nothing.
    ecc_errors
        Errors of memory that could not be corrected since the driver was loaded.
    """

    temperature_c: int | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    utilisation: float | None = None
    throttled: str = ""
    ecc_errors: int | None = None

    def sentence(self) -> str:
        """For the page: what is known, in one line."""
        said = []
        if self.temperature_c is not None:
            said.append(f"{self.temperature_c} °C")
        if self.memory_used_bytes is not None and self.memory_total_bytes:
            said.append(f"{self.memory_used_bytes / 1e9:.1f} of {self.memory_total_bytes / 1e9:.1f} GB")
        if self.utilisation is not None:
            said.append(f"{self.utilisation:.0%} busy")
        if self.throttled:
            said.append(f"slowed down by {self.throttled}")
        if self.ecc_errors:
            said.append(f"{self.ecc_errors} uncorrected memory errors")
        return ", ".join(said)


def card() -> GpuCard:
    """The first GPU.

    Raises
    ------
    NoGpu
        If there is no driver, or no GPU that it knows.
    """
    with _nvml() as (nvml, device):
        return GpuCard(
            name=nvml.nvmlDeviceGetName(device),
            driver=nvml.nvmlSystemGetDriverVersion(),
            compute_capability=nvml.nvmlDeviceGetCudaComputeCapability(device),
        )


def figures() -> GpuFigures:
    """How the first GPU is now; empty where there is none."""
    try:
        with _nvml() as (nvml, device):
            memory = _told(nvml, nvml.nvmlDeviceGetMemoryInfo, device)
            rates = _told(nvml, nvml.nvmlDeviceGetUtilizationRates, device)
            reasons = _told(nvml, nvml.nvmlDeviceGetCurrentClocksEventReasons, device) or 0
            uncorrected, since_loaded = nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC
            return GpuFigures(
                temperature_c=_told(nvml, nvml.nvmlDeviceGetTemperature, device, nvml.NVML_TEMPERATURE_GPU),
                memory_used_bytes=memory and memory.used,
                memory_total_bytes=memory and memory.total,
                utilisation=rates and rates.gpu / 100,
                throttled="heat" if reasons & _TOO_HOT else "power" if reasons & _TOO_MUCH_POWER else "",
                ecc_errors=_told(nvml, nvml.nvmlDeviceGetTotalEccErrors, device, uncorrected, since_loaded),
            )
    except NoGpu:
        return GpuFigures()


def leave_figures(folder: Path, seen: GpuFigures, at: datetime) -> None:
    """Write what was `seen` for `figures_left`, whole or not at all; on a full disk not at all, for the page alone."""
    file = folder / FIGURES
    unfinished = file.with_suffix(f".{os.getpid()}")
    with contextlib.suppress(OSError):
        unfinished.write_text(json.dumps({"at": at.isoformat(), "figures": asdict(seen)}))
        unfinished.replace(file)


def figures_left(folder: Path, at: datetime, within_s: float) -> GpuFigures | None:
    """What the role that has the GPU left in `folder`; None if it left nothing in the last `within_s` seconds."""
    try:
        left = json.loads((folder / FIGURES).read_text())
        age_s = (at - datetime.fromisoformat(left["at"])).total_seconds()
        return GpuFigures(**left["figures"]) if age_s <= within_s else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _told(nvml: Any, function: Any, *arguments: object) -> Any:
    """What NVML answers, or None: a GeForce has no ECC, and a virtual card no temperature."""
    try:
        return function(*arguments)
    except nvml.NVMLError:
        return None


@contextmanager
def _nvml() -> Iterator[tuple[Any, Any]]:
    """NVML and its handle of the first GPU."""
    nvml = _library()
    try:
        if not nvml.nvmlDeviceGetCount():
            raise NoGpu("NVIDIA's driver knows no GPU: see nvidia-smi, and whether the card is in its slot")
        yield nvml, nvml.nvmlDeviceGetHandleByIndex(0)
    except nvml.NVMLError as error:
        raise NoGpu(f"NVIDIA's driver cannot describe the GPU ({error}): see nvidia-smi") from error


@cache
def _library() -> Any:
    """NVML, ready until the process ends: to start it takes longer than to ask it."""
    try:
        import pynvml as nvml
    except ImportError as error:
        raise NoGpu("nvidia-ml-py is not installed: pip install 'osteon[gpu]'") from error
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise NoGpu(f"NVIDIA's driver does not answer ({error}): install it, and see nvidia-smi") from error
    return nvml
