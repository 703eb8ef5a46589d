"""Start on a box with an unusable GPU; tests.support.driver stands in for all but DALI's part."""

from __future__ import annotations

import json
import socket
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from appliance.preprocessing.recipe import DIGEST
from appliance.service.pipeline_assembly import SHIPPED
from engines.build import networks
from engines.pack import read_pack
from tests.contract.test_kernels_cuda import python
from tests.support.kernel_cases import fatbin_of_today
from tests.support.peers import find

START = """
import ctypes, dataclasses, functools, json, pathlib, sys
import appliance.compute, appliance.service.pipeline_assembly as engines
from appliance.config import Analyse, Configuration
from appliance.service.log import set_up_logging
set_up_logging()
state, fatbin, wanted, precision = sys.argv[1:]
appliance.compute.FATBIN = pathlib.Path(fatbin)
analyse = Analyse(pack="phantom", compute=wanted.split()[0], precision=precision)
config = Configuration(state_dir=pathlib.Path(state), analyse=analyse)
if wanted == "auto without DALI":
    engines.on_gpu = functools.partial(engines.on_gpu, device="cpu", fatbin=pathlib.Path(fatbin))
workbench = engines.assemble_workbench(config)
more = {"stamped": workbench.pipeline.provenance.compute, "left": ctypes.CDLL("libcuda.so.1").allocated_pieces()}
print(json.dumps(dataclasses.asdict(workbench.compute) | more))
"""


ROLE = """
import pathlib, sys
import appliance.compute
from appliance.config import Analyse, Configuration
from appliance.service.roles.analyse import AnalyseRole
from appliance.storage.database import open_database
appliance.compute.FATBIN = pathlib.Path(sys.argv[2])
config = Configuration(state_dir=pathlib.Path(sys.argv[1]), analyse=Analyse(pack="phantom"))
if __name__ == "__main__":
    AnalyseRole(config, open_database(config.database)).close()
"""

LOAD = """
import pathlib, sys
from appliance.config import Analyse, Configuration
from appliance.service.pipeline_assembly import on_gpu, packs_of
from appliance.service.systemd_notify import start_notifier
from engines.goldens import check_goldens
config = Configuration(state_dir=pathlib.Path(sys.argv[1]), analyse=Analyse(pack="phantom"))
packs = packs_of(config)
hardware = on_gpu(config, packs, "cpu", pathlib.Path(sys.argv[2]), start_notifier())
check_goldens(packs[0], hardware.runner_of)
hardware.runner_of(packs[0].localiser.file)
"""


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Any:
    def started(wanted: str, precision: str = "float32", **more: str) -> Any:
        fatbin = fatbin_of_today(tmp_path)
        return python(environment | more, "-c", START, str(tmp_path), str(fatbin), wanted, precision)

    return started


@pytest.mark.proves("MIS-8")
def test_auto_without_a_usable_gpu_takes_the_cpu_with_the_reason(start: Any) -> None:
    """Here it is DALI that finds no GPU behind the driver."""
    done = start("auto")
    assert done.returncode == 0, done.stderr
    chosen = json.loads(done.stdout)
    assert chosen["device"] == "cpu"
    assert chosen["stamped"] == chosen["name"]
    assert chosen["reason"].startswith(
        "gpu (NVIDIA GeForce RTX 4090, driver 580.95.05, tensorrt 0) was tried at start: "
    )
    assert "DALI cannot use the gpu" in chosen["reason"]
    assert chosen["reason"] in done.stderr
    assert (chosen["has_unused_gpu"], chosen["left"]) == (True, 0)


@pytest.mark.parametrize("failing", ["", "execute_async_v3", "deserialize_cuda_engine"])
def test_gpu_whose_engines_fail_at_the_start_is_given_back(start: Any, failing: str) -> None:
    done = start("auto without DALI", TENSORRT_FAILS=failing)
    assert done.returncode == 0, done.stderr
    chosen = json.loads(done.stdout)
    assert (chosen["device"], chosen["left"] == 0) == (("cpu", True) if failing else ("gpu", False))


def test_float16_has_no_effect_on_the_cpu(start: Any) -> None:
    chosen = json.loads(start("auto", "float16").stdout)
    assert "tensorrt 0, float16) was tried at start: " in chosen["reason"]
    assert chosen["reason"].endswith("float16, which has no effect on a CPU")
    assert "float16" not in chosen["stamped"]


def told(environment: dict[str, str], program: str, folder: Path) -> list[str]:
    """Return the messages that systemd's own library sends to the notify socket, in order."""
    said: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(folder / "notify"))

        def listen() -> None:
            while message := listening.recv(4096):
                said.append(message.decode())

        listener = threading.Thread(target=listen)
        listener.start()
        try:
            more = {"NOTIFY_SOCKET": str(folder / "notify")}
            done = python(environment | more, "-c", program, str(folder), str(fatbin_of_today(folder)))
        finally:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
                end.sendto(b"", str(folder / "notify"))
            listener.join()
    assert done.returncode == 0, done.stderr
    return said


@pytest.mark.parametrize("program", [ROLE, LOAD], ids=["role", "load"])
def test_first_start_extends_its_timeout_at_every_step(
    environment: dict[str, str], program: str, tmp_path: Path
) -> None:
    """Seven networks: each is built, then loaded; the role itself gets no further than DALI here, and takes the CPU."""
    if find_spec("systemd") is None:
        find("systemd-python")
    said = told(environment, program, tmp_path)
    assert all(message.startswith("EXTEND_TIMEOUT_USEC=600000000\nSTATUS=starting: ") for message in said), said
    steps = [message.partition(": ")[2] for message in said]
    expected = ["looking for 7 plans, building those that are missing"]
    expected += [f"{n} of 7 plans are ready" for n in range(1, 8)]
    assert steps[:8] == expected
    loaded = [] if program is ROLE else list(networks(read_pack(SHIPPED / "phantom", DIGEST)))
    assert [step.split()[2] for step in steps[8:]] == loaded


@pytest.mark.proves("MIS-8")
def test_gpu_without_a_usable_gpu_does_not_start(start: Any) -> None:
    done = start("gpu")
    assert done.returncode == 1
    assert "appliance.errors.Fault: gpu (NVIDIA GeForce RTX 4090" in done.stderr
    assert "[gpu_failed]" in done.stderr


def test_old_driver_is_reported_before_plans_are_built(start: Any, tmp_path: Path) -> None:
    done = start("gpu", NVML_DRIVER="570.86.15")
    assert "install 580 or newer" in done.stderr
    assert "[no_gpu]" in done.stderr
    assert not (tmp_path / "plans").exists()


def test_cpu_does_not_call_the_driver(start: Any) -> None:
    done = start("cpu", CUDA_FAILS="cuInit", NVML_FAILS="nvmlInitWithFlags")
    assert json.loads(done.stdout)["reason"] == "analyse.compute is cpu"


@pytest.mark.release  # a minute and a half, and no part of the appliance
def test_benchmark_on_the_stand_in_says_that_it_measured_no_gpu(environment: dict[str, str]) -> None:
    done = python(environment, "-m", "tests.benchmarks.gpu", "--pack", "phantom", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("NO GPU: tests.support.driver stands in, and every figure is meaningless")
    for said in (
        "GPU, ",
        "CPU, ",
        "16 radiographs of 10 megapixels",
        "overlay, up and down again",
        "copy ",
        "combine ",
        "PyTorch with pytorch-grad-cam: not run",
    ):
        assert said in done.stdout
