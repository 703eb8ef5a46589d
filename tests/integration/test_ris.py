"""HL7 over MLLP to a receiver on another parser, and the error for each of its misbehaviours."""

from __future__ import annotations

import copy
import socket
import ssl
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from appliance.config import ClientTls
from appliance.dicom.reading.order import read_examination
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.sentence import Sentence
from appliance.errors import Away, OsteonError, Refused, Rejected, Transient
from appliance.network import client_context
from appliance.ports import Artefact
from appliance.reporting.hl7.mllp import MllpDestination
from appliance.reporting.hl7.order_update import priority_update, priority_withdrawal
from appliance.reporting.hl7.oru import oru_r01, oru_withdrawal
from appliance.reporting.hl7.segments import control_id
from appliance.reporting.hl7.values import filler_number
from tests.support.certificates import Authority
from tests.support.hl7_rules import violations
from tests.support.peers import NodePeer
from tests.support.profiles import hl7
from tests.support.results import finding, result, study, unanalysed
from tests.support.sources import variants

SOURCE = variants()["utf8"]
STUDY = study(
    result(SOURCE, finding(), finding(0.4), finding(0.1), caveats=(Sentence.of("a cast was seen"),)), unanalysed(SOURCE)
)
START = Callable[..., NodePeer]


def oru(**settings: Any) -> Artefact:
    content = oru_r01(STUDY, read_examination(SOURCE), hl7(**settings))
    return Artefact(kind=ArtefactKind.ORU, identifier=control_id(STUDY), content=content)


def update() -> Artefact:
    """A second message, with a control id of its own."""
    content = priority_update(STUDY, read_examination(SOURCE), hl7(flag="orm"))
    return Artefact(kind=ArtefactKind.ORDER, identifier=control_id(STUDY, "order"), content=content)


def ris(port: int, timeout_s: float = 60, tls: ssl.SSLContext | None = None) -> MllpDestination:
    return MllpDestination("RIS", "127.0.0.1", port, timeout_s, tls)


def raised(destination: MllpDestination, artefacts: list[Artefact]) -> OsteonError:
    with pytest.raises((Transient, Rejected)) as caught:
        destination.send(artefacts)
    for private in ("Łukasiewicz", "Žofie", "4711", "1970", "ACC-77"):
        assert private not in str(caught.value)
    return caught.value


def test_message_is_read_by_the_ris(node_peer: START) -> None:
    receiver = node_peer("mllp_receiver.js")
    assert ris(receiver.port).send([oru()]) == ["acknowledged (AA)"]
    got = receiver.received()
    assert got["framed"] and got["isUtf8"] and got["text"].encode() == oru().content
    assert got["type"] == "ORU^R01^ORU_R01" and got["id"] == oru().identifier and got["obr25"] == "P"
    assert got["family"] == "Łukasiewicz-Ångström"
    assert ["NM", "PROBABILITY^Probability of a fracture^99OSTEON", "0.870", "P"] in got["observations"]


@pytest.mark.parametrize(
    ("order", "numbers"), [("own", ("", "ours", "PL-1^FI-1")), ("accession", ("PL-1", "FI-1", ""))]
)
def test_order_and_loinc_codes_are_read_by_another_parser(
    order: str, numbers: tuple[str, str, str], node_peer: START
) -> None:
    source = copy.deepcopy(SOURCE)
    request = Dataset()
    request.PlacerOrderNumberImagingServiceRequest, request.FillerOrderNumberImagingServiceRequest = "PL-1", "FI-1"
    source.RequestAttributesSequence = [request]
    content = oru_r01(STUDY, read_examination(source), hl7(order=order, observation_codes="loinc"))
    receiver = node_peer("mllp_receiver.js")
    ris(receiver.port).send([Artefact(kind=ArtefactKind.ORU, identifier="-", content=content)])
    got = receiver.received()
    assert got["unchanged"] and violations(got["text"]) == [] and got["obr25"] == "P"
    ours = f"{filler_number(STUDY.study_instance_uid)}^OSTEON"
    assert got["order"] == [ours if number == "ours" else number for number in numbers]
    assert "19005-8^Radiology Imaging study [Impression] (narrative)^LN" in {each[1] for each in got["observations"]}


