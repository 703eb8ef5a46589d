"""The FHIR transaction: preliminary, every entry conditional, references that resolve, deterministic."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from pydicom.dataset import Dataset

from appliance.domain.result import Result
from appliance.errors import Rejected
from appliance.reporting.fhir import transaction
from tests.support.results import finding, result, study, unanalysed
from tests.support.sources import variants

VARIANTS = variants()


def bundle(source: Dataset, given: Result, **options: str) -> Any:
    return json.loads(transaction(study(given), source, **options))


def resources(made: Any, kind: str) -> list[Any]:
    return [e["resource"] for e in made["entry"] if e["resource"]["resourceType"] == kind]


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["reference"]] if "reference" in value else []
        return own + [r for v in value.values() for r in references(v)]
    return [r for v in value for r in references(v)] if isinstance(value, list) else []


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("make", [result, unanalysed])
def test_every_reference_resolves_and_every_entry_is_conditional(variant: str, make: Any) -> None:
    made = bundle(VARIANTS[variant], make(VARIANTS[variant]))
    urls = [e["fullUrl"] for e in made["entry"]]
    assert len(set(urls)) == len(urls)
    assert set(references(made)) <= set(urls)
    assert all(e["request"]["ifNoneExist"].startswith("identifier=") for e in made["entry"])
    assert resources(made, "DiagnosticReport")[0]["status"] == "preliminary"


def test_each_finding_is_an_observation() -> None:
    made = bundle(VARIANTS["dx"], result(VARIANTS["dx"], finding(), finding(0.4)))
    first, second = resources(made, "Observation")
    assert first["status"] == second["status"] == "preliminary"
    assert first["valueCodeableConcept"]["coding"][0]["code"] == "415684004"
    assert second["valueCodeableConcept"]["coding"][0]["code"] == "121059"
    assert first["bodySite"]["coding"][0]["code"] == "74670003"
    assert first["component"][0]["valueQuantity"]["value"] == 0.87
    assert first["interpretation"][0]["coding"][0]["code"] == "A" and "interpretation" not in second
    assert len(resources(made, "DiagnosticReport")[0]["result"]) == 2


def test_the_study_is_found_by_its_uid() -> None:
    (study,) = resources(bundle(VARIANTS["dx"], result(VARIANTS["dx"])), "ImagingStudy")
    uid = f"urn:oid:{VARIANTS['dx'].StudyInstanceUID}"
    assert study["identifier"][0] == {"system": "urn:dicom:uid", "value": uid}
    assert study["identifier"][1]["value"] == "ACC-77"


def test_the_reason_for_no_answer_is_the_conclusion() -> None:
    made = bundle(VARIANTS["dx"], unanalysed(VARIANTS["dx"]))
    assert resources(made, "Observation") == []
    (report,) = resources(made, "DiagnosticReport")
    assert "this pack has no engine for ribs" in report["conclusion"] and "result" not in report


def test_the_patient_is_created_only_if_unknown() -> None:
    entry = bundle(VARIANTS["dx"], result(VARIANTS["dx"]))["entry"][0]
    assert entry["request"]["ifNoneExist"] == "identifier=urn:osteon:issuer:HOSP|PID-4711"
    entry = bundle(VARIANTS["dx"], result(VARIANTS["dx"]), patient_system="urn:oid:1.2.3")["entry"][0]
    assert entry["request"]["ifNoneExist"] == "identifier=urn:oid:1.2.3|PID-4711"


def test_a_patient_without_a_number_is_not_created() -> None:
    made = bundle(VARIANTS["gaps"], result(VARIANTS["gaps"]))
    assert resources(made, "Patient") == []


def test_a_number_cannot_change_the_query() -> None:
    source = variants()["dx"]
    source.PatientID = "1&_id=2|,$ü"
    entry = bundle(source, result(source))["entry"][0]
    assert entry["request"]["ifNoneExist"] == "identifier=urn:osteon:issuer:HOSP|1%26_id%3D2%7C%2C%24%C3%BC"


def test_a_date_that_is_none_is_left_out() -> None:
    source = variants()["dx"]
    source.PatientBirthDate = "19701399"
    assert "birthDate" not in resources(bundle(source, result(source)), "Patient")[0]


def test_an_invalid_bundle_is_refused_without_naming_the_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.reporting.fhir._name", lambda value: {"given": {"Änne": value}})
    with pytest.raises(Rejected) as caught:
        transaction(study(result(VARIANTS["dx"])), VARIANTS["dx"])
    assert caught.value.code == "fhir_invalid"
    assert "Änne" not in str(caught.value) and caught.value.__cause__ is None


def test_the_same_result_gives_the_same_bundle() -> None:
    source = VARIANTS["utf8"]
    assert transaction(study(result(source)), source) == transaction(study(result(source)), source)


def test_report_and_observations_are_of_the_examination_and_issued_now() -> None:
    ds = copy.deepcopy(VARIANTS["dx"])
    ds.TimezoneOffsetFromUTC = "+0200"
    given = result(ds)
    resources = [e["resource"] for e in json.loads(transaction(study(given), ds))["entry"]]
    told = [r for r in resources if r["resourceType"] in ("DiagnosticReport", "Observation")]
    assert {r["effectiveDateTime"] for r in told} == {"2026-01-02T10:11:12+02:00"}
    (report,) = [r for r in told if r["resourceType"] == "DiagnosticReport"]
    assert report["issued"].startswith(given.created_at.strftime("%Y-%m-%dT%H:%M"))
