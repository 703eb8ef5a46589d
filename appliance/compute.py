"""Which hardware runs the pipeline: chosen once, at start, with the reason in words."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """The choice, and why.

    Attributes
    ----------
    device
        ``"cpu"``.
    name
        For people and for the result's provenance.
    reason
        Why it was chosen.
    """

    device: str
    name: str
    reason: str


def choose_compute() -> Compute:
    """The CPU, whose engines are the definition of what a pack computes."""
    return Compute(
        device="cpu",
        name=f"cpu ({_cpu_model()}, {os.cpu_count()} threads)",
        reason="this version runs on the CPU",
    )


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
