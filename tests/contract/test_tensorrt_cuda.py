"""Failures of TensorRT are reported, and its stand-in of test_kernels_cuda.py has TensorRT's own interface."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tensorrt_rtx

from engines.plan import CACHE
from tests.contract.test_kernels_cuda import python
from tests.support import driver
from tests.support.driver.signatures import RECORDED, signatures, stand_in
from tests.support.kernel_cases import fatbin_of_today

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

TWO = """
import pathlib, sys
import numpy as np
import tensorrt as trt
from appliance.preprocessing.recipe import DIGEST
from appliance.service.pipeline_assembly import SHIPPED
from engines.build import build_plans
from engines.pack import read_pack
from engines.tensorrt_runner import TensorRtRunner
from kernels.device import Gpu
pack = read_pack(SHIPPED / "phantom", DIGEST)
plans = [built.file for built in build_plans(pack, sys.argv[2], pathlib.Path(sys.argv[1]))]
with Gpu() as gpu:
    runners = [TensorRtRunner(plan, gpu) for plan in plans[1:3]]
    for change in ("set_input_shape", "set_tensor_address", "set_device_memory"):
        setattr(trt.IExecutionContext, change, None)  # after loading nothing is bound anew: a graph would be captured
    for count in (1, 5, 2, 16, 3, 1):
        for runner in runners:
            regions = np.full((count, 1, 256, 256), 100, np.float32)
            print(*np.unique(runner.run({"region": regions})["logit"].round(3)))
    print(len({c.scratch for runner in runners for c in runner._contexts.values()}), "scratch")
"""

AGAIN = """
import os, pathlib, resource, sys
from appliance.config import Analyse, Configuration
from appliance.service.pipeline_assembly import on_gpu, packs_of
from engines.build import networks
from engines.plan import CACHE, PlanError
from engines.runner import RunnerError
config = Configuration(state_dir=pathlib.Path(sys.argv[1]), analyse=Analyse(pack="phantom"))
packs, said = packs_of(config), []
hardware = on_gpu(config, packs, "cpu", pathlib.Path(sys.argv[2]), said.append)
first, second, third, fourth, *_ = networks(packs[0]).values()
plans = {plan: plan.read_bytes() for plan in config.plans_dir.glob("*.plan")}

def loaded(file):
    "Print the end of loading, the number of rebuilds, of whole plans, and of caches."
    said.clear()
    try:
        hardware.runner_of(file)
        end = "loaded"
    except (PlanError, RunnerError) as error:
        end = f"{type(error).__name__}: {error}"
    whole = sum(plan.exists() and plan.read_bytes() == content for plan, content in plans.items())
    print(f"{end}|{sum(n.startswith('looking') for n in said)}|{whole}|{len(list(config.plans_dir.glob('*' + CACHE)))}")

for plan in plans:
    plan.write_bytes(b"of another card")
