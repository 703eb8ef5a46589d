"""Patient, order and times of a data set: each fact read once, by one rule for HL7 and FHIR."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any

import pytest
from pydicom.dataset import Dataset

from appliance.dicom.objects.series import local_time
from appliance.dicom.reading.attributes import copied
from appliance.dicom.reading.order import read_examination, read_times
from appliance.dicom.reading.reader import header_from_dataset
from appliance.domain.codes import Concept
from appliance.domain.order import (
    Examination,
    Issuer,
    Order,
    PartialDate,
    PatientIdentity,
    PersonName,
    Procedure,
    Sex,
    StudyTimes,
)
from appliance.reporting.fhir.bundle import transaction
from appliance.reporting.fhir.systems import issuer_system
from appliance.reporting.hl7.oru import oru_r01
from tests.support import profiles
from tests.support.hl7_rules import Message, violations
from tests.support.results import result, study
from tests.support.sources import changed, item, variants

ISO = ("1.2.3.4", "ISO")
DNS = ("hospital.example", "DNS")
NAME = PersonName(family="A")


def with_issuers(*universal_ids: tuple[str, str]) -> Dataset:
    """A radiograph with one issuer qualifier for each universal id and type."""
    items = [item(UniversalEntityID=value, UniversalEntityIDType=kind) for value, kind in universal_ids]
    return changed("issuers", IssuerOfPatientIDQualifiersSequence=items)


def pid_3(source: Dataset) -> str:
    made = Message(oru_r01(study(result(source)), read_examination(source), profiles.hl7()).decode())
    assert violations(made.text) == []
    return made.value("PID", 3)


def fhir_patient(source: Dataset) -> dict[str, Any]:
    made = json.loads(transaction(study(result(source)), read_examination(source), profiles.fhir()))
    (patient,) = (e["resource"] for e in made["entry"] if e["resource"]["resourceType"] == "Patient")
    return dict(patient)


@pytest.mark.parametrize("universal_ids", [[ISO], [ISO, DNS], [DNS, ISO], [ISO, ("9.9", "ISO")]])
def test_issuer_with_several_qualifiers_is_the_first_oid_in_hl7_and_fhir(universal_ids: list[tuple[str, str]]) -> None:
    source = with_issuers(*universal_ids)
    assert pid_3(source) == "PID-4711^^^HOSP&1.2.3.4&ISO^MR"
    assert fhir_patient(source)["identifier"] == [{"system": "urn:oid:1.2.3.4", "value": "PID-4711"}]


def test_issuer_without_an_oid_is_the_first_universal_id() -> None:
    source = with_issuers(DNS, ("other.example", "DNS"))
    assert pid_3(source) == "PID-4711^^^HOSP&hospital.example&DNS^MR"
    assert fhir_patient(source)["identifier"] == [{"system": issuer_system("HOSP"), "value": "PID-4711"}]


def test_issuer_qualifier_without_a_universal_id_does_not_hide_another() -> None:
    source = with_issuers(ISO)
    source.IssuerOfPatientIDQualifiersSequence.append(item(IdentifierTypeCode="MR"))
    assert read_examination(source).patient.issuer == Issuer(
        name="HOSP", universal_id="1.2.3.4", universal_id_type="ISO"
    )


@pytest.mark.parametrize("value", ["19700231", "19701399", "19700031", "1970", "", "00000101", "31.01.1970", "today"])
def test_birth_date_that_is_no_date_is_left_out_of_hl7_and_fhir(value: str) -> None:
    source = changed("birth date", PatientBirthDate=value)
    made = Message(oru_r01(study(result(source)), read_examination(source), profiles.hl7()).decode())
    assert made.value("PID", 7) == "" and "birthDate" not in fhir_patient(source)


@pytest.mark.parametrize(
    ("value", "hl7", "fhir"),
    [
        ("19700131", "19700131", "1970-01-31"),
        ("19700100", "197001", "1970-01"),  # German insurance cards: the day is unknown
        ("19700000", "1970", "1970"),
        ("1970.01.31", "19700131", "1970-01-31"),  # ACR-NEMA
        (" 19700131 ", "19700131", "1970-01-31"),
    ],
)
def test_birth_date_is_told_as_far_as_it_is_known(value: str, hl7: str, fhir: str) -> None:
    source = changed("birth date", PatientBirthDate=value)
    made = Message(oru_r01(study(result(source)), read_examination(source), profiles.hl7()).decode())
    assert violations(made.text) == []
    assert made.value("PID", 7) == hl7 and fhir_patient(source)["birthDate"] == fhir


@pytest.mark.parametrize(
    ("born", "examined", "years"),
    [
        ("20200100", "20300129", 9),
        ("20200100", "20300202", 10),
        ("20200000", "20301229", 9),
        ("20200000", "20310102", 10),
        ("2020.01.31", "20300202", 10),
        ("20300000", "20300601", 0),
        ("20300600", "20300615", 0),
    ],
)
def test_age_by_a_partial_birth_date_is_the_least_possible(born: str, examined: str, years: int) -> None:
    header = header_from_dataset(changed("age", PatientBirthDate=born, StudyDate=examined))
    assert header.age_years is not None and int(header.age_years) == years


def test_patient_born_after_the_examination_has_no_age() -> None:
    assert header_from_dataset(changed("age", PatientBirthDate="20310000", StudyDate="20300601")).age_years is None


@pytest.mark.parametrize("name", variants())
def test_every_source_makes_an_examination(name: str) -> None:
    made = read_examination(variants()[name])
    assert isinstance(made, Examination) and "PID-4711" in (made.patient.patient_id or "PID-4711")


def test_examination_of_a_source_with_gaps_is_empty() -> None:
    made = read_examination(variants()["gaps"])
    assert made.patient == PatientIdentity() and made.times == StudyTimes()
    assert made.order == Order(procedure=Procedure(meaning="XR WRIST"))


def test_identity_takes_every_group_of_the_name_and_the_sex() -> None:
    patient = read_examination(variants()["japanese"]).patient
    assert dict(patient.names) == {
        "A": PersonName(family="Yamada", given="Tarou"),
        "I": PersonName(family="山田", given="太郎"),
        "P": PersonName(family="やまだ", given="たろう"),
    }
    assert patient.sex is Sex.FEMALE and read_examination(variants()["broken"]).patient.sex is Sex.UNKNOWN


def test_order_takes_the_numbers_of_the_request_before_those_of_the_data_set() -> None:
    request = item(
        AccessionNumber="A-2",
        PlacerOrderNumberImagingServiceRequest=" P-2 ",
        RequestedProcedureCodeSequence=[item(CodeValue="XR", CodingSchemeDesignator="99H", CodeMeaning="Wrist")],
    )
    source = changed("order", RequestAttributesSequence=[item(RequestedProcedureID="RP"), request])
    source.PlacerOrderNumberImagingServiceRequest = "P-1"
    source.FillerOrderNumberImagingServiceRequest = "F-1"
    order = read_examination(source).order
    assert (order.accession_number, order.requested_accession_number) == ("ACC-77", "A-2")
    assert (order.placer_order_number, order.filler_order_number) == ("P-2", "F-1")
    assert (order.requested_procedure_id, order.scheduled_procedure_step_id) == ("RP", "")
    assert order.procedure == Procedure(meaning="Wrist", code="XR", scheme="99H")


def test_order_contradicts_another_only_by_a_number_that_both_have() -> None:
    order = Order(placer_order_number="P", filler_order_number="F")
    assert not order.contradicts(Order()) and not Order().contradicts(order) and not order.contradicts(order)
    assert not order.contradicts(Order(placer_order_number="P", requested_accession_number="A"))
    assert order.contradicts(Order(placer_order_number="P", filler_order_number="G"))
    assert Order(requested_accession_number="A").contradicts(Order(requested_accession_number="B"))


@pytest.mark.parametrize(
    ("offset", "minutes"),
    [("+0530", 330), ("-0330", -210), ("+1400", 840), ("-1200", -720), (" +0000 ", 0)],
)
def test_zone_within_the_range_of_dicom_is_read(offset: str, minutes: int) -> None:
    source = changed("zone", TimezoneOffsetFromUTC=offset)
    assert read_times(source).zone == timezone(timedelta(minutes=minutes))


@pytest.mark.parametrize("offset", ["CET", "0530", "+1401", "-1201", "+2399", "+0575", "+٠١٠٠", ""])
def test_zone_outside_the_range_of_dicom_is_none(offset: str) -> None:
    source = changed("zone", TimezoneOffsetFromUTC=offset, SpecificCharacterSet="ISO_IR 192")
    assert read_times(source).zone is None
    assert local_time(source, result(source)).utcoffset() is not None


DAY = date(2026, 1, 2)
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def test_times_state_the_examination_in_the_zone_of_the_source() -> None:
    times = StudyTimes(day=DAY, clock=time(10, 11, 12), zone=timezone(timedelta(hours=2)))
    assert times.localise(NOON).isoformat() == "2026-01-02T14:00:00+02:00"
    examined = times.examined_at(NOON)
    assert examined is not None and examined.isoformat() == "2026-01-02T10:11:12+02:00"
    assert StudyTimes(day=DAY).examined_at(NOON) == DAY
    assert StudyTimes(clock=time(10)).examined_at(NOON) is None and StudyTimes().examined_at(NOON) is None


@pytest.mark.parametrize(
    ("day", "clock", "hl7", "fhir"),
    [
        ("20260102", "101112", "20260102101112+0200", "2026-01-02T10:11:12+02:00"),
        ("20260102", "101112.999999", "20260102101112+0200", "2026-01-02T10:11:12+02:00"),
        ("20260102", "1011", "20260102101100+0200", "2026-01-02T10:11:00+02:00"),
        ("20260102", "0915", "20260102091500+0200", "2026-01-02T09:15:00+02:00"),
        ("20260102", "235960", "20260102235959+0200", "2026-01-02T23:59:59+02:00"),
        ("2026.01.02", "10:11:12", "20260102101112+0200", "2026-01-02T10:11:12+02:00"),  # ACR-NEMA
        ("20260102", "10:11", "20260102101100+0200", "2026-01-02T10:11:00+02:00"),
        ("20260102", "10", "20260102", "2026-01-02"),  # minutes are not invented
        ("20260102", "1", "20260102", "2026-01-02"),
        ("20260102", "2511", "20260102", "2026-01-02"),
        ("20260102", None, "20260102", "2026-01-02"),
        ("20260231", "101112", "", None),
        (None, "101112", "", None),
    ],
)
def test_examination_is_dated_as_exactly_as_the_radiograph_is(
    day: str | None, clock: str | None, hl7: str, fhir: str | None
) -> None:
    """The time of the answer, perhaps months later, stands for no part that is missing."""
    source = changed("times", "ContentDate", StudyDate=day, StudyTime=clock, TimezoneOffsetFromUTC="+0200")
    examination, given = read_examination(source), study(result(source))
    made = Message(oru_r01(given, examination, profiles.hl7()).decode())
    assert violations(made.text) == [] and made.value("OBR", 7) == hl7
    entries = json.loads(transaction(given, examination, profiles.fhir()))["entry"]
    dated = [e["resource"] for e in entries if e["resource"]["resourceType"] in ("DiagnosticReport", "Observation")]
    assert len(dated) > 1 and {each.get("effectiveDateTime") for each in dated} == {fhir}


def test_examination_without_a_study_date_has_that_of_its_acquisition() -> None:
    source = changed("acquired", StudyDate=None, AcquisitionDate="20260103", AcquisitionTime="0708")
    assert read_times(source) == StudyTimes(day=date(2026, 1, 3), clock=time(7, 8))


def test_our_objects_state_old_dates_in_the_form_of_dicom() -> None:
    made = copied(changed("old", StudyDate="2026.01.02", StudyTime="10:11:12"), ("StudyDate", "StudyTime"))
    assert (made.StudyDate, made.StudyTime) == ("20260102", "101112")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Issuer(universal_id="1.2"), "come together"),
        (lambda: Issuer(name=" HOSP"), "Issuer.name has space"),
        (PersonName, "at least one component"),
        (lambda: PatientIdentity(patient_id="1 "), "patient_id has space"),
        (lambda: PatientIdentity(names=(("I", NAME), ("A", NAME))), "in this order"),
        (lambda: PatientIdentity(names=(("A", NAME), ("A", NAME))), "each once"),
        (lambda: PatientIdentity(names=(("X", NAME),)), "A, I and P"),
        (lambda: Procedure(meaning=""), "has a meaning"),
        (lambda: Order(accession_number="\tA"), "accession_number has space"),
        (lambda: PartialDate(year=1970, day=1), "without its month"),
        (lambda: PartialDate(year=1970, month=2, day=30), "day is out of range"),
        (lambda: StudyTimes(zone=timezone(timedelta(hours=15))), "no zone of DICOM"),
        (lambda: Examination(study_id=" "), "study_id has space"),
        (lambda: Concept("", "SCT", "Wrist"), "not a coded concept"),
        (lambda: Concept("1", "SCT", "x" * 65), "not a coded concept"),
    ],
)
def test_record_with_an_impossible_value_is_refused(make: Callable[[], object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        make()


def test_identity_keeps_name_and_birth_date_out_of_its_repr() -> None:
    shown = repr(read_examination(variants()["dx"]))
    assert "Weiß" not in shown and "1970" not in shown


def test_patient_number_with_a_backslash_stays_one_number() -> None:
    """DICOM takes the backslash for a separator of values; HL7 escapes it (2.5.1, chapter 2.7)."""
    ds = changed("backslash", PatientID=["HOSP", "4711"])
    assert read_examination(ds).patient.patient_id == "HOSP\\4711"
    assert pid_3(ds).startswith("HOSP\\E\\4711")
    assert fhir_patient(ds)["identifier"][0]["value"] == "HOSP\\4711"
