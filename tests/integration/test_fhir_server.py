"""FHIR transactions to a server on the definitions of 4.0.1: its resources afterwards, and its failures."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom.dataset import Dataset

from appliance.config import ClientTls
from appliance.dicom.reading.order import read_examination
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.sentence import Sentence
from appliance.domain.study import StudyResult
from appliance.errors import Away, OsteonError, Refused, Rejected, Transient
from appliance.network import client_context
from appliance.ports import Artefact
from appliance.reporting.fhir.bundle import transaction, withdrawal
from appliance.reporting.fhir.destination import FhirServer
from tests.support.certificates import Authority
from tests.support.peers import NodePeer
from tests.support.profiles import fhir as profile
from tests.support.results import finding, result, revised, study, unanalysed
from tests.support.sources import variants

SOURCE = variants()["utf8"]
STUDY = study(result(SOURCE, finding(), finding(0.4), finding(0.1), caveats=(Sentence.of("a cast was seen"),)))
START = Callable[..., NodePeer]


def bundle(given: StudyResult = STUDY, source: Dataset = SOURCE, **settings: Any) -> Artefact:
    return Artefact(
        kind=ArtefactKind.FHIR,
        identifier="bundle",
        content=transaction(given, read_examination(source), profile(**settings)),
    )


def withdrawn(given: StudyResult = STUDY, **settings: Any) -> Artefact:
    content = withdrawal(given, read_examination(SOURCE), profile(**settings), "wrong patient")
    return Artefact(kind=ArtefactKind.FHIR, identifier="withdrawal", content=content)


def fhir(port: int, bearer: str | None = None, tls: ssl.SSLContext | None = None, timeout_s: float = 60) -> FhirServer:
    return FhirServer("FHIR", f"http{'s' * bool(tls)}://127.0.0.1:{port}/R4", bearer, timeout_s, tls)


def raised(destination: FhirServer, artefacts: list[Artefact]) -> OsteonError:
    with pytest.raises((Transient, Rejected)) as caught:
        destination.send(artefacts)
    for private in ("Łukasiewicz", "Žofie", "4711", "1970", "ACC-77"):
        assert private not in str(caught.value)
    return caught.value


def held(port: int, kind: str) -> list[Any]:
    """Return every resource of the type that the server holds."""
    answer = httpx.get(f"http://127.0.0.1:{port}/R4/{kind}", params={"_count": 100}, trust_env=False).json()
    return [entry["resource"] for entry in answer.get("entry", [])]


def test_repeated_bundle_has_no_defect_and_makes_nothing_new(node_peer: START) -> None:
    server = node_peer("fhir_server.js")
    everything = bundle(flag="task")
    assert fhir(server.port).send([everything]) == ["accepted: 10 created, 0 already there or updated"]
    assert server.received()["defects"] == []
    assert fhir(server.port).send([everything]) == ["accepted: 0 created, 10 already there or updated"]
    kinds = {"Patient": 1, "Device": 1, "ImagingStudy": 1, "Observation": 4, "DiagnosticReport": 1, "Provenance": 1}
    assert {kind: len(held(server.port, kind)) for kind in (*kinds, "Task")} == kinds | {"Task": 1}


@pytest.mark.proves("MIS-6")
def test_bundle_of_every_source_is_valid_r4(node_peer: START) -> None:
    server = node_peer("fhir_server.js")
    for name, ds in variants().items():
        for given in (result(ds), unanalysed(ds)):
            fhir(server.port).send([bundle(study(given), ds, flag="task")])
            assert server.received()["defects"] == [], name


def test_revision_updates_the_same_report(node_peer: START) -> None:
    server = node_peer("fhir_server.js")
    fhir(server.port).send([bundle()])
    (before,) = held(server.port, "DiagnosticReport")
    view = replace(
        unanalysed(variants()["cr"]), study_instance_uid=STUDY.study_instance_uid, created_at=STUDY.created_at
    )
    later = revised(study(result(SOURCE, finding(0.2), finding(0.1), finding(0.1)), view))
    assert fhir(server.port).send([bundle(later, revised_status="amended")])
    (after,) = held(server.port, "DiagnosticReport")
    assert after["id"] == before["id"] and after["meta"]["versionId"] != before["meta"]["versionId"]
    assert (before["status"], after["status"]) == ("preliminary", "amended")
    assert after["identifier"] == before["identifier"] and after["conclusion"] != before["conclusion"]
    observations = held(server.port, "Observation")
    assert len(observations) == 5 and len(after["result"]) == 5
    assert {r["reference"].split("/")[1] for r in before["result"]} < {o["id"] for o in observations}
    told = [p for p in held(server.port, "Provenance") if len(p["entity"]) == 2]
    assert told[0]["entity"][1]["what"]["identifier"]["value"] == f"urn:oid:{STUDY.uid('fhir')}"


def test_late_delivery_of_the_first_revision_updates_the_same_report(node_peer: START) -> None:
    server = node_peer("fhir_server.js")
    fhir(server.port).send([bundle(revised(STUDY)), bundle()])
    assert len(held(server.port, "DiagnosticReport")) == 1


def test_withdrawal_enters_report_observations_and_task_in_error(node_peer: START) -> None:
    server = node_peer("fhir_server.js")
    fhir(server.port).send([bundle(flag="task"), withdrawn(flag="task")])
    assert server.received()["defects"] == server.received()["defects"] == []
    said = [r for kind in ("DiagnosticReport", "Observation", "Task") for r in held(server.port, kind)]
    assert len(said) == 6 and {r["status"] for r in said} == {"entered-in-error"}
    observations = held(server.port, "Observation")
    assert not any("valueCodeableConcept" in o or "interpretation" in o or "component" in o for o in observations)
    (report,) = held(server.port, "DiagnosticReport")
    assert report["conclusion"] == "WITHDRAWN: wrong patient" and "suspected" not in json.dumps(report)
    assert held(server.port, "Patient") and held(server.port, "ImagingStudy")  # a withdrawal leaves those


def test_task_follows_the_revisions(node_peer: START) -> None:
    server = node_peer("fhir_server.js")
    negative = revised(study(result(SOURCE, finding(0.1))))
    flagged = revised(replace(negative, results=STUDY.results))
    for given, status in ((STUDY, "requested"), (negative, "cancelled"), (flagged, "requested")):
        fhir(server.port).send([bundle(given, flag="task"), bundle(given, flag="task")])
        assert [task["status"] for task in held(server.port, "Task")] == [status]
    fhir(server.port).send([bundle(negative, flag="task"), withdrawn(negative, flag="task")])
    assert [task["status"] for task in held(server.port, "Task")] == ["entered-in-error"]


def test_patient_number_without_an_issuer_does_not_match_another_hospitals(node_peer: START) -> None:
    server = node_peer("fhir_server.js")
    fhir(server.port).send([bundle(patient_system="urn:oid:1.2.3")])
    bare = variants()["utf8"]
    bare.pop("IssuerOfPatientID", None)
    bare.pop("IssuerOfPatientIDQualifiersSequence", None)
    error = raised(fhir(server.port), [bundle(source=bare, patient="reference")])
    assert isinstance(error, Rejected) and error.code == "fhir_refused" and "412" in str(error)
    fhir(server.port).send([bundle(source=bare), bundle(source=bare)])
    systems = [patient["identifier"][0].get("system") for patient in held(server.port, "Patient")]
    assert len(systems) == 2 and set(systems) == {"urn:oid:1.2.3", None}
    (report,) = held(server.port, "DiagnosticReport")
    (created,) = [p for p in held(server.port, "Patient") if "system" not in p["identifier"][0]]
    assert report["subject"] == {"reference": f"Patient/{created['id']}"}


def test_patient_and_study_are_referred_to_where_configured(node_peer: START) -> None:
    server = node_peer("fhir_server.js")
    settings: dict[str, Any] = {"patient": "reference", "imaging_study": "reference"}
    error = raised(fhir(server.port), [bundle(**settings)])
    assert isinstance(error, Rejected) and error.code == "fhir_refused" and "412" in str(error)
    fhir(server.port).send([bundle()])
    (patient,) = held(server.port, "Patient")
    assert fhir(server.port).send([bundle(revised(STUDY), **settings)])
    (report,) = held(server.port, "DiagnosticReport")
    assert report["subject"]["reference"] == f"Patient/{patient['id']}"
    assert report["imagingStudy"][0]["reference"].startswith("ImagingStudy/")


def test_token_is_sent(node_peer: START) -> None:
    server = node_peer("fhir_server.js", "", "--token", "secret")
    assert fhir(server.port, "secret").send([bundle()])
    error = raised(fhir(server.port, "stale"), [bundle()])
    assert error.code == "fhir_failed" and "401" in str(error) and "stale" not in str(error)


def test_failure_of_each_kind_has_its_own_error(node_peer: START) -> None:
    expected = {
        "500": Transient, "502": Transient, "503": Transient, "401": Transient, "408": Transient, "409": Transient,
        "425": Transient, "429": Away, "302": Refused, "400": Refused, "403": Refused, "404": Refused, "410": Refused,
        "412": Refused, "413": Refused, "422": Refused, "418": Refused, "drop": Transient, "half": Transient,
        "html": Transient, "short": Transient, "entry:409": Transient, "entry:412": Refused, "entry:422": Refused,
        "entry:500": Transient, "entry:": Transient,
    }  # fmt: skip
    server = node_peer("fhir_server.js", ",".join(expected))
    got = {word: type(raised(fhir(server.port), [bundle()])) for word in expected}
    assert got == expected


def test_failed_entry_is_named(node_peer: START) -> None:
    error = raised(fhir(node_peer("fhir_server.js", "entry:422").port), [bundle()])
    assert error.code == "fhir_refused" and "422" in str(error) and "entry 9, Provenance" in str(error)


@pytest.mark.parametrize("word", ["429:30", "503:30"])
def test_server_with_retry_after_gets_the_pause(word: str, node_peer: START) -> None:
    server = node_peer("fhir_server.js", word)
    destination = fhir(server.port)
    error = raised(destination, [bundle()])
    assert isinstance(error, Away) and (error.code, error.wait_s) == ("fhir_asked_to_wait", 30)
    assert fhir(server.port).send([bundle()])


def test_missing_response_is_transient(node_peer: START) -> None:
    error = raised(fhir(node_peer("fhir_server.js", "delay:3000").port, timeout_s=0.5), [bundle()])
    assert type(error) is Transient and error.code == "fhir_too_slow"


def test_invalid_bundle_is_refused_by_the_server(node_peer: START) -> None:
    spoiled = json.loads(bundle().content)
    del next(e for e in spoiled["entry"] if e["resource"]["resourceType"] == "DiagnosticReport")["resource"]["code"]
    server = node_peer("fhir_server.js")
    artefact = Artefact(kind=ArtefactKind.FHIR, identifier="spoiled", content=json.dumps(spoiled).encode())
    assert type(raised(fhir(server.port), [artefact])) is Refused


def test_missing_server_is_away(free_port: int) -> None:
    error = raised(fhir(free_port), [bundle()])
    assert isinstance(error, Away) and error.code == "fhir_unreachable"


def test_connection_over_tls_needs_certificates_on_both_sides(tmp_path: Path, node_peer: START) -> None:
    ca = Authority(tmp_path)
    peer, osteon = ca.issue("fhir"), ca.issue("osteon")
    server = node_peer("fhir_server.js", "", "--tls", f"{peer.key},{peer.certificate},{ca.certificate}")
    config = ClientTls(ca=ca.certificate, certificate=osteon.certificate, key=osteon.key)
    assert fhir(server.port, tls=client_context(config, "fhir")).send([bundle()])
    anonymous = fhir(server.port, tls=client_context(ClientTls(ca=ca.certificate), "fhir"))
    assert isinstance(raised(anonymous, [bundle()]), Away)
    stranger = client_context(ClientTls(ca=Authority(tmp_path, "other").certificate), "fhir")
    assert isinstance(raised(fhir(server.port, tls=stranger), [bundle()]), Away)
