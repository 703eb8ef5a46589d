"""The demonstration of a rollout: its plan, and how it recognises flags."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread

from appliance.domain.identifiers import Site
from appliance.rollout.drift import WINDOW
from provisioning.demonstration.rollout import PHANTOMS, SHARE, SITES, Plan, Step, is_flagged, joined
from provisioning.demonstration.rollout_cases import _draw, _largest


def test_plan_leaves_enough_phantoms_for_the_sample_and_a_window_of_the_knee() -> None:
    plan = Plan.of(PHANTOMS)
    rest = plan.total - plan.shadow - plan.familiarise - plan.drifted
    assert plan.sample == 300
    assert rest * SHARE > plan.sample + 4 * (plan.sample * (1 - SHARE)) ** 0.5  # four standard deviations
    assert plan.drifted / 2 > WINDOW  # every second one is a knee


@pytest.mark.parametrize(
    ("flag", "expected"), [(b"A", True), (b"AA", True), (b"N", False), (b"", False)], ids=["A", "AA", "N", "none"]
)
def test_flag_is_an_abnormal_obx_8(flag: bytes, expected: bool) -> None:
    message = b"MSH|^~\\&|OSTEON\rOBR|1||A\rOBX|1|CE|F1||POS|||" + flag + b"|||F\rOBX|2|TX|A||A|||||F\r"
    assert is_flagged(message) is expected


def test_steps_of_one_phase_are_added() -> None:
    steps = [Step(name="validate", sent=n, in_pacs=n, reports=1, under_evaluation=0, flagged=2) for n in (3, 4)]
    assert joined(steps) == Step(name="validate", sent=7, in_pacs=7, reports=2, under_evaluation=0, flagged=4)


def test_largest_region_of_a_served_site_stands_in_the_header() -> None:
    regions = [("hand", (0.0, 0.0, 9.0, 9.0)), ("wrist", (0.0, 0.0, 5.0, 5.0)), ("knee", None)]
    assert _largest(regions, [Site.WRIST, Site.KNEE]) is Site.WRIST
    assert _largest(regions, [Site.ANKLE]) is None


def test_phantoms_of_the_other_detector_differ_in_device_and_window_alone(tmp_path: Path) -> None:
    usual, other = (_draw(tmp_path, first, 4) for first in (9, 0))
    assert usual.is_fractured == other.is_fractured
    assert usual.sop_instance_uid == other.sop_instance_uid
    (tmp_path / "again").mkdir()
    before, after = dcmread(_draw(tmp_path / "again", 9, 4).file), dcmread(other.file)
    assert {e.keyword for e in after if e != before.get(e.tag)} == {
        "ManufacturerModelName",
        "DeviceSerialNumber",
        "WindowWidth",
    }


def test_sites_are_those_whose_engines_find_and_clear() -> None:
    assert SITES == (Site.KNEE, Site.WRIST, Site.SHOULDER)
