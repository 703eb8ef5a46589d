"""`osteon demo`, as a newcomer sees it: right answers, heat on the fracture, every file on disk."""

import json
import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from rich.console import Console

from appliance.domain.finding import Answer
from appliance.domain.identifiers import Site
from appliance.domain.result import SECOND_READER
from appliance.preprocessing.recipe import DIGEST
from appliance.service.pipeline_assembly import SHIPPED
from engines.pack import read_pack
from provisioning.demonstration.outcome import OutcomeRow, closing_table
from provisioning.demonstration.run import demonstrate
from provisioning.phantoms import Phantom, phantom

SECOND = ", second view"
NAMES = [
    f"{label}, {what}"
    for label, views in (("ankle", 2), ("wrist", 2), ("knee", 2), ("shoulder", 1), ("pelvis and hip", 1), ("spine", 2))
    for what in ("fracture", f"fracture{SECOND}", "no fracture")
    if views == 2 or SECOND not in what
]
CLEARS = {site: spec.clears for site, spec in read_pack(SHIPPED / "phantom", DIGEST).classifiers.items()}
"""Whether the engine of each site may clear a region, by its measured claims."""
BUILD = Path(__file__).resolve().parents[2] / "build"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[OutcomeRow]]:
    folder = tmp_path_factory.mktemp("demo") / "out"
    rows = demonstrate(folder, Console(width=140))
    BUILD.mkdir(exist_ok=True)
    shutil.copy(folder / "contact_sheet.png", BUILD / "contact_sheet.png")  # for people to look at
    return folder, rows


def test_phantom_pack_has_engines_that_clear_and_engines_that_do_not() -> None:
    assert set(CLEARS.values()) == {True, False}


def test_demo_of_phantoms_gives_right_or_incomplete_answers(demo: tuple[Path, list[OutcomeRow]]) -> None:
    _, rows = demo
    assert [row.name for row in rows] == NAMES
    for row in rows:
        assert row.result is not None, row
        site = _site(row)
        cleared = Answer.NEGATIVE if CLEARS[site] else Answer.INCOMPLETE
        assert row.result.answer is (cleared if "no fracture" in row.name else Answer.POSITIVE), row.name
        assert [f.site for f in row.result.findings] == [site]
        assert not row.result.not_read
        assert row.in_pacs_s is not None


def test_closing_table_tells_answer_and_what_was_not_cleared(demo: tuple[Path, list[OutcomeRow]]) -> None:
    console = Console(width=200, record=True, file=StringIO())
    console.print(closing_table(demo[1], synthetic=True))
    lines = console.export_text().splitlines()
    pelvis = next(line for line in lines if "pelvis and hip, no fracture" in line)
    wrist = next(line for line in lines if "wrist, no fracture" in line)
    assert "incomplete" in pelvis and "not cleared" in pelvis
    assert "no fracture found" in wrist and "not cleared" not in wrist


def test_demo_of_two_views_makes_one_report(demo: tuple[Path, list[OutcomeRow]]) -> None:
    rows = {row.name: row for row in demo[1]}
    for name, second in rows.items():
        if not name.endswith(SECOND):
            continue
        first = rows[name.removesuffix(SECOND)]
        assert first.study is not None and first.study == second.study
        assert first.result is not None and second.result is not None
        uids = {first.result.sop_instance_uid, second.result.sop_instance_uid}
        assert {result.sop_instance_uid for result in first.study.results} == uids
    studies = {row.study.study_instance_uid for row in rows.values() if row.study is not None}
    assert len(studies) == 12


def test_plaster_is_said_where_it_is(demo: tuple[Path, list[OutcomeRow]]) -> None:
    for row in demo[1]:
        assert row.result is not None
        assert _truth(row).cast == any(str(c).startswith("cast seen") for c in row.result.caveats), row.name


def _site(row: OutcomeRow) -> Site:
    return next(site for site in Site if str(site.label) == row.name.split(",")[0])


def _truth(row: OutcomeRow) -> Phantom:
    fracture = "no fracture" not in row.name
    return phantom(_site(row), int(fracture), fracture, view=int(row.name.endswith(SECOND)))


@pytest.mark.proves("MIS-4")
def test_demo_heat_lies_on_the_fracture(demo: tuple[Path, list[OutcomeRow]]) -> None:
    """The peak is at most one cell of the map, a sixteenth of the region's side, outside the box of the fracture."""
    for row in demo[1]:
        truth = _truth(row)
        assert row.result is not None
        if truth.fracture is None:
            continue
        finding = row.result.findings[0]
        cell = max(finding.box.x1 - finding.box.x0, finding.box.y1 - finding.box.y0) * 1.2 / 16
        (x, y), (x0, y0, x1, y1) = finding.peak, truth.fracture
        assert x0 - cell <= x <= x1 + cell and y0 - cell <= y <= y1 + cell, (row.name, finding.peak, truth.fracture)


def test_demo_writes_every_artefact_marked_as_synthetic(demo: tuple[Path, list[OutcomeRow]]) -> None:
    folder, _ = demo
    objects = [dcmread(p) for p in (folder / "pacs").glob("*.dcm")]
    assert len(objects) == 16 + 12 + 12  # an overlay of each radiograph; a report and a summary of each study
    assert all("SYNTHETIC" in ds.SeriesDescription for ds in objects)
    pictures = list((folder / "pictures").glob("*.png"))
    assert len(pictures) == 16
    assert all(Image.open(p).size[0] >= 800 for p in pictures)
    assert len(list((folder / "summaries").glob("*.png"))) == 16
    sheet = np.asarray(Image.open(folder / "contact_sheet.png").convert("HSV"))
    assert sheet.shape[:2] == (4 * 456, 4 * 430)
    is_red = (sheet[..., 0] < 18) | (sheet[..., 0] > 237)  # not the amber of incomplete answers
    hot = is_red & (sheet[..., 1] > 180) & (sheet[..., 2] > 180)
    cells = hot.reshape(4, 456, 4, 430).sum(axis=(1, 3)).ravel()
    whole = np.array(["no fracture" in name for name in NAMES])
    assert cells[~whole].min() > 2 * cells[whole].max(), "heat and red words belong to the fractures"
    reports = [p.read_text() for p in (folder / "reports").glob("*.txt")]
    assert len(reports) == 16
    assert all(str(SECOND_READER) in text and "Probability of a fracture" in text for text in reports)
    messages = [p.read_bytes().decode() for p in (folder / "ris").glob("*.hl7")]
    assert len(messages) == 12
    assert all("not for diagnosis" in m for m in messages)
    bundles = [json.loads(p.read_text()) for p in (folder / "fhir").glob("*.json")]
    assert len(bundles) == 12
    assert all(b["type"] == "transaction" for b in bundles)


def test_demo_into_a_foreign_folder_refuses_and_leaves_it(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    command = [sys.executable, "-m", "provisioning.cli", "demo", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "choose another folder" in done.stderr
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.release  # .ci/run demonstrates real radiographs as well
def test_demo_of_real_radiographs_gives_each_an_answer_or_a_reason(data: Path, tmp_path: Path) -> None:
    """The pack is the real one; results of analysed radiographs are in the PACS."""
    for folder, limit, analysed in (("grazpedwri", 7, 0), ("fracatlas/images", 10, 6)):
        rows = demonstrate(tmp_path / "out", Console(width=140), data / folder, limit)
        assert len(rows) == limit
        for row in rows:
            assert row.result is not None
            assert row.in_pacs_s is not None
        assert sum(row.result is not None and bool(row.result.findings) for row in rows) >= analysed
