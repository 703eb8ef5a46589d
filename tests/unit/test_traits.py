"""Traits of a radiograph: bands and names without identity, and grey values of the display."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from appliance.analysis.traits import device_name, traits_of
from appliance.domain.identifiers import Site
from appliance.domain.radiograph import Header
from appliance.domain.traits import AgeBand

HEADER = Header(sop_instance_uid="1.2", sop_class_uid="1.3", study_instance_uid="1.4", modality="DX")


@pytest.mark.parametrize(
    ("years", "band"),
    [(None, ""), (0.1, "0-17"), (17.9, "0-17"), (18, "18-39"), (64.5, "40-64"), (79.9, "65-79"), (80, "80+")],
)
def test_age_lies_in_one_band(years: float | None, band: str) -> None:
    assert AgeBand.of(years) == band


def test_header_that_names_several_sites_has_no_header_site() -> None:
    one = replace(HEADER, body_part_examined="WRIST")
    two = replace(HEADER, anatomic_regions=("WRIST", "ELBOW"))
    assert [traits_of(h, "", "", None).header_site for h in (HEADER, one, two)] == [None, Site.WRIST, None]


def test_view_that_is_no_known_term_is_not_kept() -> None:
    views = [traits_of(replace(HEADER, view_position=v), "", "", None).view for v in ("", "AP", "LATERAL", "MEIER")]
    assert views == ["", "AP", "LAT", "OTHER"]


def test_device_is_printable_short_and_named_once() -> None:
    assert device_name("ACME  ", "Bone\n2") == "ACME Bone 2"
    assert device_name("Acme", "ACME Bone 2") == "ACME Bone 2"
    assert (device_name("", ""), len(device_name("A" * 50, "B" * 50))) == ("", 64)


def test_grey_figures_depend_on_the_picture_and_not_on_its_size() -> None:
    ramp = np.tile(np.linspace(0, 255, 1024).astype(np.uint8), (1024, 1))
    small, large = traits_of(HEADER, "", "", ramp[::2, ::2]), traits_of(HEADER, "", "", ramp)
    for seen in (small, large):
        assert seen.grey_mean == pytest.approx(0.5, abs=0.01)
        assert seen.grey_spread == pytest.approx(1 / 12**0.5, abs=0.01)
        assert seen.detail == pytest.approx(1 / 1024, rel=0.05)
    noisy = np.random.default_rng(1).integers(0, 256, (512, 512)).astype(np.uint8)
    assert (traits_of(HEADER, "", "", noisy).detail or 0) > 0.3
    assert traits_of(HEADER, "", "", None).detail is None
    assert traits_of(HEADER, "", "", noisy[:1, :1]).detail == 0.0
