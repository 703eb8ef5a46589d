"""`osteon train engine`: a pack with one engine fitted to a site's own radiographs, here phantoms."""

from __future__ import annotations

import csv
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytest.importorskip("torch")  # of the extra train

from appliance.service.pipeline_assembly import SHIPPED
from provisioning.phantoms import instance_from_phantom, phantom

OSTEON = (sys.executable, "-m", "provisioning.cli")


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*OSTEON, *map(str, arguments)], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of 20 knees as a hospital has them: DICOM files, and a read for each without any box."""
    folder = tmp_path_factory.mktemp("knees")
    rows = []
    for seed in range(200, 210):
        for fractured in (True, False):
            file = folder / f"{seed}-{fractured}.dcm"
            instance_from_phantom(phantom("knee", seed, fractured)).save_as(file, enforce_file_format=True)
            rows.append([file.name, str(seed), "?", int(fractured)])
    (folder / "no.dcm").write_bytes(b"nothing")
    rows += [["no.dcm", "x", "?", 0], [rows[0][0], "y", "wrist", 0]]
    path = folder / "manifest.csv"
    with path.open("w", newline="") as table:
        csv.writer(table).writerows([["file", "group", "regions", "fractured"], *rows])
    return path


def test_refitted_pack_differs_in_one_engine_and_passes_its_checks(manifest: Path, tmp_path: Path) -> None:
    made = tmp_path / "own-knees"
    done = run("train", "engine", "knee", manifest, "--pack", "phantom", "--out", made)
    assert done.returncode == 0, done.stderr
    assert "left out: 1, not readable: not_dicom" in done.stdout
    assert "left out: 1, knee is not seen" in done.stdout
    assert "cross-fitted, 95 % intervals" in done.stdout and "AUROC" in done.stdout
    old, new = (tomllib.loads((folder / "pack.toml").read_text()) for folder in (SHIPPED / "phantom", made))
    changed = {name for name in old["digests"] if old["digests"][name] != new["digests"].get(name)}
    assert changed == {"knee.onnx", "README.md", "goldens.npz"}
    knee = new["classifiers"]["knee"]
    assert (knee["performance"]["n"], knee["performance"]["positives"]) == (20, 10)
    assert (new["name"], new["kind"]) == ("own-knees", "synthetic")
    assert "20 radiographs of manifest.csv, 10 fractured" in new["data"]["knee_refitted"]
    others = {site: each for site, each in old["classifiers"].items() if site != "knee"}
    assert {site: new["classifiers"][site] for site in others} == others
    verified = run("pack", "verify", made)
    assert verified.returncode == 0, verified.stderr
    assert "Refitted engine" in (made / "README.md").read_text() and "knee" in (made / "base.md").read_text()


@pytest.mark.parametrize(
    ("site", "why"),
    [
        ("wrist", "has 1 radiographs of wrist: at least 10 fractured and 10 fracture-free ones are needed"),
        ("toe", "pack phantom has no engine for toe: it has"),
    ],
)
def test_site_that_cannot_be_fitted_is_refused_in_a_sentence(
    site: str, why: str, manifest: Path, tmp_path: Path
) -> None:
    done = run("train", "engine", site, manifest, "--pack", "phantom", "--out", tmp_path / "made")
    assert done.returncode == 1 and why in done.stderr + done.stdout
    assert "Traceback" not in done.stderr and not (tmp_path / "made").exists()
