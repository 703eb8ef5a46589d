"""A libcuda.so.1 and a libnvidia-ml.so.1 for machines without a GPU, and PyCUDA built against the first.

The build of PyCUDA takes minutes. Its wheel is kept in ``$XDG_CACHE_HOME/osteon/wheels`` (``~/.cache`` by default), in
a folder for each version of PyCUDA, of Python and of the CUDA toolkit; only the first run on a machine builds it.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from kernels.build import SOURCE, nvcc

HERE = Path(__file__).parent
HOST = SOURCE.parent / "host"
PYCUDA = "pycuda==2026.1"
BUILDS_WITH = ("gcc", "g++")

TENSORRT = HERE / "site"
"""Folder for the path, with a `tensorrt` for machines without a GPU; its plans run over the libcuda.so.1."""

SITECONF = """\
USE_SHIPPED_BOOST = True
BOOST_INC_DIR = BOOST_LIB_DIR = BOOST_PYTHON_LIBNAME = BOOST_THREAD_LIBNAME = []
CUDA_TRACE = CUDA_ENABLE_GL = CUDA_ENABLE_CURAND = False
CUDA_ROOT = {cuda!r}
CUDADRV_LIB_DIR = [{driver!r}]
CUDADRV_LIBNAME = ["cuda"]
CXXFLAGS = ["-O0"]
LDFLAGS = []
"""
"""Settings that PyCUDA's setup.py reads."""


def cuda_home() -> Path:
    """Return the root of the CUDA toolkit, as nvcc prints it; ``tests.support.peers.find`` has found nvcc before."""
    compiler = nvcc()
    assert compiler is not None
    said = subprocess.run([compiler, "--dryrun", SOURCE], capture_output=True, text=True, check=True).stderr
    top = re.search(r"^#\$ TOP=(.*)$", said, re.MULTILINE)
    assert top is not None, said
    return Path(top[1]).resolve()


def driver(folder: Path) -> Path:
    """Build libcuda.so.1 into `folder` from libcuda.cpp, with a stub for every other function; return `folder`."""
    include = cuda_home() / "include"
    header = (include / "cuda.h").read_text() + (include / "cudaProfiler.h").read_text()
    names = set(re.findall(r"CUresult\s+CUDAAPI\s+(cu\w+)\s*\(", header))
    names |= set(re.findall(r"#\s*define\s+cu\w+\s+(?:__CUDA_API_PT\w+\()?(cu\w+)\)?", header))
    stubs = folder / "stubs.c"  # 34: CUDA_ERROR_STUB_LIBRARY; weak: what libcuda.cpp defines stands
    stubs.write_text("".join(f"__attribute__((weak)) int {name}(void) {{ return 34; }}\n" for name in sorted(names)))
    subprocess.run(["gcc", "-c", "-fPIC", "-o", folder / "stubs.o", stubs], check=True)
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
    (folder / "libcuda.so").symlink_to(out.name)
    return folder


def nvml(folder: Path) -> Path:
    """Build libnvidia-ml.so.1 into `folder` from libnvidia-ml.c; return `folder`."""
    out = folder / "libnvidia-ml.so.1"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", out, HERE / "libnvidia-ml.c"], check=True)
    return folder


def can_build() -> bool:
    """Return whether this machine has the compilers that the driver and PyCUDA need."""
    return all(map(shutil.which, BUILDS_WITH))


def pycuda(folder: Path) -> Path:
    """Return a folder for the path that holds PyCUDA: installed from the kept wheel, which is built if need be.

    Parameters
    ----------
    folder
        The folder that `driver` has filled; PyCUDA is linked against its library.
    """
    if importlib.util.find_spec("pycuda"):
        return folder  # installed where Python looks anyway
    kept = ["--no-index", "--find-links", str(wheels(folder))]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", *kept, "--target", str(folder / "site"), PYCUDA]
    subprocess.run(pip, check=True)
    return folder / "site"


def wheels(driver_folder: Path) -> Path:
    """Return the folder that keeps PyCUDA's wheel and the wheels it needs; build them if they are not there.

    Of several test processes one builds, and the others wait for it. An interrupted build leaves nothing.
    """
    kept = _cache() / _key()
    kept.parent.mkdir(parents=True, exist_ok=True)
    with kept.with_name(f"{kept.name}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.is_dir():
            with TemporaryDirectory(dir=kept.parent) as scratch:
                made = Path(scratch) / "wheels"
                _build(driver_folder, Path(scratch), made)
                made.rename(kept)
    return kept


def _cache() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "osteon" / "wheels"


def _key() -> str:
    """Name the versions that a wheel depends on, as in ``pycuda-2026.1-cpython-311-cuda-13000``."""
    header = (cuda_home() / "include" / "cuda.h").read_text()
    toolkit = re.search(r"^#define CUDA_VERSION (\d+)$", header, re.MULTILINE)
    assert toolkit is not None, "cuda.h names no CUDA_VERSION"
    return f"{PYCUDA.replace('==', '-')}-{sys.implementation.cache_tag}-cuda-{toolkit[1]}"


def _build(driver_folder: Path, scratch: Path, wheel_folder: Path) -> None:
    """Build PyCUDA's wheel, and those that it needs, into `wheel_folder`."""
    pip = [sys.executable, "-m", "pip"]
    fetch = ["download", "--quiet", "--no-deps", "--no-binary=pycuda", "--dest", str(scratch), PYCUDA]
    subprocess.run([*pip, *fetch], check=True)
    with tarfile.open(next(scratch.glob("pycuda-*.tar.gz"))) as archive:
        archive.extractall(scratch, filter="data")
    source = next(p for p in scratch.glob("pycuda-*") if p.is_dir())
    settings = SITECONF.format(cuda=str(cuda_home()), driver=str(driver_folder))
    (source / "siteconf.py").write_text(settings)
    subprocess.run([*pip, "wheel", "--quiet", "--wheel-dir", wheel_folder, source], check=True)