loaded(first)  # only the plan that is asked for is built again
loaded(second)
os.environ["TENSORRT_FAILS"] = "deserialize_cuda_engine"
loaded(third)
os.environ["TENSORRT_FAILS"] = "serialize"
loaded(third)
del os.environ["TENSORRT_FAILS"]
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (4, hard))  # every disk is full
loaded(fourth)
for plan, content in plans.items():
    if not plan.exists():
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        plan.write_bytes(content)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4, hard))
loaded(fourth)
print(*{p.suffix for p in config.plans_dir.iterdir()} - {".plan", CACHE}, "no other file")
"""

STATIC = """
import pathlib, sys
import tensorrt as trt
from engines.plan import build_plan
from engines.plan import load_tensorrt
plan = build_plan(pathlib.Path("engines/packs/phantom/wrist.onnx").read_bytes(), sys.argv[2])
engine = trt.Runtime(trt.Logger(1)).deserialize_cuda_engine(plan)
config = engine.create_runtime_config()
print(engine.create_execution_context(config))
config.set_execution_context_allocation_strategy(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
context = engine.create_execution_context(config)
print(context.execute_async_v3(0))
"""
ONLY_RTX = {"ComputeCapability", "CudaGraphStrategy", "DynamicShapesKernelSpecializationStrategy"}
ONE_REGION_BYTES = 4 * 256 * 256


def recorded() -> set[str]:
    return set(RECORDED.read_text().splitlines())


def ran(
    environment: dict[str, str], folder: Path, target: str = "sm89", program: str = RUN, **more: str
) -> subprocess.CompletedProcess[str]:
    return python(environment | more, "-c", program, str(folder), target)


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


@pytest.mark.parametrize(("target", "more"), [("sm89", {}), ("here", {"TENSORRT_FULL": "1"})], ids=["rtx", "full"])
def test_engines_share_scratch_memory_and_bind_each_batch_once(
    environment: dict[str, str], tmp_path: Path, target: str, more: dict[str, str]
) -> None:
    done = ran(environment, tmp_path, target, TWO, **more)
    assert done.returncode == 0, done.stderr
    *logits, scratch = done.stdout.splitlines()
    assert scratch == "1 scratch"
    assert len(set(logits[0::2])) == len(set(logits[1::2])) == 1, "the same answer in every batch"
    assert logits[0] != logits[1]
    assert any(tmp_path.glob(f"*{CACHE}")) is not bool(more), "only TensorRT-RTX compiles on this machine"


def test_plan_that_cannot_be_loaded_is_built_again_once(environment: dict[str, str], tmp_path: Path) -> None:
    """A full disk costs the compiled code, or the GPU for want of a plan, and raises nothing that ends the role."""
    done = python(environment, "-c", AGAIN, str(tmp_path), str(fatbin_of_today(tmp_path)))
    assert done.returncode == 0, done.stderr
    first, second, refused, uncompiled, full, kept, others = done.stdout.splitlines()
    assert (first, second) == ("loaded|1|1|1", "loaded|1|2|2")
    assert re.fullmatch(r"PlanRefused: tensorrt 0 cannot load the plan .*\|1\|3\|2", refused)
    assert uncompiled == "loaded|0|3|2"
    assert "gives no compiled code" in done.stderr
    assert re.fullmatch(r"PlanError: \w+: the plan cannot be kept in .*: File too large\|1\|3\|2", full)
    assert kept == "loaded|0|4|2"
    assert re.search(r"\.cache cannot be kept \(File too large\)", done.stderr)
    assert others == "no other file"


def test_stand_in_refuses_static_memory_and_a_run_without_scratch(environment: dict[str, str], tmp_path: Path) -> None:
    """TensorRT-RTX 1.7 does so for a plan that was built to be captured into a CUDA graph."""
    done = ran(environment, tmp_path, program=STATIC)
    assert done.stdout.split() == ["None", "False"], done.stderr


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
        ({"TENSORRT_FAILS": "create_execution_context"}, "gets no execution context"),
        ({"CUDA_ROOM": "500"}, "scratch memory finds no room on the GPU"),
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
        r"^(engines\.(runner\.Runner|tensorrt_runner\.PlanRefused|plan\.Plan)|kernels\.operations\.Kernel)(Error)?: ",
        done.stderr,
        re.MULTILINE,
    ), done.stderr


def test_tensorrt_rtx_without_a_gpu_is_an_error(environment: dict[str, str], tmp_path: Path) -> None:
    """It returns None and raises nothing."""
    path = os.pathsep.join(p for p in environment["PYTHONPATH"].split(os.pathsep) if p != str(driver.TENSORRT))
    done = ran(environment | {"PYTHONPATH": path}, tmp_path, "sm89")
    assert "PlanRefused: tensorrt_rtx" in done.stderr
    assert "cannot load the plan" in done.stderr


@pytest.mark.parametrize("full", [False, True], ids=["tensorrt_rtx", "tensorrt"])
def test_stand_in_has_the_functions_and_parameters_of_tensorrt(full: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every class, function, property and constant that the runner can meet, with the parameters' names in order."""
    if full:
        monkeypatch.setenv("TENSORRT_FULL", "1")
    ours = stand_in()
    assert ("ComputeCapability" in ours) is not full
    assert {"Runtime", "ICudaEngine", "IExecutionContext", "IRuntimeConfig"} <= ours.keys()
    theirs = recorded() if full else signatures({name: getattr(tensorrt_rtx, name) for name in ours})
    missing = [
        mine for mine in signatures(ours) if not any(line == mine or line.startswith(f"{mine} ") for line in theirs)
    ]
    assert missing == []


def test_recorded_signatures_are_those_of_the_vendor() -> None:
    """The same program, run on the installed tensorrt_rtx, finds there what it found in tensorrt."""
    names = {line.partition(" ")[0].partition(".")[0] for line in recorded()}
    installed = signatures({name: getattr(tensorrt_rtx, name) for name in names})
    assert len(recorded() & installed) > 250


@pytest.mark.parametrize("module", ["engines.tensorrt_runner", "engines.plan"])
def test_names_that_the_code_uses_exist_in_tensorrt(module: str) -> None:
    """Every name of the vendor's module in our code; those that only RTX has stand behind a question."""
    text = Path(sys.modules[module].__file__ or "").read_text()
    used = re.findall(r"\btrt\.([A-Z]\w+(?:\.\w+)*)", text)
    assert used
    for path in used:
        found = tensorrt_rtx
        for step in path.split("."):
            found = getattr(found, step)
        assert path in recorded() or path.partition(".")[0] in ONLY_RTX or path == "Logger.ERROR", path
