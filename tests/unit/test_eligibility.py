"""Each "no" has its code and a sentence; ordinary radiographs are not refused."""

import dataclasses

import pytest

from appliance.analysis.eligibility import UNANSWERED, comes_from, parts_of_header, shows_a_trunk, why_not
from appliance.config import Ages, Analyse, Origins
from appliance.domain.identifiers import Site
from appliance.domain.radiograph import Header

CR = "1.2.840.10008.5.1.4.1.1.1"
DX = "1.2.840.10008.5.1.4.1.1.1.1"
DX_FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"
ORDINARY = Header(
    sop_instance_uid="1.2", sop_class_uid=DX, study_instance_uid="1.3", modality="DX", rows=2000, columns=1500
)
RULES = Analyse()


def changed(**change: object) -> Header:
    return dataclasses.replace(ORDINARY, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"modality": "CR", "sop_class_uid": CR},
        {"modality": "DR"},
        {"modality": "RG"},
        {"modality": "", "sop_class_uid": CR},
        {"image_type": ("DERIVED", "PRIMARY")},
        {"image_type": ("DERIVED", "PRIMARY", "POST_PROCESSED", "RT")},
        {"image_type": ("DERIVED", "SECONDARY")},  # an original that a gateway has compressed
        {"body_part_examined": "WRIST"},
        {"body_part_examined": "EXTREMITY"},
        {"body_part_examined": "T SPINE"},
        {"body_part_examined": "FEMUR, NECK"},
        {"anatomic_regions": ("HEAD OF HUMERUS",)},
        {"body_part_examined": "SHOULDER", "descriptions": ("XR CHEST AND SHOULDER",)},
        {"descriptions": ("XR HAND AND CHEST",)},
        {"body_part_examined": "CHEST", "anatomic_regions": ("WRIST JOINT",)},
        {"rows": 373, "columns": 454},
        {"station_name": "DR1", "calling_ae_title": "PACS"},
    ],
)
def test_plain_radiograph_is_eligible(change: dict[str, object]) -> None:
    assert why_not(changed(**change), RULES) is None


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"modality": "CT", "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2"}, "not_a_radiograph"),
        ({"modality": "CT"}, "not_a_radiograph"),
        ({"modality": "OT"}, "not_a_radiograph"),
        ({"modality": "DR", "sop_class_uid": "1.2.840.10008.5.1.4.1.1.7"}, "not_a_radiograph"),
        ({"rows": 0}, "broken_pixels"),
        ({"has_pixels": False}, "no_pixels"),
        ({"is_animal": True}, "not_human"),
        ({"number_of_frames": 12}, "not_a_projection"),
        ({"is_tomogram": True}, "not_a_projection"),
        ({"image_type": ("DERIVED", "PRIMARY", "STITCHED")}, "not_a_projection"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "FLUOROSCOPY")}, "not_a_projection"),
        ({"sop_class_uid": DX_FOR_PROCESSING, "for_processing": True}, "for_processing"),
        ({"rows": 16, "columns": 16}, "too_small"),
        ({"body_part_examined": "CHEST"}, "out_of_scope"),
        ({"anatomic_regions": ("CHEST",)}, "out_of_scope"),
        ({"descriptions": ("XR CHEST AP PORTABLE",)}, "out_of_scope"),
        ({"body_part_examined": "EXTREMITY", "descriptions": ("TORAX",)}, "out_of_scope"),
    ],
)
def test_ineligible_instance_gives_code_and_reason(change: dict[str, object], code: str) -> None:
    reason = why_not(changed(**change), RULES)
    assert reason is not None
    assert reason.code == code
    assert len(str(reason.reason)) > 20
    assert "PORTABLE" not in str(reason.reason)  # descriptions are free text: a name may stand there


def test_free_text_in_modality_is_not_quoted() -> None:
    reason = why_not(changed(modality="SECRETNAMEANNA"), RULES)
    assert reason is not None
    assert "SECRET" not in str(reason.reason)


