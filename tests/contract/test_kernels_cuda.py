"""The code for a GPU, run without one: PyCUDA itself over a driver that computes on the CPU; and the build for GPUs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kernels.build import ARCHITECTURES, KERNELS, SOURCE, fatbin
from kernels.operations import KernelError
from tests.support.peers import find

HERE = Path(__file__).parent
USE = f"""
import numpy, pathlib, kernels.cuda, kernels.device
with kernels.device.Gpu() as gpu:
    on_gpu = kernels.cuda.CudaKernels(gpu, fatbin=pathlib.Path({str(SOURCE)!r}))
    on_gpu.overlay(numpy.ones((2, 2), numpy.uint8), [])
"""


DRAW = f"""
import numpy as np, pathlib
from appliance.picture.heat import drawn_by
from appliance.ports import Analysis
from appliance.config import DicomDestination
from appliance.ports import Heat
from appliance.service.artefacts import Renderer
from appliance.service.reading import Reading
from kernels.cuda import CudaKernels
from kernels.device import Gpu
from tests.support.results import finding, result
from tests.support.sources import source
heat = Heat(cells=np.ones((2, 2), np.float32), extent=(0, 0, 9, 9), within=(0, 0, 9, 9))
archive = DicomDestination(kind="dicom", name="a", host="b", port=1, called_ae_title="C", objects=("sc",))
with Gpu() as gpu:
    draw = drawn_by(CudaKernels(gpu, fatbin=pathlib.Path({str(SOURCE)!r})))
    given, grey = Analysis(result=result(source(), finding()), heats=(heat,)), np.ones((300, 300), np.uint8)
    renderer = Renderer(destinations=[archive], put=lambda content: "kept", draw=draw)
    print(renderer.render_radiograph(Reading(source=source(), analysis=given, grey=grey))[0].digest)
"""


def python(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "file",
    [
        "test_kernels.py",
        "on_a_gpu.py",
        "test_runners.py",
        pytest.param("parity_on_a_gpu.py", marks=pytest.mark.release),  # a minute and a half
    ],
)
def test_contract_holds_through_pycuda(environment: dict[str, str], file: str) -> None:
    chosen = ("-k", "cuda or gpu", "--backends=cuda", "-p", "no:cacheprovider")
    done = python(environment, "-m", "pytest", "-q", *chosen, str(HERE / file))
    assert done.returncode == 0, done.stdout
    assert re.search(r"\d+ passed", done.stdout)
    assert "skipped" not in done.stdout


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("cuInit", "KernelError: the GPU cannot be used: cuInit failed: no CUDA-capable device is detected"),
        ("cuMemAlloc_v2", "OutOfMemory: weights finds no room on the GPU: cuMemAlloc failed"),
        ("cuMemHostAlloc", "OutOfMemory: grey finds no room in pinned memory of the host: cuMemHostAlloc failed"),
        ("cuMemcpyHtoDAsync_v2", "KernelError: grey cannot be copied to the GPU: cuMemcpyHtoDAsync failed"),
        ("cuLaunchKernel", "KernelError: overlay cannot be launched: cuLaunchKernel failed"),
        ("cuStreamSynchronize", "KernelError: the GPU failed: cuStreamSynchronize failed"),
    ],
)
def test_failure_of_the_driver_is_reported(environment: dict[str, str], function: str, said: str) -> None:
    done = python(environment | {"CUDA_FAILS": function}, "-c", USE)
    assert said in done.stderr


def test_first_card_of_cuda_is_that_of_the_driver(environment: dict[str, str]) -> None:
    """In the order of the slots, as NVML counts, and not the fastest first."""
    program = "from kernels.device import Gpu\nwith Gpu() as gpu: print(gpu.driver.Device(0).pci_bus_id())"
    done = python(environment | {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}, "-c", program)
    assert done.stdout == "0000:01:00.0\n", done.stderr


@pytest.mark.proves("SAF-19")
def test_gpu_failure_while_drawing_stops_the_role(environment: dict[str, str]) -> None:
    """The role stops, since the analysis of this radiograph and of the next one needs the GPU, too."""
    done = python(environment, "-c", DRAW)
    assert done.stdout == "kept\n", done.stderr
    done = python(environment | {"CUDA_FAILS": "cuLaunchKernel"}, "-c", DRAW)
    assert (done.returncode, done.stdout) == (1, "")
    assert "KernelError: overlay cannot be launched" in done.stderr


def test_missing_pycuda_is_reported() -> None:
    done = python(dict(os.environ), "-c", f"import sys; sys.modules['pycuda'] = None\n{USE}")
    assert "KernelError: PyCUDA cannot be imported" in done.stderr


def test_kernels_spill_no_register_on_any_architecture(tmp_path: Path) -> None:
    find("nvcc")
    usages = fatbin(tmp_path / "gradcam.fatbin")
    assert {(u.kernel, u.architecture) for u in usages} == {(k, a) for k in KERNELS for a in ARCHITECTURES}
    assert all(0 < u.registers <= 128 and u.spilled_bytes == 0 for u in usages)  # 128: four blocks and more at once
    assert (tmp_path / "gradcam.fatbin").stat().st_size > 0


def test_kernel_that_spills_registers_makes_no_fatbin(tmp_path: Path) -> None:
    find("nvcc")
    tight, out = tmp_path / "tight.cu", tmp_path / "tight.fatbin"
    tight.write_text(SOURCE.read_text().replace("__launch_bounds__(BLOCK)", "__launch_bounds__(BLOCK, 16)"))
    with pytest.raises(KernelError, match=r"spill in .*overlay"):
        fatbin(out, tight)
    assert not out.exists()


def test_source_that_nvcc_refuses_is_reported(tmp_path: Path) -> None:
    find("nvcc")
    broken = tmp_path / "broken.cu"
    broken.write_text("__global__ int no() {}")
    with pytest.raises(KernelError, match="refused"):
        fatbin(tmp_path / "broken.fatbin", broken)
