"""`osteon hl7 preview` shows the message that a RIS would get, and sends nothing."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from provisioning.phantoms import instance_from_phantom, phantom
from tests.e2e.test_cli import osteon
from tests.support.hl7_rules import Message, violations


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "osteon.toml"
    path.write_text(
        f"""state_dir = "{tmp_path / "state"}"
analyse.pack = "phantom"
[[destinations]]
kind = "hl7"
name = "ris"
host = "192.0.2.1"
port = 2575
flag = "orm"
[destinations.map]
"PV1-2" = "E"
"""
    )
    return path


def raw(site: Path, *arguments: object) -> Message:
    """Return the message that ``hl7 preview --raw`` prints."""
    done = osteon("hl7", "preview", "ris", "--raw", "--config", site, *arguments)
    assert done.returncode == 0, done.stderr
    return Message(done.stdout.replace("\n", "\r"))


def test_preview_of_a_phantom_shows_its_report_by_field_and_raw(site: Path) -> None:
    done = osteon("hl7", "preview", "ris", "--config", site)
    assert done.returncode == 0, done.stderr
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.stdout.splitlines() if "│" in line]
    shown = {(row[0], row[2]) for row in lines}
    assert {("OBR-25", "P"), ("PV1-2", "E"), ("PID-3", "PHANTOM-1^^^PHANTOM^MR"), ("OBX-4", "2.1")} <= shown
    assert ["OBR-25", "result status", "P"] in lines and "nothing was sent" in done.stdout
    made = raw(site)
    assert violations(made.text) == [] and made.value("PV1", 2) == "E"
    assert len([obx for obx in made.all("OBX") if obx[3].startswith("ANSWER^")]) >= 2


def test_preview_of_revision_withdrawal_and_order_is_shown(site: Path) -> None:
    revision, withdrawal, order = (raw(site, "--message", m) for m in ("revision", "withdrawal", "order"))
    assert revision.observation("REVISION", "0")[5] == "2" and violations(revision.text) == []
    assert {obx[11] for obx in withdrawal.all("OBX")} == {"W"} and violations(withdrawal.text) == []
    assert order.value("ORC", 3) == "PHANTOM-F1" and violations(order.text) == []


def test_preview_of_a_file_shows_its_own_header(site: Path, tmp_path: Path) -> None:
    ds = copy.deepcopy(instance_from_phantom(phantom("knee", 3, True), accession_number="OWN-1"))
    ds.save_as(tmp_path / "knee.dcm", enforce_file_format=True)
    made = raw(site, tmp_path / "knee.dcm")
    assert made.value("OBR", 18) == "OWN-1" and violations(made.text) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["riss"], "did you mean 'ris'?"),
        (["ris", __file__], "this is not a DICOM file"),
    ],
)
def test_preview_that_is_impossible_says_why(arguments: list[str], expected: str, site: Path) -> None:
    done = osteon("hl7", "preview", *arguments, "--config", site)
    assert done.returncode == 1 and expected in done.stderr and "Traceback" not in done.stderr
