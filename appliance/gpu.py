"""Name and figures of the first GPU from NVIDIA's driver (NVML): the one file that imports nvidia-ml-py.

NVML asks the driver and not the device: it needs no context, takes no memory and disturbs no running work. The role
`analyse` writes the figures into a file for the role `status`, which may not open a device.
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

from appliance.clock import Reading
from kernels import INSTALL

FIGURES = "gpu.json"
"""Name of the file in the state folder."""

_TOO_HOT = 0x20 | 0x40
"""nvmlClocksEventReasonSwThermalSlowdown and HwThermalSlowdown (nvml.h)."""

_TOO_MUCH_POWER = 0x4 | 0x80
"""nvmlClocksEventReasonSwPowerCap and HwPowerBrakeSlowdown (nvml.h)."""


_KERNEL_MODULE = Path("/proc/driver/nvidia")
"""Exists while NVIDIA's driver is loaded into the kernel."""


class NoGpu(Exception):
    """No GPU can be used; the message says how to mend it."""


class NoDriver(NoGpu):
    """NVIDIA's driver is not there, as on a machine without a GPU."""


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
    """Figures of the GPU at one moment; None where card or driver has none.

    Attributes
    ----------
    utilisation
        Share of the last second during which a kernel ran, 0 to 1.
    throttled
        The reason of reduced clocks: ``"heat"``, ``"power"`` or empty.
    ecc_errors
        Uncorrected memory errors since the driver was loaded.
    unused
        The reason why the CPU computes although a driver is there; empty if the GPU is used.
    """

    temperature_c: int | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    utilisation: float | None = None
    throttled: str = ""
    ecc_errors: int | None = None
    unused: str = ""

    def sentence(self) -> str:
        """Return the known figures in one line, for the page."""
        parts = []
        if self.temperature_c is not None:
            parts.append(f"{self.temperature_c} °C")
        if self.memory_used_bytes is not None and self.memory_total_bytes:
            parts.append(f"{self.memory_used_bytes / 1e9:.1f} of {self.memory_total_bytes / 1e9:.1f} GB")
        if self.utilisation is not None:
            parts.append(f"{self.utilisation:.0%} busy")
        if self.throttled:
            parts.append(f"slowed down by {self.throttled}")
        if self.ecc_errors:
            parts.append(f"{self.ecc_errors} uncorrected memory errors")
        return ", ".join(parts)


def card() -> GpuCard:
    """Return the first GPU.

    Raises
    ------
    NoGpu
        If there is no driver, or the driver finds no GPU.
    """
    with _nvml() as (nvml, device):
        return GpuCard(
            name=nvml.nvmlDeviceGetName(device),
            driver=nvml.nvmlSystemGetDriverVersion(),
            compute_capability=nvml.nvmlDeviceGetCudaComputeCapability(device),
        )


def figures() -> GpuFigures:
    """Return the current figures of the first GPU; all None without a GPU."""
    try:
        with _nvml() as (nvml, device):
            memory = _ask(nvml, nvml.nvmlDeviceGetMemoryInfo, device)
            rates = _ask(nvml, nvml.nvmlDeviceGetUtilizationRates, device)
            reasons = _ask(nvml, nvml.nvmlDeviceGetCurrentClocksEventReasons, device) or 0
            uncorrected, since_loaded = nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC
            return GpuFigures(
                temperature_c=_ask(nvml, nvml.nvmlDeviceGetTemperature, device, nvml.NVML_TEMPERATURE_GPU),
                memory_used_bytes=memory and memory.used,
                memory_total_bytes=memory and memory.total,
                utilisation=rates and rates.gpu / 100,
                throttled=_throttle_reason(reasons),
                ecc_errors=_ask(nvml, nvml.nvmlDeviceGetTotalEccErrors, device, uncorrected, since_loaded),
            )
    except NoGpu:
        return GpuFigures()


def write_figures(folder: Path, figures: GpuFigures, clocks: Reading) -> None:
    """Write the figures atomically for `read_figures`; an error of the disk is ignored, only the page uses them."""
    file = folder / FIGURES
    unfinished = file.with_suffix(f".{os.getpid()}")
    with contextlib.suppress(OSError):
        unfinished.write_text(json.dumps(asdict(clocks) | {"at": clocks.at.isoformat(), "figures": asdict(figures)}))
        unfinished.replace(file)


def read_figures(folder: Path, clocks: Reading, within_s: float) -> GpuFigures | None:
    """Return the figures in `folder`, or None if they are missing or older than `within_s` seconds."""
    try:
        written = json.loads((folder / FIGURES).read_text())
        age_s = Reading(
            at=datetime.fromisoformat(written["at"]), boot_id=written["boot_id"], uptime_s=written["uptime_s"]
        ).age_s(clocks)
        return GpuFigures(**written["figures"]) if age_s is not None and age_s <= within_s else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _ask(nvml: Any, function: Any, *arguments: object) -> Any:
    """Return the value from NVML, or None: a GeForce has no ECC, and a virtual card no temperature."""
    try:
        return function(*arguments)
    except nvml.NVMLError:
        return None


def _throttle_reason(reasons: int) -> str:
    if reasons & _TOO_HOT:
        return "heat"
    return "power" if reasons & _TOO_MUCH_POWER else ""


def driver_is_loaded() -> bool:
    """Return whether NVIDIA's driver is in the kernel, which a role sees without access to its devices."""
    return _KERNEL_MODULE.exists()


@contextmanager
def _nvml() -> Iterator[tuple[Any, Any]]:
    """Yield NVML and its handle of the first GPU."""
    nvml = _library()
    try:
        if not nvml.nvmlDeviceGetCount():
            raise NoGpu("NVIDIA's driver finds no GPU: run nvidia-smi, and check that the card is in its slot")
        yield nvml, nvml.nvmlDeviceGetHandleByIndex(0)
    except nvml.NVMLError as error:
        raise NoGpu(f"NVIDIA's driver cannot describe the GPU ({error}): run nvidia-smi") from error


@cache
def _library() -> Any:
    """Load and start NVML once per process: starting takes longer than asking."""
    try:
        import pynvml as nvml
    except ImportError as error:
        raise _missing(f"nvidia-ml-py is not installed: run {INSTALL}") from error
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise _missing(f"NVIDIA's driver does not answer ({error}): install it, and run nvidia-smi") from error
    return nvml


def _missing(message: str) -> NoGpu:
    """Return the error of an NVML that does not answer: a driver may be there nevertheless."""
    return NoGpu(message) if driver_is_loaded() else NoDriver(message)