@pytest.mark.parametrize("character_set", ["UNICODE UTF-8", "ASCII", "8859/1", "8859/2", "8859/15"])
@pytest.mark.parametrize("version", ["2.3.1", "2.4", "2.5.1"])
@pytest.mark.proves("MIS-6")
def test_message_of_every_profile_is_read_by_another_parser(version: str, character_set: str, node_peer: START) -> None:
    receiver = node_peer("mllp_receiver.js")
    profile = hl7(
        version=version, character_set=character_set, flag="omi" if version == "2.5.1" else "orm", usual_priority="R"
    )
    messages = [
        oru_r01(STUDY, read_examination(SOURCE), profile),
        oru_withdrawal(STUDY, read_examination(SOURCE), profile, "wrong patient"),
        priority_update(STUDY, read_examination(SOURCE), profile),
        priority_withdrawal(STUDY, read_examination(SOURCE), profile),
    ]
    for content in messages:
        ris(receiver.port).send([Artefact(kind=ArtefactKind.ORU, identifier="-", content=content)])
        got = receiver.received()
        assert got["unchanged"] and got["declared"] == character_set
        assert [name for name in got["segments"] if name] == [
            line[:3] for line in content.decode("latin-1").split("\r")[:-1]
        ]
        if character_set in ("UNICODE UTF-8", "8859/1", "ASCII"):
            assert violations(got["text"]) == []
            family = {"ASCII": "?ukasiewicz-Angstrom", "8859/1": "?ukasiewicz-Ångström"}
            assert got["family"] == family.get(character_set, "Łukasiewicz-Ångström")


@pytest.mark.parametrize(
    "behaviour",
    [
        "AA",
        "CA",
        "split",
        "split:7:2",
        "late",
        "delay:100",
        "noise",
        "lf",
        "crlf",
        "bigack",
        "latin1",
        "early",
        "dup",
        "nocr",
        "bom",
    ],
)
def test_acknowledgement_in_any_form_counts(behaviour: str, node_peer: START) -> None:
    notes = ris(node_peer("mllp_receiver.js", behaviour).port).send([oru(), update()])
    assert [note.split(" ")[0] for note in notes] == ["acknowledged"] * 2


@pytest.mark.parametrize(
    ("behaviour", "kind", "code"),
    [
        ("AE", Transient, "mllp_error"),
        ("CE", Transient, "mllp_error"),
        ("AR207", Transient, "mllp_error"),
        ("CR206", Transient, "mllp_error"),
        ("AR", Refused, "mllp_refused"),
        ("CR", Refused, "mllp_refused"),
        ("drop", Transient, None),
        ("rst", Transient, "mllp_closed"),
        ("half", Transient, "mllp_closed"),
        ("wrongid", Transient, "mllp_mismatch"),
        ("noid", Transient, "mllp_mismatch"),
        ("split:50+wrongid", Transient, "mllp_mismatch"),
        ("nomsa", Transient, "mllp_garbage"),
        ("badcode", Transient, "mllp_garbage"),
        ("nostart", Transient, "mllp_no_frame"),
        ("noframe+closeafter", Transient, "mllp_no_frame"),
        ("http", Transient, "mllp_garbage"),
        ("garbage", Transient, "mllp_garbage"),
        ("utf16", Transient, "mllp_garbage"),
        ("endless", Transient, "mllp_garbage"),
    ],
)
@pytest.mark.proves("SAF-15")
def test_reply_without_acceptance_is_an_error(
    behaviour: str, kind: type[OsteonError], code: str | None, node_peer: START
) -> None:
    error = raised(ris(node_peer("mllp_receiver.js", behaviour).port), [oru()])
    assert isinstance(error, kind)
    assert code is None or error.code == code


@pytest.mark.parametrize("behaviour", ["silent", "delay:2000"])
def test_silent_peer_ends_with_the_timeout(behaviour: str, node_peer: START) -> None:
    error = raised(ris(node_peer("mllp_receiver.js", behaviour).port, timeout_s=0.5), [oru()])
    assert isinstance(error, Transient) and error.code == "mllp_timeout"


@pytest.mark.parametrize(
    ("behaviour", "words"), [("noframe", "without MLLP's start byte"), ("noend", "without MLLP's end bytes")]
)
def test_acknowledgement_without_a_frame_is_reported_as_that(behaviour: str, words: str, node_peer: START) -> None:
    error = raised(ris(node_peer("mllp_receiver.js", behaviour).port, timeout_s=0.5), [oru()])
    assert isinstance(error, Transient) and error.code == "mllp_no_frame" and words in error.reason


def test_peer_that_does_not_accept_connections_is_away() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        waiting = []
        try:
            for _ in range(2):  # they fill the backlog: the system drops the next connection requests
                waiting.append(socket.socket())
                waiting[-1].setblocking(False)
                waiting[-1].connect_ex(("127.0.0.1", port))
            error = raised(ris(port, timeout_s=0.5), [oru()])
        finally:
            for one in waiting:
                one.close()
    assert isinstance(error, Away) and error.code == "mllp_unreachable" and "timed out" in error.reason


