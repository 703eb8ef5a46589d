"""One optional attribute never costs a message: what no standard can carry is left out, and the rest is told."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from appliance.dicom.reading.order import read_examination
from appliance.reporting.fhir.bundle import transaction
from appliance.reporting.hl7.message import escape
from appliance.reporting.hl7.oru import oru_r01
from tests.support import profiles
from tests.support.hl7_rules import violations
from tests.support.results import result, study
from tests.support.sources import source

OPTIONAL = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "IssuerOfPatientID", "StudyDate",
    "StudyTime", "StudyID", "StudyDescription", "AccessionNumber", "TimezoneOffsetFromUTC", "AdmissionID",
    "Modality", "StationName", "InstitutionName", "ReferringPhysicianName", "ViewPosition", "InstanceNumber",
    "PlacerOrderNumberImagingServiceRequest", "FillerOrderNumberImagingServiceRequest", "ImageLaterality",
)  # fmt: skip

ODD = (
    "", " ", "0", "00000000", "19700100", "19700229", "19701399", "20260231", "99999999", "1011", "2461", "996060",
    "+1500", "-9999", "+0160", "EST", "1e400", "nan", "\\", "A\\B", "\\\\", "|", "^", "~", "&", "^^^^", "=", "==",
    "^=^=^", "MSH|^~\\&|", "<script>", '"', "'", "A\tB", "A\rB", "A\nB", "\x00", "\x0b\x1c", "\x7f", "ü", "山田^太郎",
    "x" * 64, "*", "?", "%00", "../..", "{}", "{patient_id}", "\u202e", "\ud7ff", "🦴",
)  # fmt: skip


def with_values(values: dict[str, str]) -> Dataset:
    """A radiograph with values that no reader has checked, as bytes of a device."""
    ds = source()
    ds.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in values.items():
        number, content = tag_for_keyword(keyword), value.encode()
        assert number is not None
        tag = Tag(number)
        ds[tag] = RawDataElement(
            tag, dictionary_VR(tag), len(content), content, 0, is_implicit_VR=False, is_little_endian=True
        )
    return ds


def tells_all(ds: Dataset) -> None:
    examination, given = read_examination(ds), study(result(ds))
    assert violations(oru_r01(given, examination, profiles.hl7()).decode()) == []
    entries = json.loads(transaction(given, examination, profiles.fhir()))["entry"]
    assert {"DiagnosticReport", "Observation"} <= {entry["resource"]["resourceType"] for entry in entries}


@pytest.mark.parametrize("value", ODD)
def test_odd_value_of_every_optional_attribute_costs_no_message(value: str) -> None:
    tells_all(with_values(dict.fromkeys(OPTIONAL, value)))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(OPTIONAL), st.text(st.characters(codec="utf-8"), max_size=20), min_size=5))
def test_any_text_in_optional_attributes_costs_no_message(values: dict[str, str]) -> None:
    tells_all(with_values(values))


@pytest.mark.parametrize("name", ["x" * 64, "A|B^C~D\\E&F|G^H"])
def test_issuer_that_is_too_long_for_a_namespace_is_a_local_universal_id(name: str) -> None:
    """HD.1 has 20 characters, Issuer of Patient ID 64: the patient's number stays bound to its authority."""
    ds = with_values({"IssuerOfPatientID": name})
    message = oru_r01(study(result(ds)), read_examination(ds), profiles.hl7()).decode()
    assert f"PID-4711^^^&{escape(name)}&L^MR" in message
