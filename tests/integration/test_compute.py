"""The choice of hardware and its reason: nvidia-ml-py itself over a scripted NVML."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from appliance.clock import Reading
from appliance.compute import choose_compute
from appliance.errors import Fault
from appliance.gpu import GpuFigures, figures, read_figures, write_figures
from kernels import INSTALL
from tests.support import driver

CHOOSE = """
import dataclasses, json, pathlib, sys
import appliance.compute
appliance.compute.find_spec = lambda name: name  # PyCUDA is built in CI alone
appliance.compute.FATBIN = pathlib.Path(sys.executable)  # and so are the kernels: any existing file
print(json.dumps(dataclasses.asdict(appliance.compute.choose_compute(sys.argv[1], half="half" in sys.argv))))
"""
ASK = "import dataclasses, json, appliance.gpu as g; print(json.dumps(dataclasses.asdict(g.figures())))"


@pytest.fixture(scope="module")
def nvml(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment of a process that finds the scripted NVML."""
    return os.environ | {"LD_LIBRARY_PATH": str(driver.nvml(tmp_path_factory.mktemp("nvml")))}


def run_program(environment: dict[str, str], program: str, *arguments: str) -> Any:
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else done.stderr


@pytest.mark.parametrize("wanted", ["auto", "gpu"])
def test_gpu_that_can_be_used_is_chosen(nvml: dict[str, str], wanted: str) -> None:
    chosen = run_program(nvml, CHOOSE, wanted)
    assert chosen["device"] == "gpu"
    assert chosen["name"].startswith("gpu (NVIDIA GeForce RTX 4090, driver 580.95.05, tensorrt")
    assert chosen["reason"]


@pytest.mark.parametrize(
    ("card", "remedy"),
    [
        ({"NVML_DRIVER": "550.163.01"}, "driver 550.163.01 is too old for CUDA 13: install 580 or newer"),
        ({"NVML_CARDS": "0"}, "finds no GPU"),
        ({"NVML_CAPABILITY": "75"}, "compute capability 7.5: install a card with 8.0 or newer"),
        (
            {"NVML_CAPABILITY": "90"},
            "tensorrt_rtx does not support NVIDIA GeForce RTX 4090 with compute capability 9.0",
        ),
        ({"NVML_FAILS": "nvmlInitWithFlags"}, "driver does not answer"),
        ({"NVML_FAILS": "nvmlDeviceGetName"}, "cannot describe the GPU"),
    ],
)
def test_gpu_that_cannot_be_used_is_refused_with_a_remedy(
    nvml: dict[str, str], card: dict[str, str], remedy: str
) -> None:
    chosen = run_program(nvml | card, CHOOSE, "auto")
    assert chosen["device"] == "cpu"
    assert remedy in chosen["reason"]
    refused = run_program(nvml | card, CHOOSE, "gpu")
    assert "Fault: analyse.compute is gpu, and it cannot be used" in refused
    assert remedy in refused


@pytest.mark.parametrize(
    ("capability", "rtx", "full"),
    [("86", True, True), ("87", False, True), ("103", False, True), ("121", True, True)],
)
def test_card_is_taken_only_where_the_installed_tensorrt_supports_it(
    nvml: dict[str, str], capability: str, rtx: bool, full: bool
) -> None:
    """The full TensorRT, which is taken first, supports more cards than TensorRT-RTX."""
    card = nvml | {"NVML_CAPABILITY": capability}
    chosen = run_program(card, CHOOSE, "auto")
    assert (chosen["device"] == "gpu") is rtx, chosen
    path = os.pathsep.join((str(driver.TENSORRT), str(Path.cwd())))
    chosen = run_program(card | {"PYTHONPATH": path, "TENSORRT_FULL": "1"}, CHOOSE, "auto")
    assert (chosen["device"] == "gpu") is full, chosen
    assert not full or "tensorrt 0" in chosen["name"]


def test_driver_without_a_usable_gpu_needs_attention_and_no_driver_does_not(nvml: dict[str, str]) -> None:
    assert run_program(nvml | {"NVML_CARDS": "0"}, CHOOSE, "auto")["has_unused_gpu"]
    assert not run_program(nvml, CHOOSE, "cpu")["has_unused_gpu"]
    absent = nvml | {"NVML_FAILS": "nvmlInitWithFlags"}
    loaded = CHOOSE.replace("print", "appliance.gpu._KERNEL_MODULE = pathlib.Path('/proc'); print")
    absent_module = CHOOSE.replace("print", "appliance.gpu._KERNEL_MODULE = pathlib.Path('/absent'); print")
    assert run_program(absent, loaded, "auto")["has_unused_gpu"]
    assert not run_program(absent, absent_module, "auto")["has_unused_gpu"]


WATCH = """
import pathlib, sys, time
import appliance.compute
from appliance.compute import choose_compute, on_cpu
from appliance.config import Analyse, Configuration
from appliance.errors import Fault
from appliance.service.gpu_watch import GpuWatch
from functools import partial
appliance.compute.find_spec = lambda name: name
appliance.compute.FATBIN = pathlib.Path(sys.executable)

def ends(trial, wanted="auto"):
    "Return the end of a watch: a fault, or None where its first trial failed or there was none."
    config = Configuration(analyse=Analyse(compute=wanted))
    watch = GpuWatch(config, on_cpu("it failed at the start"), trial, pause_s=0.0)
    try:
        while True:
            watch.check()
            if watch._child is None:
                return None
            watch._child.join()
    except Fault as fault:
        return fault.code
    finally:
        watch.close()

if __name__ == "__main__":
    print(ends(partial(sys.exit, 0)), ends(partial(sys.exit, 1)), ends(partial(sys.exit, 0), "cpu"))
    appliance.compute.FATBIN = pathlib.Path("absent")  # so that no trial is worth its time
    print(ends(partial(sys.exit, 0)))
    import appliance.gpu
    appliance.gpu._KERNEL_MODULE = pathlib.Path("absent")
    watch = GpuWatch(Configuration(analyse=Analyse()), on_cpu("there was no driver"), pause_s=0.0)
    watch.check()
    appliance.gpu._KERNEL_MODULE = pathlib.Path("/proc")  # loaded meanwhile
    try:
        watch.check()
    except Fault as fault:
        print(fault.code)
"""

