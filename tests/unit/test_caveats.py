"""Caveats of a result, and the refusal of a chest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.config import Analyse, Origins
from appliance.domain.identifiers import Laterality
from tests.support.fixed_networks import analysed
from tests.support.pictures import limbs


def caveats(*sites: str, **settings: object) -> tuple[str, ...]:
    """Return the caveats of a radiograph that is analysed with `settings`, or the code of the reason for no answer."""
    result = analysed(*sites, **settings)  # type: ignore[arg-type]
    return (result.not_analysed.code,) if result.not_analysed else tuple(map(str, result.caveats))


def test_ordinary_radiograph_has_no_caveat() -> None:
    assert caveats(body_part_examined="WRIST") == ()


@pytest.mark.parametrize(
    ("flags", "seen"), [((0.5, 0.49), ["hardware"]), ((0.1, 0.9), ["cast"]), ((0.9, 0.9), ["hardware", "cast"])]
)
@pytest.mark.proves("SAF-7")
def test_hardware_and_casts_make_caveats(flags: tuple[float, float], seen: list[str]) -> None:
    assert [c.split()[0] for c in caveats(flags=flags)] == seen


@pytest.mark.proves("SAF-7")
def test_mobile_radiograph_makes_a_caveat() -> None:
    rules = Analyse(mobile=Origins(stations=("PORT*",)))
    assert caveats(rules=rules, station_name="PORT2") == ("mobile radiograph: the engines were not measured on these",)
    assert caveats(rules=rules, station_name="ROOM2") == ()


def test_header_that_contradicts_itself_or_the_image_makes_a_caveat() -> None:
    assert "both sides" in caveats(sides_disagree=True)[0]
    assert caveats(body_part_examined="KNEE") == ("the header says knee, the image looks like wrist: site uncertain",)


@pytest.mark.proves("SAF-4")
def test_contradiction_without_suspicion_is_not_analysed() -> None:
    assert caveats(body_part_examined="KNEE", logit=-9) == ("site_uncertain",)


@pytest.mark.parametrize(("age", "is_child"), [(6.4, True), (17.9, True), (18.0, False), (None, False)])
@pytest.mark.proves("SAF-7")
def test_child_makes_a_caveat(age: float | None, is_child: bool) -> None:
    assert any(c.startswith("child of ") for c in caveats(age_years=age)) is is_child


def test_age_of_a_child_is_told_in_whole_years() -> None:
    assert caveats(age_years=6.9)[0].startswith("child of 6 years: growth plates may be open")


def test_two_regions_of_one_site_with_one_side_in_the_header_make_a_caveat() -> None:
    assert caveats("wrist", "wrist", laterality=Laterality.LEFT) == (
        "2 regions of the wrist in the image, the header names one side: side unknown",
    )
    assert caveats("wrist", "wrist") == ()


def test_inverted_picture_makes_a_caveat() -> None:
    upright = limbs(across=(72,))
    inverted = replace(upright, invert=True)
    assert caveats(stored=inverted) == ("black and white may be exchanged",)
    assert caveats(stored=upright) == ()


def test_diffuse_heat_of_a_suspicious_finding_makes_a_caveat() -> None:
    assert caveats(diffuse=True) == ("non-specific attention: the heat map is diffuse",)
    assert caveats(diffuse=True, logit=-9) == ()


@pytest.mark.proves("SAF-6")
def test_image_with_the_regions_of_a_chest_is_not_analysed() -> None:
    """Also with a wrist in the picture, unless the header names the shoulders."""
    seen = ("shoulder", "spine", "shoulder", "wrist")
    assert caveats(*seen) == ("out_of_scope",)
    assert caveats(*seen, body_part_examined="CLAVICLE") != ("out_of_scope",)
