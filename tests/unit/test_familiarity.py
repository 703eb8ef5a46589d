"""Regions unlike those of the training: the distance, its limit, and a negative that is withheld for it."""

import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import engines.packs
from appliance.analysis.classifier import Classifier
from appliance.analysis.upright import read_upright
from appliance.preprocessing.recipe import DIGEST
from engines.familiarity import Familiarity, distances, mean_activations
from engines.onnxruntime_runner import OnnxRuntimeRunner
from engines.pack import PackError, read_pack
from engines.training.dataset import Dataset
from engines.training.familiarity import BEYOND, write_familiarity
from engines.training.pack_writer import finish_pack

PACKS = Path(engines.packs.__file__).parent
PHANTOM = read_pack(PACKS / "phantom", DIGEST)
HELD_OUT = 0


def test_mean_activations_leave_out_the_padding() -> None:
    activations = np.random.default_rng(1).normal(size=(2, 3, 4, 4)).astype(np.float32)
    regions = np.full((2, 64, 64), 90, np.uint8)
    regions[1, :, 24:] = 0  # one and a half of four columns of cells
    means = mean_activations(activations, regions)
    np.testing.assert_allclose(means[0], activations[0].mean((1, 2)), rtol=1e-5)
    columns = activations[1].mean(1) @ np.array([1, 0.5, 0, 0]) / 1.5
    np.testing.assert_allclose(means[1], columns, rtol=1e-5)


def test_black_region_counts_whole() -> None:
    activations = np.ones((1, 2, 4, 4), np.float32)
    np.testing.assert_allclose(mean_activations(activations, np.zeros((1, 64, 64), np.uint8)), [[1, 1]])


def test_distance_is_that_of_mahalanobis() -> None:
    rng = np.random.default_rng(2)
    covariance = np.cov(rng.normal(size=(3, 50)))
    values, vectors = np.linalg.eigh(covariance)
    whitening = vectors @ np.diag(values**-0.5) @ vectors.T
    means, centre = rng.normal(size=(5, 3)), rng.normal(size=3)
    expected = [float(np.sqrt((m - centre) @ np.linalg.inv(covariance) @ (m - centre))) for m in means]
    np.testing.assert_allclose(distances(means, centre, whitening), expected)


@pytest.mark.parametrize(
    ("centre", "whitening", "limit"),
    [
        (np.zeros(3), np.eye(2), 1.0),
        (np.full(2, np.nan), np.eye(2), 1.0),
        (np.zeros(2), np.eye(2), 0.0),
        (np.zeros(2), np.eye(2), float("nan")),
    ],
)
def test_statistics_that_fit_no_distance_are_refused(
    centre: NDArray[np.float32], whitening: NDArray[np.float32], limit: float
) -> None:
    with pytest.raises(ValueError, match="not a "):
        Familiarity(centre=centre, whitening=whitening, limit=limit)


def striped(rng: np.random.Generator, site: int) -> NDArray[np.uint8]:
    """Draw a region that looks like a bone: bright stripes, of another width for each site."""
    x = np.arange(256) + rng.uniform(0, 256)
    row = 110 + 60 * np.sin(x / (9 + 5 * site + rng.uniform(0, 2)))
    return np.clip(row + rng.normal(0, 6, (256, 256)), 1, 255).astype(np.uint8)


