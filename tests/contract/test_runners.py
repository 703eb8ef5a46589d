"""The `Runner` interface: the same assertions for ONNX Runtime, which is the definition, and for TensorRT on a GPU.

``--backends=reference,cuda`` chooses; a back end that is named and cannot start fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from appliance.preprocessing.recipe import DIGEST
from appliance.service.pipeline_assembly import SHIPPED
from engines.build import build_plans, networks
from engines.goldens import check_goldens
from engines.onnxruntime_runner import OnnxRuntimeRunner
from engines.pack import read_pack
from engines.runner import Runner, RunnerError, Tensors, worst_difference
from engines.tensorrt_runner import TensorRtRunner
from kernels.device import Gpu

BACKENDS = {"reference": ["reference"], "host": [], "cuda": ["cuda"]}
PACK = read_pack(SHIPPED / "phantom", DIGEST)
RunnerOf = Callable[[Path], Runner]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "runner_of" in metafunc.fixturenames:
        named = metafunc.config.getoption("--backends").split(",")
        metafunc.parametrize("runner_of", [b for n in named for b in BACKENDS[n]], indirect=True, scope="module")


@pytest.fixture(scope="module")
def runner_of(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerOf]:
    if request.param == "reference":
        yield OnnxRuntimeRunner
        return
    plans = {b.onnx: b.file for b in build_plans(PACK, "here", tmp_path_factory.mktemp("plans"))}
    with Gpu() as gpu:
        yield lambda file: TensorRtRunner(plans[file], gpu, largest_batch=4)


@pytest.fixture(scope="module")
def site() -> str:
    return next(iter(PACK.classifiers))


def regions(count: int) -> Tensors:
    noise = np.random.default_rng(count).uniform(0, 255, (count, 1, 256, 256))
    return {"region": noise.astype(np.float32)}


@pytest.mark.proves("MIS-4")
@pytest.mark.proves("SAF-18")
def test_runner_reproduces_the_golden_outputs(runner_of: RunnerOf) -> None:
    worst = check_goldens(PACK, runner_of)
    print(worst)
    assert list(worst) == list(networks(PACK))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 11])
@pytest.mark.proves("SAF-17")
def test_batch_of_any_size_gives_the_outputs_of_each_region(runner_of: RunnerOf, site: str, count: int) -> None:
    runner, given = runner_of(PACK.classifiers[site].file), regions(count)
    expected = OnnxRuntimeRunner(PACK.classifiers[site].file).run(given)
    together = runner.run(given)
    assert together.keys() == expected.keys()
    for name in expected:
        assert together[name].dtype == np.float32
        assert worst_difference(expected[name], together[name]) < 1e-3
        alone = runner.run({"region": given["region"][-1:]})[name]
        assert worst_difference(alone, together[name][-1:]) < 1e-3


def test_infer_yields_the_parts_in_order(runner_of: RunnerOf, site: str) -> None:
    runner, given = runner_of(PACK.classifiers[site].file), regions(7)
    seen = [np.asarray(part["logit"]).copy() for part in runner.infer(given)]
    assert [len(part) for part in seen] == ([4, 3] if runner.most == 4 else [7])
    np.testing.assert_array_equal(np.concatenate(seen), runner.run(given)["logit"])


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"other": np.zeros((1, 1, 256, 256), np.float32)},
        {"region": np.zeros((1, 1, 256, 256), np.float64)},
        {"region": np.zeros((1, 1, 255, 256), np.float32)},
        {"region": np.zeros((1, 256, 256), np.float32)},
    ],
)
def test_wrong_tensors_are_refused(runner_of: RunnerOf, site: str, given: Tensors) -> None:
    with pytest.raises(RunnerError, match="region"):
        runner_of(PACK.classifiers[site].file).run(given)


def test_nan_is_refused(runner_of: RunnerOf, site: str) -> None:
    with pytest.raises(RunnerError, match="not finite"):
        runner_of(PACK.classifiers[site].file).run({"region": np.full((1, 1, 256, 256), np.nan, np.float32)})


def test_two_engines_have_separate_memory(runner_of: RunnerOf) -> None:
    first, second = (runner_of(c.file) for c in list(PACK.classifiers.values())[:2])
    given = regions(2)
    parts = list(first.infer(given))
    second.run(regions(3))
    np.testing.assert_array_equal(np.asarray(parts[0]["logit"]), first.run(given)["logit"])
