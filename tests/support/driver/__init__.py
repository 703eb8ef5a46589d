"""A libcuda.so.1 and a libnvidia-ml.so.1 for machines without a GPU, and PyCUDA as `make wheels` builds it.

``python -m tests.support.driver COMMAND...`` runs a command over them.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from kernels.build import SOURCE
from provisioning.wheels import BUILDS_WITH, PYCUDA, cuda_home, pycuda_wheels, stubs

HERE = Path(__file__).parent
HOST = SOURCE.parent / "host"

TENSORRT = HERE / "site"
"""Folder for the path, with a `tensorrt` for machines without a GPU; its plans run over the libcuda.so.1."""


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a process that finds PyCUDA, and a driver that computes on the CPU, in `folder`."""
    nvml(driver(folder))
    path = os.pathsep.join(map(str, (HERE.parents[2], TENSORRT, pycuda(folder))))
    return os.environ | {"LD_LIBRARY_PATH": str(folder), "PYTHONPATH": path}


def driver(folder: Path) -> Path:
    """Build libcuda.so.1 into `folder` from libcuda.cpp, with a stub for every other function; return `folder`."""
    include = cuda_home() / "include"
    source = folder / "stubs.c"
    source.write_text(stubs() + "int osteon_stand_in = 1;\n")  # provisioning.gpu_selfcheck knows it by this name
    subprocess.run(["gcc", "-c", "-fPIC", "-o", folder / "stubs.o", source], check=True)
    flags = (
        "-std=c++17",
        "-O1",
        "-ffp-contract=off",
        "-shared",
        "-fPIC",
        f'-DSOURCE="{SOURCE}"',
        f"-I{HOST}",
        f"-I{include}",
    )
    out = folder / "libcuda.so.1"
    subprocess.run(
        ["g++", *flags, "-Wl,-soname,libcuda.so.1", "-o", out, HERE / "libcuda.cpp", folder / "stubs.o"], check=True
    )
    return folder


def nvml(folder: Path) -> Path:
    """Build libnvidia-ml.so.1 into `folder` from libnvidia-ml.c; return `folder`."""
    out = folder / "libnvidia-ml.so.1"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", out, HERE / "libnvidia-ml.c"], check=True)
    return folder


def missing_compilers() -> str:
    """Return the names of the compilers that the driver and PyCUDA need and this machine lacks."""
    return " and ".join(name for name in BUILDS_WITH if shutil.which(name) is None)


def pycuda(folder: Path) -> Path:
    """Return a folder for the path, `folder` or below it, that holds PyCUDA: installed from the kept wheel."""
    if importlib.util.find_spec("pycuda"):
        return folder  # installed where Python looks anyway
    kept = ["--no-index", "--find-links", str(pycuda_wheels())]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", *kept, "--target", str(folder / "site"), PYCUDA]
    subprocess.run(pip, check=True)
    return folder / "site"
