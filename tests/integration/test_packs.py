"""The packs that ship: complete, checked, and reproducing their golden outputs."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import engines.packs
from appliance.domain.identifiers import Site
from appliance.preprocessing.recipe import DIGEST
from engines.goldens import check_goldens
from engines.onnxruntime_runner import OnnxRuntimeRunner
from engines.pack import PackError, read_pack
from engines.runner import RunnerError, worst_difference

PACKS = Path(engines.packs.__file__).parent
NAMES = ("phantom", "fracatlas")


@pytest.mark.parametrize("name", NAMES)
def test_a_pack_reproduces_its_goldens(name: str) -> None:
    pack = read_pack(PACKS / name, DIGEST)
    worst = check_goldens(pack, OnnxRuntimeRunner)
    assert worst.keys() == {"localiser", *pack.classifiers}


@pytest.mark.parametrize("name", NAMES)
def test_a_pack_names_sites_data_and_performance(name: str) -> None:
    pack = read_pack(PACKS / name, DIGEST)
    assert {*pack.localiser.sites, *pack.classifiers} <= {s.value for s in Site}
    assert pack.is_synthetic == (name == "phantom")
    assert pack.data["licence"]
    for spec in pack.classifiers.values():
        low, high = spec.performance["auroc"][1:]
        assert 0 <= low < high <= 1 and spec.performance["n"] > spec.performance["positives"] > 0
    card = (PACKS / name / "README.md").read_text()
    assert ("SYNTHETIC" in card) == pack.is_synthetic
    assert "not a medical device" in card or pack.is_synthetic


def test_a_batch_is_its_members_one_by_one() -> None:
    runner = OnnxRuntimeRunner(read_pack(PACKS / "phantom", DIGEST).classifiers["wrist"].file)
    regions = np.random.default_rng(0).uniform(0, 255, (3, 1, 256, 256)).astype(np.float32)
    together = runner.run({"region": regions})
    for k in range(3):
        alone = runner.run({"region": regions[k : k + 1]})
        for name, value in alone.items():
            assert worst_difference(value, together[name][k : k + 1]) < 1e-5, name


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (np.zeros((1, 1, 256, 256), np.float64), "wanted float32"),
        (np.zeros((1, 256, 256), np.float32), "wanted float32"),
        (np.zeros((1, 1, 255, 256), np.float32), "wanted float32"),
        (np.full((1, 1, 256, 256), np.nan, np.float32), "not finite"),
    ],
)
def test_the_runner_refuses_what_it_cannot_serve(tensor: np.ndarray, message: str) -> None:
    runner = OnnxRuntimeRunner(read_pack(PACKS / "phantom", DIGEST).classifiers["wrist"].file)
    with pytest.raises(RunnerError, match=message):
        runner.run({"region": tensor})


def test_another_preprocessing_or_a_missing_digest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="trained on preprocessing"):
        read_pack(PACKS / "phantom", "another")
    shutil.copytree(PACKS / "phantom", tmp_path / "pack")
    manifest = tmp_path / "pack" / "pack.toml"
    lines = [line for line in manifest.read_text().splitlines() if not line.startswith('"wrist.onnx"')]
    manifest.write_text("\n".join(lines))
    with pytest.raises(PackError, match=r"no digest for wrist\.onnx"):
        read_pack(tmp_path / "pack", DIGEST)
