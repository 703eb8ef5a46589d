"""Each "no" has its code and a sentence; ordinary radiographs are not refused."""

import dataclasses

import pytest

from appliance.analysis.eligibility import is_radiograph, why_not
from appliance.domain.radiograph import Header

DX = "1.2.840.10008.5.1.4.1.1.1.1"
ORDINARY = Header(
    sop_instance_uid="1.2", sop_class_uid=DX, study_instance_uid="1.3", modality="DX", rows=2000, columns=1500
)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"modality": "CR", "sop_class_uid": "1.2.840.10008.5.1.4.1.1.1"},
        {"image_type": ("DERIVED", "PRIMARY")},
        {"body_part_examined": "WRIST"},
        {"body_part_examined": "EXTREMITY"},
        {"rows": 373, "columns": 454},
    ],
)
def test_ordinary_radiographs_are_for_us(change: dict[str, object]) -> None:
    assert why_not(dataclasses.replace(ORDINARY, **change)) is None


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"modality": "CT", "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2"}, "not_a_radiograph"),
        ({"modality": "CT"}, "not_a_radiograph"),
        ({"modality": ""}, "not_a_radiograph"),
        ({"has_pixels": False}, "no_pixels"),
        ({"is_animal": True}, "not_human"),
        ({"number_of_frames": 12}, "not_a_projection"),
        ({"samples_per_pixel": 3}, "not_a_projection"),
        ({"rows": 16, "columns": 16}, "too_small"),
        ({"body_part_examined": "CHEST"}, "out_of_scope"),
    ],
)
def test_what_is_not_for_us_says_why(change: dict[str, object], code: str) -> None:
    reason = why_not(dataclasses.replace(ORDINARY, **change))
    assert reason is not None
    assert reason.code == code
    assert len(reason.reason) > 20


def test_only_radiographs_are_answered() -> None:
    assert is_radiograph(ORDINARY)
    assert not is_radiograph(dataclasses.replace(ORDINARY, sop_class_uid="1.2.840.10008.5.1.4.1.1.7"))