@pytest.mark.parametrize(
    ("ages", "age_years", "analysed"),
    [
        (Ages(), 3.0, ""),
        (Ages(youngest_years=18), 17.99, "from 18 years"),
        (Ages(youngest_years=18), 18.0, ""),
        (Ages(youngest_years=18), None, ""),
        (Ages(oldest_years=0), 0.9, ""),
        (Ages(oldest_years=80), 80.9, ""),
        (Ages(oldest_years=80), 81.0, "up to 80 years"),
        (Ages(youngest_years=18, oldest_years=80), 0.1, "from 18 up to 80 years"),
    ],
)
def test_age_outside_the_bounds_is_refused_and_an_unknown_one_is_not(
    ages: Ages, age_years: float | None, analysed: str
) -> None:
    refusal = why_not(changed(age_years=age_years), Analyse(ages=ages))
    assert (refusal is None) == (not analysed)
    if refusal:
        assert refusal.code == "age_not_analysed"
        assert f"patient of {int(age_years or 0)} years" in str(refusal.reason)
        assert analysed in str(refusal.reason)
        assert refusal.code not in UNANSWERED


def test_for_processing_image_is_eligible_if_configured() -> None:
    header = changed(sop_class_uid=DX_FOR_PROCESSING, for_processing=True)
    assert why_not(header, Analyse(for_processing=True)) is None


def test_unanswered_reasons_are_the_three_without_artefacts() -> None:
    """One exposure never gets two answers, and other objects get none."""
    for header in (changed(modality="CT"), changed(for_processing=True)):
        reason = why_not(header, RULES)
        assert reason is not None
        assert reason.code in UNANSWERED


def test_ignored_origin_is_not_eligible() -> None:
    rules = Analyse(ignore=Origins(ae_titles=("CAD*",), descriptions=("*bone suppression*",)))
    ignored = why_not(changed(calling_ae_title="CAD_BOX"), rules)
    assert ignored is not None
    assert ignored.code == "ignored"
    assert why_not(changed(descriptions=("CHEST BONE SUPPRESSION",)), rules) == ignored
    assert why_not(changed(calling_ae_title="ROOM1"), rules) is None


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({"station_name": "PORT7"}, True),
        ({"descriptions": ("Bedside wrist",)}, True),
        ({"station_name": "ROOM1"}, False),
        ({}, False),
    ],
)
def test_origin_matches_by_patterns(change: dict[str, object], fits: bool) -> None:
    assert comes_from(changed(**change), Origins(stations=("port*",), descriptions=("*bedside*",))) is fits


def test_body_part_in_any_spelling_names_its_site() -> None:
    for text in ("WRIST", "R WRIST", "WRIST_JOINT", "WRIST LEFT"):
        assert parts_of_header(changed(body_part_examined=text)).sites == {Site.WRIST}
    assert parts_of_header(changed(body_part_examined="L SPINE")).sites == {Site.SPINE}
    assert parts_of_header(changed(anatomic_regions=("ANKLE JOINT",))).sites == {Site.ANKLE}
    assert parts_of_header(changed(body_part_examined="EXTREMITY")).sites == frozenset()


def test_site_in_a_description_counts_only_without_a_coded_one() -> None:
    described = changed(descriptions=("HANDGELENK IN 2 EBENEN",))
    assert parts_of_header(described).sites == {Site.WRIST}
    assert parts_of_header(dataclasses.replace(described, body_part_examined="KNEE")).sites == {Site.KNEE}


def test_chest_is_recognised_by_its_regions() -> None:
    shown = [Site.SHOULDER, Site.SPINE, Site.SHOULDER]
    assert shows_a_trunk(shown, ORDINARY)
    assert not shows_a_trunk(shown[:2], ORDINARY)
    assert not shows_a_trunk(shown, changed(body_part_examined="CLAVICLE"))


@pytest.mark.parametrize(("modality", "is_analysed"), [("CR", True), ("XR", True), ("DR", False), ("", False)])
def test_site_lists_the_modalities_that_are_analysed(modality: str, is_analysed: bool) -> None:
    reason = why_not(changed(modality=modality), Analyse(modalities=("CR", "xr")))
    assert (reason is None) is is_analysed
    assert reason is None or reason.code == "not_a_radiograph"
