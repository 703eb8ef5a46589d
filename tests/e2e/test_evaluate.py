"""`osteon pack evaluate` on phantoms; their truth is known to the pixel."""

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.domain.finding import Verdict
from provisioning.phantoms import instance_from_phantom, phantom
from provisioning.training.evaluation import Case, Evaluation, write_report
from tests.support.results import finding

SITES = ("ankle", "wrist", "knee", "pelvis")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Manifest of sixteen labelled phantoms, one only labelled as a whole, one without a label, and no DICOM file."""
    rows = []
    for site in SITES:
        for seed in (70, 71):
            for fractured in (True, False):
                drawn = phantom(site, seed, fractured)
                file = tmp_path / f"{site}-{seed}-{fractured}.dcm"
                instance_from_phantom(drawn).save_as(file, enforce_file_format=True)
                broken = " ".join(map(str, drawn.fracture)) if drawn.fracture else ""
                box = " ".join(map(str, drawn.region))
                rows.append([file.name, site, f"{site} {box}", int(fractured), broken])
    rows.append([rows[0][0], "w", "?", 1, ""])
    rows.append([rows[0][0], "x", rows[0][2], "", ""])
    (tmp_path / "no.dcm").write_bytes(b"nothing")
    rows.append(["no.dcm", "y", "wrist", 0, ""])
    path = tmp_path / "manifest.csv"
    with path.open("w", newline="") as table:
        csv.writer(table).writerows([["file", "group", "regions", "fractured", "fractures"], *rows])
    return path


def test_evaluation_of_phantoms_reports_their_true_counts(manifest: Path) -> None:
    report = manifest.with_name("report.html")
    command = [sys.executable, "-m", "provisioning.cli", "pack", "evaluate", str(manifest)]
    done = subprocess.run(
        [*command, "--pack", "phantom", "--out", str(report)], check=True, capture_output=True, text=True
    )
    assert "18 labelled radiographs, 16 regions" in done.stdout
    page = report.read_text()
    assert "SYNTHETIC" in page
    assert "1 <code>not_dicom</code>" in page
    regions = page[page.index("Regions with a box") :]
    rows = {m[0]: m[1:] for m in re.findall(r"<tr><td>([^<]*)<td class=\"n\">(\d+)<td class=\"n\">(\d+)<", regions)}
    assert rows["all"] == ("16", "8")
    assert all(rows[site] == ("4", "2") for site in SITES)
    assert page.count("data:image/png") == 2
    whole = page[page.index("Whole radiographs") : page.index("Regions with a box")]
    assert '<td>all<td class="n">18<td class="n">9<td>' in whole
    assert '<td>fractured<td class="n">9' in whole and '<td>no fracture<td class="n">9' in whole


def case(site: str, fractured: bool, probability: float | None) -> Case:
    located = None if probability is None else finding(probability)
    return Case(row=3, site=site, is_fractured=fractured, flags="cast" if fractured else "", finding=located)


def test_evaluation_counts_a_region_that_was_not_located_as_missed(tmp_path: Path) -> None:
    """Sensitivity is 50 %, not 67 %: of four fractures two are found, one is negative and one is not located."""
    cases = [case("wrist", True, p) for p in (0.95, 0.9, 0.01, None)] + [case("wrist", False, p) for p in (0.1, 0.998)]
    assert cases[3].verdict is Verdict.NEGATIVE
    made = Evaluation(cases=cases)
    from appliance.preprocessing.recipe import DIGEST
    from appliance.service.pipeline_assembly import SHIPPED
    from engines.pack import read_pack

    errors = [(cases[2], b"picture of what was missed"), (cases[5], b"picture of an alarm")]
    write_report(made, read_pack(SHIPPED / "phantom", DIGEST), "manifest.csv", errors, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "50 % [7, 93]" in page  # Clopper and Pearson, 2 of 4
    assert '<td class="n">6<td class="n">4<td class="n">1' in page
    assert page.count("data:image/jpeg") == 2
    assert "no hardware or cast" in page
    assert "Line 5 of the manifest, wrist: fracture, and none was found" in page
    assert "(probability 1%)" in page and "(probability &gt;99%)" in page
