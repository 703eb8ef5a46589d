"""Every network of the packs that ship becomes a plan for the RTX 4090, on a machine without one."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import engines.plan
from appliance.preprocessing.recipe import DIGEST
from appliance.service.pipeline_assembly import SHIPPED
from engines.build import build_plans, networks
from engines.half import convert_to_half
from engines.onnxruntime_runner import OnnxRuntimeRunner
from engines.pack import Pack, read_pack
from engines.plan import PlanError, build_plan, plan_key
from engines.runner import worst_difference

NAMES = ("phantom", "fracatlas")
MAGIC, SM89 = b"vtrt", 0x08
"""How a plan of TensorRT-RTX 1.7 begins, and the bit in its 33rd byte: undocumented, seen in plans of each target."""


@pytest.fixture(scope="module", params=NAMES)
def pack(request: pytest.FixtureRequest) -> Pack:
    return read_pack(SHIPPED / request.param, DIGEST)


@pytest.mark.parametrize("half", [False, True])
def test_plans_of_every_network_are_built_without_a_gpu(pack: Pack, tmp_path: Path, half: bool) -> None:
    built = list(build_plans(pack, "sm89", tmp_path, half=half))
    assert [b.network for b in built] == list(networks(pack))
    for plan in built:
        header = plan.file.read_bytes()[:64]
        assert header.startswith(MAGIC)
        assert header[32] == SM89
        assert not plan.was_there
    assert {file.suffix for file in tmp_path.iterdir()} == {".plan"}


def test_plan_is_built_once_per_target_and_network(tmp_path: Path) -> None:
    pack = read_pack(SHIPPED / "phantom", DIGEST)
    first = list(build_plans(pack, "sm89", tmp_path))
    again = list(build_plans(pack, "sm89", tmp_path))
    assert all(b.was_there for b in again)
    assert [b.file for b in again] == [b.file for b in first]
    half = list(build_plans(pack, "sm89", tmp_path, half=True))
    assert [b.was_there for b in half] == [True, *[False] * len(pack.classifiers)], "the localiser stays in float32"
    files = [file.read_bytes() for file in networks(pack).values()]
    assert len({plan_key(f, t) for f in files for t in ("sm89", "sm120")}) == 2 * len(files)


@pytest.mark.parametrize(("setting", "value"), [("LARGEST_BATCH", 8), ("SET_FLAGS", ()), ("CLEARED_FLAGS", ())])
def test_plan_of_other_settings_has_another_name(monkeypatch: pytest.MonkeyPatch, setting: str, value: object) -> None:
    before = plan_key(b"model", "sm89")
    monkeypatch.setattr(engines.plan, setting, value)
    assert plan_key(b"model", "sm89") != before


def test_plan_for_this_machine_alone_is_named_by_card_and_driver() -> None:
    keys = {plan_key(b"model", "here", machine) for machine in ("RTX 4090, 580", "RTX 4090, 590", "RTX 5090, 580")}
    assert len(keys) == 3
    assert plan_key(b"model", "sm89", "RTX 4090, 580") == plan_key(b"model", "sm89"), (
        "it is built on other machines, too"
    )


def test_plan_that_the_disk_does_not_keep_is_an_error_with_the_folder(tmp_path: Path) -> None:
    (tmp_path / "plans").write_bytes(b"a file, not a folder")
    with pytest.raises(PlanError, match=r"localiser: the plan cannot be kept in .*plans: File exists"):
        list(build_plans(read_pack(SHIPPED / "phantom", DIGEST), "sm89", tmp_path / "plans"))


def test_plan_of_an_unknown_operator_or_target_is_refused(tmp_path: Path) -> None:
    strange = tmp_path / "strange.onnx"
    node = helper.make_node("NoSuchOperator", ["x"], ["y"], domain="nowhere")
    tensors = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["b", 3]) for n in ("x", "y")]
    graph = helper.make_graph([node], "g", tensors[:1], tensors[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("nowhere", 1)]), strange)
    with pytest.raises(PlanError, match="does not take"):
        build_plan(strange.read_bytes(), "sm89")
    pack = read_pack(SHIPPED / "phantom", DIGEST)
    with pytest.raises(PlanError, match=r"localiser: .*sm90"):
        list(build_plans(pack, "sm90", tmp_path))


def test_network_in_float16_gives_the_same_answers(pack: Pack, tmp_path: Path) -> None:
    """On the golden inputs and on noise: probabilities within 2e-3, the same answer away from the thresholds."""
    noise = np.random.default_rng(5).uniform(0, 255, (3, 1, 256, 256)).astype(np.float32)
    for spec in pack.classifiers.values():
        onnx.save(convert_to_half(onnx.load(spec.file)), tmp_path / "half.onnx")
        full, half = OnnxRuntimeRunner(spec.file), OnnxRuntimeRunner(tmp_path / "half.onnx")
        assert (half.inputs, half.outputs) == (full.inputs, full.outputs)
        golden = pack.goldens()[f"{spec.file.stem}/region"]
        for regions in (golden, noise):
            before, after = full.run({"region": regions}), half.run({"region": regions})
            for a, b in zip(before["logit"], after["logit"], strict=True):
                assert abs(spec.probability(float(a)) - spec.probability(float(b))) < 2e-3
            assert worst_difference(before["activations"], after["activations"]) < 0.01
            assert worst_difference(before["gradients"], after["gradients"]) < 0.05
