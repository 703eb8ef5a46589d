"""The wheels of ``make wheels``: a box with NVIDIA's driver alone installs them, without a network."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kernels import FROM_WHEELS, INSTALL
from tests.support import driver
from tests.support.peers import find

ROOT = Path(__file__).parents[2]
BOX = """
import pycuda.driver, pynvml, systemd.daemon, tensorrt_rtx
import kernels.cuda, kernels.device
from appliance.compute import choose_compute
from kernels.build import FATBIN
print(choose_compute("gpu").name)
with kernels.device.Gpu() as gpu:
    kernels.cuda.CudaKernels(gpu, fatbin=FATBIN)
"""


def test_command_of_the_messages_is_documented() -> None:
    documented = " ".join((ROOT / "docs" / "install.md").read_text().split())
    assert FROM_WHEELS.replace(sys.prefix, "/usr/lib/osteon") in documented
    assert INSTALL == FROM_WHEELS, "this Python has pip"


def test_debian_package_names_the_package_for_a_gpu(tmp_path: Path) -> None:
    program = f"import sys; sys.prefix = {str(tmp_path)!r}; import kernels; print(kernels.INSTALL)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    names = "apt install ./osteon-gpu_VERSION_amd64.deb (docs/install.md), or set analyse.compute = 'cpu'\n"
    assert done.stdout == names


def test_no_text_takes_osteon_from_an_index() -> None:
    """The name is not ours on any index, so it stands only where pip looks at a folder alone."""
    texts = [p for f in ("appliance", "engines", "kernels", "provisioning", "docs") for p in (ROOT / f).rglob("*")]
    texts += [ROOT / "Makefile", ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    named = [
        (path, line)
        for path in texts
        if path.suffix in {".py", ".md", ""} and path.is_file()
        for line in re.findall(r"\binstall (?:[-\w/.]+ )*'osteon\[.*", " ".join(path.read_text().split()))
    ]
    assert named
    assert [(path, line) for path, line in named if "--no-index" not in line.partition("osteon[")[0]] == []


@pytest.mark.release  # PyCUDA is compiled and a gigabyte is fetched
@pytest.mark.timeout(3600)
def test_box_with_a_driver_alone_installs_the_wheels_without_a_network(tmp_path: Path) -> None:
    find("nvcc")
    wheels = tmp_path / "wheels"
    subprocess.run([sys.executable, "-m", "provisioning.wheels", wheels], check=True)
    sums = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}" for p in sorted(wheels.glob("*.whl"))]
    assert (wheels / "SHA256SUMS").read_text().splitlines() == sums
    box, no_programs, stand_in = tmp_path / "box", tmp_path / "bin", tmp_path / "driver"
    no_programs.mkdir()
    stand_in.mkdir()
    subprocess.run([sys.executable, "-m", "venv", box], check=True)
    driver.nvml(driver.driver(stand_in))
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "CUDA", "PIP_"))}
    environment |= {"PATH": str(no_programs), "PIP_CONFIG_FILE": os.devnull, "LD_LIBRARY_PATH": str(stand_in)}
    command = FROM_WHEELS.replace(sys.prefix, str(box)).replace("'", "").split()
    subprocess.run(command, check=True, cwd=tmp_path, env=environment)
    done = subprocess.run(
        [box / "bin/python", "-c", BOX], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("gpu (NVIDIA GeForce RTX 4090, driver 580.95.05, tensorrt_rtx ")
    subprocess.run([box / "bin/osteon", "--help"], check=True, cwd=tmp_path, env=environment, capture_output=True)