def dataset_of(count: int) -> Dataset:
    """Return `count` regions of wrists and as many of ankles, one on each radiograph; every fifth is held out."""
    rng = np.random.default_rng(3)
    site = np.tile([0, 1], count)
    total = len(site)
    return Dataset(
        sites=np.array(["wrist", "ankle"]),
        radiographs=np.zeros((total, 8, 8), np.uint8),
        fold=(np.arange(total) // 2 % 5).astype(np.int8),
        flags=np.array(["cast"]),
        flagged=np.zeros((total, 1), np.bool_),
        boxes=np.zeros((total, 4), np.float32),
        regions=np.stack([striped(rng, k) for k in site]),
        masks=np.zeros((total, 4, 4), np.uint8),
        labels=np.zeros(total, np.bool_),
        clear=np.ones(total, np.bool_),
        site=site.astype(np.int64),
        radiograph=np.arange(total),
    )


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The phantom pack with the two engines of `dataset_of`, measured on it and written again."""
    work, folder = (tmp_path_factory.mktemp("packs") / name for name in ("work", "pack"))
    shutil.copytree(PACKS / "phantom", work)
    manifest = tomllib.loads((work / "pack.toml").read_text())
    (work / "pack.toml").unlink()
    chosen = {site: manifest["classifiers"][site] for site in ("wrist", "ankle")}
    manifest["classifiers"] = chosen
    manifest["familiarity"] = write_familiarity(work, chosen, dataset_of(60), HELD_OUT)
    finish_pack(work, folder, manifest, "")
    return folder


def test_limit_leaves_out_at_most_its_share_of_held_out_regions(measured: Path) -> None:
    pack, dataset = read_pack(measured, DIGEST), dataset_of(60)
    for index, site in enumerate(("wrist", "ankle")):
        spec = pack.classifiers[site]
        regions = dataset.regions[(dataset.site == index) & (dataset.fold == HELD_OUT)]
        found = Classifier(OnnxRuntimeRunner(spec.file), spec).evidence(regions, [(256, 256)] * len(regions))
        assert sum(not each.is_familiar for each in found) <= max(1, BEYOND * len(regions))


def test_noise_and_the_other_site_are_unfamiliar(measured: Path) -> None:
    spec = read_pack(measured, DIGEST).classifiers["wrist"]
    rng = np.random.default_rng(5)
    regions = np.stack([rng.integers(1, 255, (256, 256)).astype(np.uint8), striped(rng, 1), striped(rng, 0)])
    found = Classifier(OnnxRuntimeRunner(spec.file), spec).evidence(regions, [(256, 256)] * 3)
    assert [each.is_familiar for each in found] == [False, False, True]


def test_region_that_is_familiar_in_one_position_is_familiar(measured: Path) -> None:
    spec = read_pack(measured, DIGEST).classifiers["wrist"]
    classifier = Classifier(OnnxRuntimeRunner(spec.file), spec)
    turned = np.rot90(striped(np.random.default_rng(6), 0))[None]
    (as_it_is,) = classifier.evidence(turned, [(256, 256)])
    (upright,) = read_upright(classifier, turned, [(256, 256)], [1])
    assert (as_it_is.is_familiar, upright.is_familiar) == (False, True)


def test_pack_that_did_not_measure_calls_everything_familiar() -> None:
    spec = PHANTOM.classifiers["wrist"]
    assert spec.familiarity is None
    noise = np.random.default_rng(7).integers(1, 255, (1, 256, 256)).astype(np.uint8)
    (found,) = Classifier(OnnxRuntimeRunner(spec.file), spec).evidence(noise, [(256, 256)])
    assert found.is_familiar


def test_shipped_pack_of_radiographs_tells_noise() -> None:
    pack = read_pack(PACKS / "fracatlas", DIGEST)
    noise = np.random.default_rng(8).integers(1, 255, (1, 256, 256)).astype(np.uint8)
    for spec in pack.classifiers.values():
        (found,) = Classifier(OnnxRuntimeRunner(spec.file), spec).evidence(noise, [(256, 256)])
        assert not found.is_familiar, spec.site


def test_altered_or_missing_statistics_are_refused(measured: Path, tmp_path: Path) -> None:
    shutil.copytree(measured, tmp_path / "pack")
    manifest, file = tmp_path / "pack" / "pack.toml", tmp_path / "pack" / "familiarity.npz"
    text = manifest.read_text()
    lines = [line for line in text.splitlines() if not line.startswith('"familiarity.npz"')]
    manifest.write_text("\n".join(lines))
    with pytest.raises(PackError, match=r"no digest for familiarity\.npz"):
        read_pack(tmp_path / "pack", DIGEST)
    manifest.write_text(text)
    file.write_bytes(file.read_bytes() + b"0")
    with pytest.raises(PackError, match=r"familiarity\.npz is not the file that was packed"):
        read_pack(tmp_path / "pack", DIGEST)
