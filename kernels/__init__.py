"""Grad-CAM: its definition in NumPy and its CUDA kernels."""

import sys
from pathlib import Path

_PIP = Path(sys.prefix) / "bin" / "pip"

FROM_WHEELS = f"{_PIP} install --force-reinstall --no-index --find-links wheels 'osteon[systemd,gpu]'"
"""Command that installs Osteon and its packages for a GPU from the folder of `make wheels` (docs/install.md)."""

INSTALL = (
    FROM_WHEELS
    if _PIP.exists()
    else "apt install ./osteon-gpu_VERSION_amd64.deb (docs/install.md), or set analyse.compute = 'cpu'"
)
"""The same, or the way from the Debian package, which computes on the CPU alone and has no pip."""
