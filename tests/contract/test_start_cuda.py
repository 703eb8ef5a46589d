"""What becomes of a box whose GPU lets it down at start: tests.support.driver stands in for all of it but DALI's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.contract.test_kernels_cuda import environment, python
from tests.support.kernel_cases import fatbin_of_today

__all__ = ["environment"]

START = """
import dataclasses, json, pathlib, sys
import appliance.compute, appliance.service.engines as engines
from appliance.config import Analyse, Configuration
from appliance.service.log import set_up_logging
set_up_logging()
state, fatbin, wanted = sys.argv[1:]
appliance.compute.FATBIN = pathlib.Path(fatbin)
config = Configuration(state_dir=pathlib.Path(state), analyse=Analyse(pack="phantom", compute=wanted))
pipeline = engines.pipeline_of(config)
print(json.dumps(dataclasses.asdict(pipeline.compute) | {"stamped": pipeline.provenance.compute}))
"""


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Any:
    def started(wanted: str, **more: str) -> Any:
        fatbin = fatbin_of_today(tmp_path)
        return python(environment | more, "-c", START, str(tmp_path), str(fatbin), wanted)

    return started


def test_auto_takes_the_cpu_and_says_why(start: Any) -> None:
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


def test_one_that_must_have_a_gpu_does_not_start(start: Any) -> None:
    done = start("gpu")
    assert done.returncode == 1
    assert "appliance.errors.Fault: gpu (NVIDIA GeForce RTX 4090" in done.stderr
    assert "[gpu_failed]" in done.stderr


def test_an_old_driver_is_said_before_anything_is_built(start: Any, tmp_path: Path) -> None:
    done = start("gpu", NVML_DRIVER="570.86.15")
    assert "install 580 or newer" in done.stderr
    assert "[no_gpu]" in done.stderr
    assert not (tmp_path / "plans").exists()


def test_the_cpu_asks_no_driver(start: Any) -> None:
    done = start("cpu", CUDA_FAILS="cuInit", NVML_FAILS="nvmlInitWithFlags")
    assert json.loads(done.stdout)["reason"] == "analyse.compute is cpu"


def test_the_benchmark_runs_and_says_that_it_measured_no_gpu(environment: dict[str, str]) -> None:
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
