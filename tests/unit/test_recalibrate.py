"""Calibration and operating points from local reads: fitted, measured on other radiographs, and written as a pack."""

from __future__ import annotations

import hashlib
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest

from appliance.preprocessing.recipe import DIGEST
from appliance.service.pipeline_assembly import SHIPPED
from engines.fingerprint import fingerprints
from engines.pack import MANIFEST, read_pack
from engines.signature import SIGNATURE
from engines.training.recalibrate import BASE_CARD, LocalReads, recalibrate, write_recalibrated

PHANTOM = SHIPPED / "phantom"


def reads(n: int = 400, *, apart: float = 4.0, shift: float = 0.0, seed: int = 3) -> LocalReads:
    """Draw radiographs, a third fractured, with logits that are calibrated but for a `shift`."""
    rng = np.random.default_rng(seed)
    fractured = np.arange(n) % 3 == 0
    logit = rng.normal(np.where(fractured, apart, -apart), 2.0) + shift
    return LocalReads(probability=1 / (1 + np.exp(-logit)), fractured=fractured, hardware=rng.random(n) < 0.1)


def test_shifted_probabilities_are_shifted_back() -> None:
    found = recalibrate(reads(shift=3.0), 0.3, 0.7)
    corrected = found.calibration.probability(np.log(reads(shift=3.0).probability / (1 - reads(shift=3.0).probability)))
    assert corrected.mean() == pytest.approx(1 / 3, abs=0.02)
    assert reads(shift=3.0).probability.mean() > 0.4
    assert found.after["brier"] < found.before["brier"]
    assert found.calibration.offset < -1


def test_order_of_radiographs_and_so_auroc_stay_about_the_same() -> None:
    given = reads()
    found = recalibrate(given, 0.3, 0.7)
    assert found.calibration.scale > 0
    assert found.after["auroc"][0] == pytest.approx(found.before["auroc"][0], abs=0.01)
    assert (found.before["n"], found.before["positives"]) == (400, 134)
    assert found.before["n_without_hardware"] == int((~given.hardware).sum())


def test_figures_are_measured_on_radiographs_that_were_not_fitted_to() -> None:
    """Random reads have nothing to learn: cross-fitted figures say so, and figures of the fit itself would not."""
    rng = np.random.default_rng(5)
    noise = LocalReads(probability=rng.random(60), fractured=np.arange(60) % 4 == 0, hardware=np.zeros(60, np.bool_))
    found = recalibrate(noise, 0.3, 0.7)
    fitted = found.calibration.probability(np.log(noise.probability / (1 - noise.probability)))
    on_its_own = np.mean((fitted - noise.fractured) ** 2)
    assert found.after["brier"] > on_its_own + 0.002
    assert found.after["auroc"][1] < 0.5


def test_operating_points_separate_what_can_be_separated() -> None:
    found = recalibrate(reads(apart=8.0), 0.3, 0.7)
    assert 0 < found.doubt <= found.positive < 1
    assert found.after["sensitivity_doubt"][0] > 0.98
    assert found.after["specificity_positive"][0] > 0.98


def test_written_pack_can_be_read_and_answers_by_the_new_values(tmp_path: Path) -> None:
    base = read_pack(PHANTOM, DIGEST)
    found = recalibrate(reads(shift=1.0), 0.3, 0.7)
    mix = {"wrist": {"ages": {"0-17": 0.25, "unknown": 0.75}}}
    write_recalibrated(PHANTOM, tmp_path / "new", "0.4.1-local-3", {"wrist": found}, "reads of here", mix)
    made = read_pack(tmp_path / "new", DIGEST)
    assert (made.name, made.version) == (base.name, "0.4.1-local-3")
    old, new = base.classifiers["wrist"], made.classifiers["wrist"]
    for logit in (-3.0, 0.0, 2.5):
        p = old.probability(logit)
        expected = found.calibration.probability(np.log(np.array([p / (1 - p)])))[0]
        assert new.probability(logit) == pytest.approx(expected, rel=1e-6)
    assert (new.doubt, new.positive) == pytest.approx((found.doubt, found.positive))
    assert new.performance["ages"] == {"0-17": 0.25, "unknown": 0.75}
    assert new.fracture_share == pytest.approx(134 / 400)
    assert made.data["wrist_recalibrated"] == "reads of here"


def test_written_pack_sends_its_site_alone_back_to_shadow(tmp_path: Path) -> None:
    write_recalibrated(PHANTOM, tmp_path / "new", "2", {"wrist": recalibrate(reads(), 0.3, 0.7)}, "reads", {})
    before, after = (fingerprints(read_pack(folder, DIGEST)) for folder in (PHANTOM, tmp_path / "new"))
    assert {site for site in before if before[site] != after[site]} == {"wrist"}


def test_engine_that_misses_local_fractures_may_not_clear_any_more(tmp_path: Path) -> None:
    given = reads(60, apart=0.0)
    found = recalibrate(given, 0.3, 0.7)
    write_recalibrated(PHANTOM, tmp_path / "new", "2", {"wrist": found}, "reads", {})
    made = read_pack(tmp_path / "new", DIGEST)
    assert not made.classifiers["wrist"].clears
    assert read_pack(PHANTOM, DIGEST).classifiers["wrist"].clears
    assert made.classifiers["knee"].clears


def test_card_and_digests_are_new_and_a_signature_is_left_out(tmp_path: Path) -> None:
    shutil.copytree(PHANTOM, tmp_path / "base")
    (tmp_path / "base" / SIGNATURE).write_bytes(b"s" * 64)
    found = recalibrate(reads(), 0.3, 0.7)
    write_recalibrated(tmp_path / "base", tmp_path / "new", "2", {"wrist": found}, "reads of here", {})
    new = tmp_path / "new"
    assert not (new / SIGNATURE).exists()
    assert (new / BASE_CARD).read_text() == (PHANTOM / "README.md").read_text()
    card = (new / "README.md").read_text()
    assert "reads of here" in card and "none to measure" in card and "nan" not in card
    digests = tomllib.loads((new / MANIFEST).read_text())["digests"]
    assert {name: hashlib.sha256((new / name).read_bytes()).hexdigest() for name in digests} == digests
    assert set(digests) == {f.name for f in new.iterdir()} - {MANIFEST}
