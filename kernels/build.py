"""Compiles gradcam.cu ahead of time: ``python -m kernels.build`` makes the fatbin that ships, and no box needs nvcc.

Flags decide the arithmetic: without contraction to fused multiply-adds a GPU computes, operation by operation, what
the reference and the host library compute (docs/decisions/0010-kernels-ahead-of-time.md).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

from .operations import KernelError

HERE = Path(__file__).parent
SOURCE = HERE / "gradcam.cu"
FATBIN = HERE / "gradcam.fatbin"

ARCHITECTURES = ("80", "86", "89", "90", "120")
"""A100; RTX 30; RTX 40, the box's own; H100 and H200; RTX 50. Later ones compile the last one's PTX."""

KERNELS = ("channel_weights", "combine", "normalise", "overlay")

_REPORT = re.compile(
    r"Compiling entry function '(?P<kernel>\w+)' for 'sm_(?P<architecture>\d+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads.*?"
    r"Used (?P<registers>\d+) registers",
    re.DOTALL,
)
"""ptxas -v of CUDA 13."""


class Usage(NamedTuple):
    """What ptxas reports of one kernel on one architecture."""

    kernel: str
    architecture: str
    registers: int
    spilled_bytes: int
    """Stack frame included: an array that is no register lives there."""


def nvcc() -> str | None:
    """The CUDA compiler: on the path, under ``CUDA_HOME``, where NVIDIA's installer or NVIDIA's wheel puts it."""
    wheel = Path(sysconfig.get_path("platlib")) / "nvidia/cu13"
    homes = (os.environ.get("CUDA_HOME", "/usr/local/cuda"), wheel)
    return shutil.which("nvcc") or next(filter(None, (shutil.which("nvcc", path=f"{h}/bin") for h in homes)), None)


def fatbin(out: Path = FATBIN, source: Path = SOURCE) -> list[Usage]:
    """Machine code of every architecture into `out`, and what it uses.

    Raises
    ------
    KernelError
        If there is no nvcc, it refuses the source, or a kernel spills registers on some architecture.
    """
    compiler = nvcc()
    if compiler is None:
        raise KernelError("nvcc is not installed: pip install nvidia-cuda-nvcc, or NVIDIA's CUDA toolkit")
    targets = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in ARCHITECTURES]
    newest = f"-gencode=arch=compute_{ARCHITECTURES[-1]},code=compute_{ARCHITECTURES[-1]}"
    flags = ("-fatbin", "-O3", "-std=c++17", "--fmad=false", "-Xptxas=-v", *targets, newest)
    report = _compiled(compiler, *flags, "-o", str(out), str(source))
    usages = [
        Usage(m["kernel"], m["architecture"], int(m["registers"]), sum(int(m[k]) for k in ("stack", "stores", "loads")))
        for m in _REPORT.finditer(report)
    ]
    missing = {(k, a) for k in KERNELS for a in ARCHITECTURES} - {(u.kernel, u.architecture) for u in usages}
    spilling = [u for u in usages if u.spilled_bytes]
    if missing or spilling:
        out.unlink()
        raise KernelError(f"ptxas says nothing of {sorted(missing)}; registers spill in {spilling}")
    return usages


def host_library(out: Path, source: Path = SOURCE, sanitize: bool = False) -> Path:
    """The same text for the CPU into `out`, which `kernels.host.library` loads.

    Parameters
    ----------
    sanitize
        With AddressSanitizer and UndefinedBehaviorSanitizer; the process that loads it was started with
        ``LD_PRELOAD=libasan.so``.

    Raises
    ------
    KernelError
        If there is no g++, or it refuses the source.
    """
    flags = ("-std=c++17", "-O1", "-g", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas")
    sanitizer = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined") if sanitize else ()
    unit = f'-DSOURCE="{source}"'
    _compiled("g++", *flags, *sanitizer, unit, "-shared", "-fPIC", "-o", str(out), str(HERE / "host/gradcam.cpp"))
    return out


def _compiled(*command: str) -> str:
    """What the compiler had to say."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise KernelError(f"{command[0]} is not installed") from error
    if done.returncode:
        raise KernelError(f"{command[0]} refused the kernels:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def main() -> None:
    """Make the fatbin and print the registers of each kernel."""
    try:
        usages = fatbin()
    except KernelError as error:
        sys.exit(str(error))
    print(f"{FATBIN.name}: {FATBIN.stat().st_size} bytes, nothing spills; registers per thread:")
    print(f"{'':16}" + "".join(f"{'sm_' + a:>8}" for a in ARCHITECTURES))
    registers = {(u.kernel, u.architecture): u.registers for u in usages}
    for kernel in KERNELS:
        print(f"{kernel:16}" + "".join(f"{registers[kernel, a]:8}" for a in ARCHITECTURES))


if __name__ == "__main__":
    main()
