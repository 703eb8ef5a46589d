"""The packs that ship: complete, checked, and reproducing their golden outputs."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

import engines.packs
from appliance.domain.identifiers import Site
from appliance.preprocessing.recipe import DIGEST
from engines.goldens import HALF_TOLERANCE, check_goldens
from engines.half import convert_to_half
from engines.onnxruntime_runner import OnnxRuntimeRunner
from engines.pack import Pack, PackError, read_pack
from engines.runner import Runner, RunnerError, Tensors, worst_difference

PACKS = Path(engines.packs.__file__).parent
NAMES = ("phantom", "fracatlas")


@pytest.mark.parametrize("name", NAMES)
def test_shipped_pack_reproduces_its_goldens(name: str) -> None:
    pack = read_pack(PACKS / name, DIGEST)
    worst = check_goldens(pack, OnnxRuntimeRunner)
    assert worst.keys() == {pack.localiser.file.stem, *(c.file.stem for c in pack.classifiers.values())}


@pytest.fixture(scope="module", params=NAMES)
def in_float16(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Pack, dict[Path, Runner]]:
    """A pack, and its networks as they compute with ``analyse.precision = "float16"``."""
    pack = read_pack(PACKS / request.param, DIGEST)
    made: dict[Path, Runner] = {pack.localiser.file: OnnxRuntimeRunner(pack.localiser.file)}
    for file in (c.file for c in pack.classifiers.values()):
        half = tmp_path_factory.mktemp("half") / file.name
        onnx.save(convert_to_half(onnx.load(file)), half)
        made[file] = OnnxRuntimeRunner(half)
    return pack, made


def test_shipped_pack_in_float16_reproduces_its_goldens_within_the_wider_tolerance(
    in_float16: tuple[Pack, dict[Path, Runner]],
) -> None:
    pack, half = in_float16
    worst = check_goldens(pack, half.__getitem__, half=True)
    assert 1e-4 < max(worst.values()) <= 1.1e-2 < HALF_TOLERANCE, "docs/models.md and HALF_TOLERANCE say so"
    with pytest.raises(PackError, match="is off its golden outputs"):
        check_goldens(pack, half.__getitem__)


class Altered(Runner):
    """A network whose output `name` is altered by `change`."""

    def __init__(self, right: Runner, name: str, change: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> None:
        self._right, self._name, self._change = right, name, change
        self.inputs, self.outputs = right.inputs, right.outputs

    def _run(self, tensors: Tensors) -> Tensors:
        made = self._right.run(tensors)
        return made | {self._name: self._change(made[self._name]).astype(np.float32)}


@pytest.mark.parametrize(
    ("network", "name", "change"),
    [
        ("localiser", "box", lambda box: box * 1.003),
        ("localiser", "heat", lambda heat: np.where(heat == heat.max(), 0, heat)),
        ("classifier", "logit", lambda logit: logit * 1.03),
        ("classifier", "gradients", lambda gradients: gradients[:, ::-1]),
    ],
)
def test_altered_output_in_float16_is_refused(
    in_float16: tuple[Pack, dict[Path, Runner]], network: str, name: str, change: Callable[..., NDArray[np.float32]]
) -> None:
    pack, half = in_float16
    file = pack.localiser.file if network == "localiser" else next(iter(pack.classifiers.values())).file
    runners = half | {file: Altered(half[file], name, change)}
    with pytest.raises(PackError, match=r"is off its golden outputs .*\(localiser by .+ of 0\.001, .+ of 0\.02"):
        check_goldens(pack, runners.__getitem__, half=True)


@pytest.mark.parametrize("name", NAMES)
def test_shipped_pack_names_sites_data_and_performance(name: str) -> None:
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


def test_batch_gives_the_outputs_of_its_members_alone() -> None:
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
def test_runner_refuses_a_wrong_tensor(tensor: np.ndarray, message: str) -> None:
    runner = OnnxRuntimeRunner(read_pack(PACKS / "phantom", DIGEST).classifiers["wrist"].file)
    with pytest.raises(RunnerError, match=message):
        runner.run({"region": tensor})


def test_pack_with_another_preprocessing_or_a_missing_digest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="trained on preprocessing"):
        read_pack(PACKS / "phantom", "another")
    shutil.copytree(PACKS / "phantom", tmp_path / "pack")
    manifest = tmp_path / "pack" / "pack.toml"
    lines = [line for line in manifest.read_text().splitlines() if not line.startswith('"wrist.onnx"')]
    manifest.write_text("\n".join(lines))
    with pytest.raises(PackError, match=r"no digest for wrist\.onnx"):
        read_pack(tmp_path / "pack", DIGEST)