TRIAL = """
import ctypes, errno, os, pathlib, struct, sys
from appliance.config import Configuration
from appliance.service.gpu_watch import try_gpu
setpriority = {"x86_64": 141, "aarch64": 140}[os.uname().machine]
# as @resources of packaging/systemd/osteon-analyse.service: LD nr; JEQ setpriority; RET errno EPERM; RET allow
program = [(0x20, 0, 0, 0), (0x15, 0, 1, setpriority), (0x06, 0, 0, 0x50000 | errno.EPERM), (0x06, 0, 0, 0x7FFF0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, ctypes.byref(Filter(len(program), ctypes.addressof(code))), 0, 0) == 0  # PR_SET_SECCOMP
try:
    os.nice(1)
except PermissionError:
    try_gpu(Configuration(state_dir=pathlib.Path(sys.argv[1])))
"""


def test_gpu_is_tried_again_and_the_role_starts_again_only_if_that_succeeds(
    nvml: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "watch.py").write_text(WATCH)
    environment = nvml | {"PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, str(tmp_path / "watch.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["gpu_usable", "None", "None", "None", "gpu_usable"], done.stderr


def test_trial_of_the_gpu_runs_where_systemd_denies_its_priority(nvml: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-c", TRIAL, str(tmp_path)]
    done = subprocess.run(command, env=nvml, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("the GPU was tried again: "), done.stderr


def test_cpu_is_chosen_when_configured(nvml: dict[str, str]) -> None:
    chosen = run_program(nvml, CHOOSE, "cpu")
    assert (chosen["device"], chosen["reason"]) == ("cpu", "analyse.compute is cpu")


def test_float16_is_named_on_a_gpu_and_noted_on_a_cpu(nvml: dict[str, str]) -> None:
    assert run_program(nvml, CHOOSE, "auto", "half")["name"].endswith(", float16)")
    assert "float16" not in run_program(nvml, CHOOSE, "auto")["name"]
    for card, wanted in (({}, "cpu"), ({"NVML_CARDS": "0"}, "auto")):
        chosen = run_program(nvml | card, CHOOSE, wanted, "half")
        assert chosen["reason"].endswith("; analyse.precision is float16, which has no effect on a CPU")
        assert "float16" not in chosen["name"]


def test_gpu_without_kernels_names_the_command_that_installs_them(nvml: dict[str, str]) -> None:
    program = CHOOSE.replace("pathlib.Path(sys.executable)", "pathlib.Path('gradcam.fatbin')")
    reason = run_program(nvml, program, "auto")["reason"]
    assert reason == f"no GPU is used: gradcam.fatbin is missing, and the wheel of Osteon has it: run {INSTALL}"


def test_machine_without_a_driver_is_refused_with_a_remedy() -> None:
    try:
        reason = choose_compute("auto").reason
        with pytest.raises(Fault, match="install it"):
            choose_compute("gpu")
    except Fault:
        pytest.skip("not run: this machine has a driver")
    assert figures() == GpuFigures()
    assert "driver does not answer" in reason


def test_figures_are_those_of_nvml(nvml: dict[str, str]) -> None:
    seen = GpuFigures(**run_program(nvml | {"NVML_REASONS": "0x44"}, ASK))
    assert seen == GpuFigures(
        temperature_c=54,
        memory_used_bytes=3_100_000_000,
        memory_total_bytes=25_757_220_864,
        utilisation=0.12,
        throttled="heat",
        ecc_errors=2,
    )
    assert seen.sentence() == "54 °C, 3.1 of 25.8 GB, 12% busy, slowed down by heat, 2 uncorrected memory errors"
    assert GpuFigures(**run_program(nvml | {"NVML_REASONS": "0x1"}, ASK)).throttled == ""  # idle
    assert GpuFigures(**run_program(nvml | {"NVML_REASONS": "0x4"}, ASK)).throttled == "power"


@pytest.mark.parametrize(
    ("function", "unknown"),
    [("nvmlDeviceGetTotalEccErrors", "ecc_errors"), ("nvmlDeviceGetMemoryInfo", "memory_used_bytes")],
)
def test_figure_that_a_card_lacks_is_none(nvml: dict[str, str], function: str, unknown: str) -> None:
    seen = run_program(nvml | {"NVML_FAILS": function}, ASK)
    assert seen[unknown] is None
    assert seen["temperature_c"] == 54


def test_written_figures_are_read_until_they_are_old(tmp_path: Path) -> None:
    then = Reading(at=datetime(2026, 11, 25, 9, tzinfo=UTC), boot_id="a", uptime_s=100)
    seen = GpuFigures(temperature_c=61, utilisation=0.5)
    assert read_figures(tmp_path, then, 15) is None
    write_figures(tmp_path, seen, then)
    assert read_figures(tmp_path, replace(then, uptime_s=115), 15) == seen
    assert read_figures(tmp_path, replace(then, uptime_s=116), 15) is None
    assert read_figures(tmp_path, replace(then, boot_id="b"), 15) is None, "the machine was started since"
    (tmp_path / "gpu.json").write_text("{")
    assert read_figures(tmp_path, then, 15) is None
