"""A libcuda.so.1 and a libnvidia-ml.so.1 for machines without a GPU, and PyCUDA built against the former."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tarfile
from pathlib import Path

from kernels.build import SOURCE, nvcc

HERE = Path(__file__).parent
HOST = SOURCE.parent / "host"
PYCUDA = "pycuda==2026.1"
WHEELS = Path.home() / ".cache/osteon/wheels"
"""A build takes minutes; its wheel, and those that it needs, are kept here."""

TENSORRT = HERE / "site"
"""To be put on the path: a `tensorrt` for machines without a GPU, whose plans run over the libcuda.so.1."""

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
"""PyCUDA's own file of settings, read by its setup.py."""


def cuda_home() -> Path:
    """Where cuda.h is, as nvcc says; ``tests.support.peers.find`` has seen to it that there is one."""
    compiler = nvcc()
    assert compiler is not None
    said = subprocess.run([compiler, "--dryrun", SOURCE], capture_output=True, text=True, check=True).stderr
    top = re.search(r"^#\$ TOP=(.*)$", said, re.MULTILINE)
    assert top is not None, said
    return Path(top[1]).resolve()


def driver(folder: Path) -> Path:
    """`folder`, with libcuda.so.1 in it: libcuda.cpp, and every function that it lacks as a stub."""
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
    """`folder`, with libnvidia-ml.so.1 in it: libnvidia-ml.c."""
    out = folder / "libnvidia-ml.so.1"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", out, HERE / "libnvidia-ml.c"], check=True)
    return folder


def pycuda(folder: Path, build: bool) -> Path | None:
    """A folder to put on the path, with PyCUDA in it: from the kept wheel, or built now, or None.

    Parameters
    ----------
    folder
        `driver` has been there: PyCUDA is linked against its library.
    """
    if importlib.util.find_spec("pycuda"):
        return folder  # installed where Python looks anyway
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    wheel = next(WHEELS.glob(f"pycuda-*-{tag}-*.whl"), None)
    if wheel is None and build:
        _build(folder)
        wheel = next(WHEELS.glob(f"pycuda-*-{tag}-*.whl"))
    if wheel is None:
        return None
    kept = ["--no-index", "--find-links", WHEELS]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", *kept, "--target", folder / "site", PYCUDA]
    subprocess.run(pip, check=True)
    return folder / "site"


def _build(folder: Path) -> None:
    pip = [sys.executable, "-m", "pip"]
    fetch = ["download", "--quiet", "--no-deps", "--no-binary=pycuda", "--dest", folder, PYCUDA]
    subprocess.run([*pip, *fetch], check=True)
    with tarfile.open(next(folder.glob("pycuda-*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    source = next(p for p in folder.glob("pycuda-*") if p.is_dir())
    settings = SITECONF.format(cuda=str(cuda_home()), driver=str(folder))
    (source / "siteconf.py").write_text(settings)
    WHEELS.mkdir(parents=True, exist_ok=True)
    subprocess.run([*pip, "wheel", "--quiet", "--wheel-dir", WHEELS, source], check=True)