def test_peer_that_closes_after_each_message_gets_the_next_on_a_new_connection(node_peer: START) -> None:
    destination = ris(node_peer("mllp_receiver.js", "closeafter,closeafter").port)
    assert destination.send([oru()]) == destination.send([update()]) == ["acknowledged (AA)"]


def test_second_message_waits_for_the_acknowledgement_of_the_first(node_peer: START) -> None:
    receiver = node_peer("mllp_receiver.js", "silent")
    raised(ris(receiver.port, timeout_s=0.5), [oru(), update()])
    assert receiver.received()["id"] == oru().identifier
    assert ris(receiver.port).send([update()])
    assert receiver.received()["id"] == update().identifier  # the first connection brought no second message


def test_acknowledgement_in_a_trickle_ends_with_the_timeout() -> None:
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


def test_missing_ris_is_away(free_port: int) -> None:
    error = raised(ris(free_port), [oru()])
    assert isinstance(error, Away) and error.code == "mllp_unreachable"


# Enhanced mode ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("acknowledgement", "behaviour", "note"),
    [
        ("accept", "CA", "acknowledged (CA)"),
        ("both", "CA+then:AA", "acknowledged (AA)"),
        ("both", "CA+thenlate:AA", "acknowledged (AA)"),
        ("both", "split:11+CA+then:AA", "acknowledged (AA)"),
        ("both", "AA", "acknowledged (AA)"),
    ],
)
def test_requested_acknowledgements_end_the_wait(
    acknowledgement: str, behaviour: str, note: str, node_peer: START
) -> None:
    receiver = node_peer("mllp_receiver.js", behaviour)
    assert ris(receiver.port).send([oru(acknowledgement=acknowledgement)]) == [note]
    fields = receiver.received()["text"].split("|")
    assert fields[14:16] == (["AL", "AL"] if acknowledgement == "both" else ["AL", "NE"])


@pytest.mark.parametrize(
    ("behaviour", "kind", "code"),
    [
        ("CA", Transient, "mllp_timeout"),
        ("CA+closeafter", Transient, "mllp_closed"),
        ("CE", Transient, "mllp_error"),
        ("CR", Refused, "mllp_refused"),
        ("CA+then:AE", Transient, "mllp_error"),
        ("CA+then:AR", Refused, "mllp_refused"),
        ("CA+thenlate:AR", Refused, "mllp_refused"),
    ],
)
def test_accept_acknowledgement_without_the_second_requested_one_is_an_error(
    behaviour: str, kind: type[OsteonError], code: str, node_peer: START
) -> None:
    destination = ris(node_peer("mllp_receiver.js", behaviour).port, timeout_s=0.7)
    error = raised(destination, [oru(acknowledgement="both")])
    assert type(error) is kind and error.code == code


# TLS ----------------------------------------------------------------------------------------------


def test_message_over_tls_arrives_with_certificates_on_both_sides(tmp_path: Path, node_peer: START) -> None:
    ca = Authority(tmp_path)
    peer, osteon = ca.issue("ris"), ca.issue("osteon")
    files = f"{peer.key},{peer.certificate},{ca.certificate}"
    receiver = node_peer("mllp_receiver.js", "", "--tls", files)
    config = ClientTls(ca=ca.certificate, certificate=osteon.certificate, key=osteon.key)
    assert ris(receiver.port, tls=client_context(config, "ris")).send([oru(), update()]) == ["acknowledged (AA)"] * 2
    assert receiver.received()["framed"]
    anonymous = client_context(ClientTls(ca=ca.certificate), "ris")
    assert isinstance(raised(ris(receiver.port, tls=anonymous), [oru()]), Away)


@pytest.mark.parametrize("wrong", ["another authority", "out of date", "another name", "plain"])
def test_peer_with_a_wrong_certificate_gets_nothing(wrong: str, tmp_path: Path, node_peer: START) -> None:
    ca = Authority(tmp_path)
    other = Authority(tmp_path, "other")
    peer = ca.issue("ris", timedelta(days=-1 if wrong == "out of date" else 90))
    arguments = [] if wrong == "plain" else ["--tls", f"{peer.key},{peer.certificate}"]
    receiver = node_peer("mllp_receiver.js", "", *arguments)
    config = ClientTls(ca=(other if wrong == "another authority" else ca).certificate)
    name = "elsewhere.example" if wrong == "another name" else None
    context = client_context(config, "ris")
    error = raised(MllpDestination("RIS", "127.0.0.1", receiver.port, 1, context, name), [oru()])
    assert isinstance(error, Transient) and error.code in ("mllp_tls", "mllp_timeout", "mllp_unreachable")
    assert wrong == "plain" or error.code == "mllp_tls"
