"""Grad-CAM: its definition in NumPy and its CUDA kernels."""

import sys

INSTALL = f"{sys.prefix}/bin/pip install --force-reinstall --no-index --find-links wheels 'osteon[systemd,gpu]'"
"""Command that installs Osteon and its packages for a GPU from the folder of `make wheels` (docs/installing.md)."""
