"""Compilation of gradcam.cu ahead of time: ``python -m kernels.build`` makes the fatbin that ships.

No box needs nvcc. The flags decide the arithmetic: without contraction to fused multiply-adds a GPU computes the same,
operation by operation, as the reference and the host library (docs/decisions/0010-kernels-ahead-of-time.md).
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
"""Compute capabilities: A100; RTX 30; RTX 40, the box's own; H100 and H200; RTX 50. Later GPUs compile the last PTX."""

KERNELS = ("channel_weights", "combine", "normalise", "overlay")
"""Names of the kernels in gradcam.cu."""

_REPORT = re.compile(
    r"Compiling entry function '(?P<kernel>\w+)' for 'sm_(?P<architecture>\d+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads.*?"
    r"Used (?P<registers>\d+) registers",
    re.DOTALL,
)
"""Output of ptxas -v for one kernel (CUDA 13)."""


class Usage(NamedTuple):
    """Resources of one kernel on one architecture, as ptxas prints them."""

    kernel: str
    architecture: str
    registers: int
    spilled_bytes: int
    """Spilled registers and stack frame, which holds arrays that are not in registers."""


def nvcc() -> str | None:
    """Find the CUDA compiler: on the path, under ``CUDA_HOME``, or where NVIDIA's installer or wheel puts it."""
    wheel = Path(sysconfig.get_path("platlib")) / "nvidia/cu13"
    homes = (os.environ.get("CUDA_HOME", "/usr/local/cuda"), wheel)
    return shutil.which("nvcc") or next(filter(None, (shutil.which("nvcc", path=f"{h}/bin") for h in homes)), None)


def fatbin(out: Path = FATBIN, source: Path = SOURCE) -> list[Usage]:
    """Compile machine code for every architecture into `out`; return the resources of every kernel.

    Raises
    ------
    KernelError
        If there is no nvcc, it refuses the source, or a kernel spills registers on some architecture.
    """
    compiler = nvcc()
    if compiler is None:
        raise KernelError(
            "nvcc is not installed: in the checkout, pip install '.[toolkit]', or install NVIDIA's CUDA toolkit"
        )
    targets = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in ARCHITECTURES]
    newest = f"-gencode=arch=compute_{ARCHITECTURES[-1]},code=compute_{ARCHITECTURES[-1]}"
    flags = ("-fatbin", "-O3", "-std=c++17", "--fmad=false", "-Xptxas=-v", *targets, newest)
    report = _compile(compiler, *flags, "-o", str(out), str(source))
    usages = [
        Usage(m["kernel"], m["architecture"], int(m["registers"]), sum(int(m[k]) for k in ("stack", "stores", "loads")))
        for m in _REPORT.finditer(report)
    ]
    missing = {(k, a) for k in KERNELS for a in ARCHITECTURES} - {(u.kernel, u.architecture) for u in usages}
    spilling = [u for u in usages if u.spilled_bytes]
    if missing or spilling:
        out.unlink()
        raise KernelError(f"ptxas does not report {sorted(missing)}; registers spill in {spilling}")
    return usages


def host_library(out: Path, source: Path = SOURCE, sanitize: bool = False) -> Path:
    """Compile the same source for the CPU into `out`, which `kernels.host.library` loads.

    Parameters
    ----------
    sanitize
        Compile with AddressSanitizer and UndefinedBehaviorSanitizer; the process that loads the library must be started
        with ``LD_PRELOAD=libasan.so``.

    Raises
    ------
    KernelError
        If there is no g++, or it refuses the source.
    """
    flags = ("-std=c++17", "-O1", "-g", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas")
    sanitizer = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined") if sanitize else ()
    unit = f'-DSOURCE="{source}"'
    _compile("g++", *flags, *sanitizer, unit, "-shared", "-fPIC", "-o", str(out), str(HERE / "host/gradcam.cpp"))
    return out


def _compile(*command: str) -> str:
    """Run a compiler and return its output."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise KernelError(f"{command[0]} is not installed: install it, and run this again") from error
    if done.returncode:
        raise KernelError(f"{command[0]} refused the kernels:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def main() -> None:
    """Make the fatbin and print the registers of each kernel."""
    try:
        usages = fatbin()
    except KernelError as error:
        sys.exit(str(error))
    print(f"{FATBIN.name}: {FATBIN.stat().st_size} bytes, no register spills; registers per thread:")
    print(f"{'':16}" + "".join(f"{'sm_' + a:>8}" for a in ARCHITECTURES))
    registers = {(u.kernel, u.architecture): u.registers for u in usages}
    for kernel in KERNELS:
        print(f"{kernel:16}" + "".join(f"{registers[kernel, a]:8}" for a in ARCHITECTURES))


if __name__ == "__main__":
    main()
