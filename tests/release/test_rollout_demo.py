"""`osteon demo --rollout` as a whole: 600 phantoms to live, and what must never leave does not."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from appliance.domain.identifiers import Site
from provisioning.demonstration.rollout import PHANTOMS, Plan, demonstrate_rollout

pytestmark = pytest.mark.release


def play(folder: Path, **options: object) -> tuple[object, list[str]]:
    console = Console(width=200, record=True, file=StringIO())
    sample = demonstrate_rollout(folder, console, **options)  # type: ignore[arg-type]
    return sample, [" ".join(line.replace("│", " ").split()) for line in console.export_text().splitlines()]


def row(lines: list[str], phase: str) -> list[int]:
    """Return the numbers of a line of the closing table."""
    line = next(line for line in reversed(lines) if line.startswith(f"{phase} "))
    return [int(word) for word in line.removeprefix(phase).split()]


def test_rollout_of_600_phantoms_goes_live_by_the_gate_and_notices_another_detector(tmp_path: Path) -> None:
    sample, lines = play(tmp_path / "out")
    plan = Plan.of(PHANTOMS)
    assert all(sample.gate.passes(site) for site in (Site.KNEE, Site.WRIST, Site.SHOULDER))  # type: ignore[attr-defined]
    assert row(lines, "shadow") == [plan.shadow, 0, 0, 0, 0]
    assert row(lines, "familiarise")[3:] == [plan.familiarise, 0]
    assert row(lines, "validate")[4] == 0
    sent, _, reports, under_evaluation, flagged = row(lines, "live")
    assert reports == sent and under_evaluation == 0 and 0 < flagged < sent
    assert row(lines, "another detector")[3:] == [plan.drifted, 0]
    assert any(line.startswith("knee") and line.endswith("drifts") for line in lines)
    assert (tmp_path / "out" / "validation.html").exists()


def test_rollout_of_radiographs_of_people_does_not_pass_the_gate(data: Path, tmp_path: Path) -> None:
    sample, lines = play(tmp_path / "out", radiographs=data / "fracatlas")
    gate = sample.gate  # type: ignore[attr-defined]
    assert sample.progress.read >= 260  # type: ignore[attr-defined]
    assert not any(gate.passes(site) for site in gate.sites)
    assert any("not met" in line and "accuracy" in line for line in lines)
