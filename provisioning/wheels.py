"""Wheels for a box without a network, a compiler or a CUDA toolkit: ``make wheels`` makes them.

PyCUDA is published as source, which needs a C++ compiler and the CUDA toolkit, and links against the driver's libcuda.
Its wheel is built here against a libcuda without content, and needs no more than the driver's where it runs. The build
takes minutes, so the wheel is kept in ``$XDG_CACHE_HOME/osteon/wheels`` (``~/.cache`` by default), in a folder for each
version of PyCUDA, of Python and of the toolkit.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from kernels.build import SOURCE, fatbin, nvcc
from kernels.operations import KernelError
from provisioning.archive import extract_files

CHECKOUT = Path(__file__).parents[1]

PYCUDA = "pycuda==2026.1"
BUILDS_WITH = ("gcc", "g++")

SETTINGS = """\
USE_SHIPPED_BOOST = True
BOOST_INC_DIR = BOOST_LIB_DIR = BOOST_PYTHON_LIBNAME = BOOST_THREAD_LIBNAME = []
CUDA_TRACE = CUDA_ENABLE_GL = CUDA_ENABLE_CURAND = False
CUDA_ROOT = {cuda!r}
CUDADRV_LIB_DIR = [{driver!r}]
CUDADRV_LIBNAME = ["cuda"]
CXXFLAGS = ["-O1", "-g0"]
LDFLAGS = []
"""
"""Content of siteconf.py, which PyCUDA's setup.py reads."""

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


def cuda_home() -> Path:
    """Return the root of the CUDA toolkit, as nvcc prints it.

    Raises
    ------
    KernelError
        If there is no nvcc.
    """
    compiler = nvcc()
    if compiler is None:
        raise KernelError(
            "nvcc is not installed: in the checkout, pip install '.[toolkit]', or install NVIDIA's CUDA toolkit"
        )
    said = subprocess.run([compiler, "--dryrun", SOURCE], capture_output=True, text=True, check=True).stderr
    top = re.search(r"^#\$ TOP=(.*)$", said, re.MULTILINE)
    assert top is not None, said
    return Path(top[1]).resolve()


def stubs() -> str:
    """Return C code of a libcuda: every function of cuda.h and cudaProfiler.h, each answering that it is a stub."""
    include = cuda_home() / "include"
    header = (include / "cuda.h").read_text() + (include / "cudaProfiler.h").read_text()
    names = set(re.findall(r"CUresult\s+CUDAAPI\s+(cu\w+)\s*\(", header))
    names |= set(re.findall(r"#\s*define\s+cu\w+\s+(?:__CUDA_API_PT\w+\()?(cu\w+)\)?", header))
    # 34: CUDA_ERROR_STUB_LIBRARY; weak: another definition in the same library stands
    return "".join(f"__attribute__((weak)) int {name}(void) {{ return 34; }}\n" for name in sorted(names))


def pycuda_wheels() -> Path:
    """Return the folder that keeps PyCUDA's wheel and the wheels it needs; build them if they are not there.

    Of several processes one builds, and the others wait for it. An interrupted build leaves nothing.
    """
    kept = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "osteon" / "wheels" / _key()
    kept.parent.mkdir(parents=True, exist_ok=True)
    with kept.with_name(f"{kept.name}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.is_dir():
            with TemporaryDirectory(dir=kept.parent) as scratch:
                made = Path(scratch) / "wheels"
                _build_pycuda(Path(scratch), made)
                made.rename(kept)
    return kept


def _key() -> str:
    """Name the versions that a wheel depends on, as in ``pycuda-2026.1-cpython-311-cuda-13000-1f2e3d4c``."""
    header = (cuda_home() / "include" / "cuda.h").read_text()
    toolkit = re.search(r"^#define CUDA_VERSION (\d+)$", header, re.MULTILINE)
    assert toolkit is not None, "cuda.h names no CUDA_VERSION"
    settings = hashlib.sha256(SETTINGS.encode()).hexdigest()[:8]
    return f"{PYCUDA.replace('==', '-')}-{sys.implementation.cache_tag}-cuda-{toolkit[1]}-{settings}"


def _build_pycuda(scratch: Path, wheel_folder: Path) -> None:
    """Build PyCUDA's wheel, and those that it needs, into `wheel_folder`."""
    driver = scratch / "driver"
    driver.mkdir()
    (driver / "libcuda.c").write_text(stubs())
    link = ("-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", driver / "libcuda.so", driver / "libcuda.c")
    subprocess.run(["gcc", *link], check=True)
    fetch = ("download", "--quiet", "--no-deps", "--no-binary=pycuda", "--dest", str(scratch), PYCUDA)
    subprocess.run([*PIP, *fetch], check=True)
    with tarfile.open(next(scratch.glob("pycuda-*.tar.gz"))) as archive:
        extract_files(archive, scratch)
    source = next(p for p in scratch.glob("pycuda-*") if p.is_dir())
    (source / "siteconf.py").write_text(SETTINGS.format(cuda=str(cuda_home()), driver=str(driver)))
    subprocess.run([*PIP, "wheel", "--quiet", "--wheel-dir", wheel_folder, source], check=True)


def osteon_wheel(folder: Path) -> Path:
    """Build Osteon's wheel, with the kernels as they stand in the checkout, into `folder`; return the wheel.

    Raises
    ------
    KernelError
        If the kernels cannot be compiled.
    """
    fatbin()
    with TemporaryDirectory() as scratch:  # files of an earlier build would be packed, too
        settings = Path(scratch) / "setup.cfg"
        settings.write_text(f"[build]\nbuild_base = {scratch}/build\n")
        made = Path(scratch) / "wheel"
        command = ("wheel", "--quiet", "--no-deps", "--wheel-dir", made, CHECKOUT)
        subprocess.run([*PIP, *command], check=True, env=os.environ | {"DIST_EXTRA_CONFIG": str(settings)})
        (wheel,) = made.iterdir()
        return Path(shutil.copy(wheel, folder))


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--extras", default="systemd,gpu", show_default=True, help="Optional parts of Osteon to pack.")
def main(folder: Path, extras: str) -> None:
    """Fill FOLDER with the wheels of Osteon and of everything it needs, for this Python and this processor.

    A source distribution among them is built here. Earlier wheels in FOLDER are removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.whl"):
        old.unlink()
    try:
        if missing := [name for name in BUILDS_WITH if shutil.which(name) is None]:
            raise KernelError(f"{' and '.join(missing)} is not installed")
        for wheel in pycuda_wheels().glob("*.whl"):
            shutil.copy(wheel, folder)
        osteon = osteon_wheel(folder)
    except KernelError as error:
        sys.exit(str(error))
    needed = f"osteon[{extras}] @ {osteon.absolute().as_uri()}"
    chosen = ("--prefer-binary", "--only-binary=pycuda", "--find-links", folder, "--wheel-dir", folder)
    # setuptools: for an editable installation of the checkout beside the wheels
    subprocess.run([*PIP, "wheel", "--quiet", *chosen, needed, "setuptools>=77"], check=True)
    wheels = sorted(folder.glob("*.whl"))
    sums = (f"{hashlib.sha256(wheel.read_bytes()).hexdigest()}  {wheel.name}\n" for wheel in wheels)
    (folder / "SHA256SUMS").write_text("".join(sums))
    size = sum(wheel.stat().st_size for wheel in wheels)
    click.echo(f"{folder}: {len(wheels)} wheels, {size / 1e6:.0f} MB, for {sys.implementation.cache_tag}")


if __name__ == "__main__":
    main()
