"""The ways out to RIS and FHIR server, against programs of other people, and what a misbehaving one makes of it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable

import pytest

from appliance.errors import OsteonError, Rejected, Transient
from appliance.ports import Artefact, Destination
from appliance.reporting.fhir import FhirDestination, transaction
from appliance.reporting.mllp import MllpDestination
from appliance.reporting.oru import control_id, oru_r01
from tests.support.peers import NodePeer
from tests.support.results import finding, result, study, unanalysed
from tests.support.sources import variants

SOURCE = variants()["utf8"]
RESULT = result(SOURCE, finding(), finding(0.4), finding(0.1), caveats=("a cast was seen",))
STUDY = study(RESULT)
START = Callable[..., NodePeer]


def oru() -> Artefact:
    content = oru_r01(
        STUDY,
        SOURCE,
        sending_application="OSTEON",
        sending_facility="XRAY",
        receiving_application="RIS",
        receiving_facility="HOSP",
    )
    return Artefact(kind="oru", identifier=control_id(STUDY), content=content)


def bundle() -> Artefact:
    return Artefact(kind="fhir", identifier="bundle", content=transaction(STUDY, SOURCE))


def ris(port: int, timeout_s: float = 5) -> MllpDestination:
    return MllpDestination("RIS", "127.0.0.1", port, timeout_s)


def fhir(port: int, bearer: str | None = None) -> FhirDestination:
    return FhirDestination("FHIR", f"http://127.0.0.1:{port}/R4", bearer, 20)


def raised(destination: Destination, artefacts: list[Artefact]) -> OsteonError:
    with pytest.raises((Transient, Rejected)) as caught:
        destination.send(artefacts)
    for private in ("Łukasiewicz", "Žofie", "4711", "1970", "ACC-77"):
        assert private not in str(caught.value)
    return caught.value


# HL7, to a receiver on another parser -------------------------------------------------------------


def test_the_ris_reads_what_was_sent(node_peer: START) -> None:
    receiver = node_peer("mllp_receiver.js")
    assert ris(receiver.port).send([oru()]) == ["acknowledged (AA)"]
    got = receiver.received()
    assert got["framed"] and got["isUtf8"] and got["text"].encode() == oru().content
    assert got["type"] == "ORU^R01^ORU_R01" and got["id"] == oru().identifier and got["obr25"] == "P"
    assert got["family"] == "Łukasiewicz-Ångström"
    assert ["NM", "PROBABILITY^Probability of a fracture^99OSTEON", "0.870", "P"] in got["observations"]


@pytest.mark.parametrize("behaviour", ["AA", "CA", "split", "late", "noise"])
def test_an_acknowledgement_counts_however_it_comes(behaviour: str, node_peer: START) -> None:
    notes = ris(node_peer("mllp_receiver.js", behaviour).port).send([oru(), oru()])
    assert [note.split(" ")[0] for note in notes] == ["acknowledged"] * 2


@pytest.mark.parametrize(
    ("behaviour", "kind", "code"),
    [
        ("AE", Transient, "mllp_error"),
        ("CE", Transient, "mllp_error"),
        ("AR207", Transient, "mllp_error"),
        ("AR", Rejected, "mllp_refused"),
        ("CR", Rejected, "mllp_refused"),
        ("drop", Transient, None),
        ("half", Transient, "mllp_closed"),
        ("wrongid", Transient, "mllp_mismatch"),
        ("garbage", Transient, "mllp_garbage"),
    ],
)
def test_anything_else_is_not_delivered(
    behaviour: str, kind: type[OsteonError], code: str | None, node_peer: START
) -> None:
    error = raised(ris(node_peer("mllp_receiver.js", behaviour).port), [oru()])
    assert type(error) is kind
    assert code is None or error.code == code


def test_silence_ends_with_the_timeout(node_peer: START) -> None:
    error = raised(ris(node_peer("mllp_receiver.js", "silent").port, timeout_s=0.3), [oru()])
    assert isinstance(error, Transient) and error.code == "mllp_timeout"


def test_a_trickle_does_not_outlast_the_timeout() -> None:
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def trickle() -> None:
            connection, _ = server.accept()
            with connection:
                while not stop.wait(0.05):
                    connection.sendall(b"\x0b")

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            error = raised(ris(server.getsockname()[1], timeout_s=0.4), [oru()])
        finally:
            stop.set()
            thread.join()
    assert error.code == "mllp_timeout"


def test_no_ris_is_transient(free_port: int) -> None:
    assert raised(ris(free_port), [oru()]).code == "mllp_unreachable"


# FHIR, to a server on the definitions of 4.0.1 ----------------------------------------------------


def test_the_server_finds_no_defect_and_a_repeat_creates_nothing(node_peer: START) -> None:
    server = node_peer("fhir_server.js")
    assert fhir(server.port).send([bundle()]) == ["accepted: 7 created, 0 already there"]
    assert server.received()["defects"] == []
    assert fhir(server.port).send([bundle()]) == ["accepted: 0 created, 7 already there"]


def test_every_variant_of_the_source_is_valid_r4(node_peer: START) -> None:
    server = node_peer("fhir_server.js")
    for name, ds in variants().items():
        for given in (result(ds), unanalysed(ds)):
            fhir(server.port).send([Artefact(kind="fhir", identifier=name, content=transaction(study(given), ds))])
            assert server.received()["defects"] == [], name


def test_the_token_is_sent(node_peer: START) -> None:
    server = node_peer("fhir_server.js", "", "--token", "secret")
    assert fhir(server.port, "secret").send([bundle()])
    error = raised(fhir(server.port, "stale"), [bundle()])
    assert error.code == "fhir_401" and "stale" not in str(error)


def test_each_failure_is_told_apart(node_peer: START) -> None:
    expected = {
        "500": Transient, "503": Transient, "401": Transient, "408": Transient, "409": Transient,
        "425": Transient, "429": Transient, "400": Rejected, "403": Rejected, "422": Rejected,
        "drop": Transient, "html": Transient, "entry:422": Rejected, "entry:500": Transient,
    }  # fmt: skip
    server = node_peer("fhir_server.js", ",".join(expected))
    got = {word: type(raised(fhir(server.port), [bundle()])) for word in expected}
    assert got == expected


def test_an_invalid_bundle_is_refused_by_the_server(node_peer: START) -> None:
    spoiled = json.loads(bundle().content)
    del spoiled["entry"][-1]["resource"]["code"]
    server = node_peer("fhir_server.js")
    artefact = Artefact(kind="fhir", identifier="spoiled", content=json.dumps(spoiled).encode())
    assert type(raised(fhir(server.port), [artefact])) is Rejected


def test_no_server_is_transient(free_port: int) -> None:
    assert raised(fhir(free_port), [bundle()]).code == "fhir_unreachable"
