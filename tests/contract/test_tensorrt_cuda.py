"""Failures of TensorRT are reported, and its stand-in of test_kernels_cuda.py has TensorRT's own interface."""

from __future__ import annotations

import inspect
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import tensorrt_rtx

from engines.tensorrt_runner import CACHE
from tests.contract.test_kernels_cuda import python
from tests.support import driver

RUN = """
import pathlib, sys
import numpy as np
from appliance.preprocessing.recipe import DIGEST
from appliance.service.pipeline_assembly import SHIPPED
from engines.build import build_plans
from engines.pack import read_pack
from engines.tensorrt_runner import TensorRtRunner
from kernels.device import Gpu
pack = read_pack(SHIPPED / "phantom", DIGEST)
plan = list(build_plans(pack, sys.argv[2], pathlib.Path(sys.argv[1])))[1].file
with Gpu() as gpu:
    runner = TensorRtRunner(plan, gpu)
    made = runner.run({"region": np.zeros((5, 1, 256, 256), np.float32)})
    print(runner.most, len(made["logit"]), plan)
"""
ONE_REGION_BYTES = 4 * 256 * 256


def ran(
    environment: dict[str, str], folder: Path, target: str = "here", **more: str
) -> subprocess.CompletedProcess[str]:
    return python(environment | more, "-c", RUN, str(folder), target)


def test_compiled_code_is_kept_beside_the_plan(environment: dict[str, str], tmp_path: Path) -> None:
    done = ran(environment, tmp_path)
    assert done.returncode == 0, done.stderr
    most, count, plan = done.stdout.split()
    assert (most, count) == ("16", "5")
    cache = Path(plan).with_suffix(CACHE)
    compiled = cache.read_bytes()
    assert compiled
    cache.write_bytes(b"of another version")
    assert ran(environment, tmp_path).returncode == 0
    assert cache.read_bytes() == compiled


@pytest.mark.parametrize(("room", "most"), [(16, 16), (15, 8), (4, 4), (1, 1)])
def test_short_memory_makes_batches_smaller(environment: dict[str, str], tmp_path: Path, room: int, most: int) -> None:
    done = ran(environment, tmp_path, CUDA_ROOM=str(room * ONE_REGION_BYTES))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:2] == [str(most), "5"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"CUDA_ROOM": "1000"}, "region finds no room on the GPU: cuMemAlloc failed"),
        ({"CUDA_FAILS": "cuMemcpyHtoDAsync_v2"}, "region cannot be copied to the GPU"),
        ({"CUDA_FAILS": "cuStreamSynchronize"}, "the GPU failed"),
        ({"TENSORRT_FAILS": "deserialize_cuda_engine"}, "cannot load the plan"),
        ({"TENSORRT_FAILS": "create_execution_context"}, "finds no memory to run"),
        ({"TENSORRT_FAILS": "execute_async_v3"}, "cannot be run: see TensorRT's message in the log"),
        ({"TENSORRT_FAILS": "get_tensor_dtype"}, "are not float32"),
        ({"TENSORRT_FAILS": "build_serialized_network"}, "PlanError: localiser: tensorrt cannot build the network"),
        ({"TENSORRT_FAILS": "parse"}, "does not take the network: the parser's own words"),
    ],
    ids=str,
)
def test_failure_of_tensorrt_is_reported(
    environment: dict[str, str], tmp_path: Path, more: dict[str, str], said: str
) -> None:
    done = ran(environment, tmp_path, **more)
    assert done.returncode == 1
    assert said in done.stderr
    assert re.search(
        r"^engines\.(runner\.Runner|plan\.Plan)Error: |^kernels\.operations\.KernelError: ", done.stderr, re.MULTILINE
    ), done.stderr


def test_tensorrt_rtx_without_a_gpu_is_an_error(environment: dict[str, str], tmp_path: Path) -> None:
    """It returns None and raises nothing."""
    path = os.pathsep.join(p for p in environment["PYTHONPATH"].split(os.pathsep) if p != str(driver.TENSORRT))
    done = ran(environment | {"PYTHONPATH": path}, tmp_path, "sm89")
    assert "RunnerError: tensorrt_rtx" in done.stderr
    assert "cannot load the plan" in done.stderr


def test_stand_in_has_the_interface_of_tensorrt() -> None:
    """Every class, function and property that the runner can meet is one of TensorRT-RTX's."""
    ours = runpy.run_path(str(driver.TENSORRT / "tensorrt.py"))
    classes = {n: c for n, c in ours.items() if inspect.isclass(c) and c.__module__ == "<run_path>"}
    assert {"Runtime", "ICudaEngine", "IExecutionContext", "IRuntimeCache"} <= classes.keys()
    for name, ours_is in classes.items():
        theirs = getattr(tensorrt_rtx, name)
        for member, defined in vars(ours_is).items():
            if member.startswith("_") or not (callable(defined) or isinstance(defined, property)):
                continue
            assert hasattr(theirs, member), f"{name}.{member}"
            if inspect.isfunction(defined):
                for parameter in list(inspect.signature(defined).parameters)[1:]:
                    assert re.search(rf"\b{parameter}: ", getattr(theirs, member).__doc__), f"{name}.{member}"


def test_names_that_the_runner_uses_exist_in_tensorrt() -> None:
    """Every name is looked up in the vendor's own module, also those that the stand-in lacks."""
    text = Path(sys.modules["engines.tensorrt_runner"].__file__ or "").read_text()
    for path in re.findall(r"\btrt\.([A-Z]\w+(?:\.\w+)*)", text):
        found = tensorrt_rtx
        for step in path.split("."):
            found = getattr(found, step)
