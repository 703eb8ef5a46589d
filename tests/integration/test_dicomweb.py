"""Delivery by DICOMweb: Orthanc's plugin on the wire, and a scripted server that answers as other archives do."""

from __future__ import annotations

import base64
import json
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import UID, ComprehensiveSRStorage, ExplicitVRLittleEndian, JPEGBaseline8Bit
from sqlalchemy import update

from appliance.clock import now
from appliance.config import Configuration
from appliance.dicom.objects.document import reference
from appliance.dicom.objects.key_objects import rejection_note
from appliance.dicom.part10 import dataset_from_bytes, part10_bytes
from appliance.dicom.scu.outcomes import Parcel
from appliance.dicom.scu.sender import send_files
from appliance.dicom.web.archive import WebArchive, _groups
from appliance.dicom.web.stow import multipart
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.codes import REJECTED_FOR_QUALITY
from appliance.domain.job import Backoff
from appliance.errors import Away, OsteonError, Refused, Transient
from appliance.ports import Artefact, Fate, Sent
from appliance.storage.tables import destinations
from appliance.storage.withdrawals import deliveries_to_revoke
from provisioning.operation.check import find_problems
from provisioning.operation.doctor.dicomweb import check_dicomweb
from provisioning.operation.doctor.finding import Level
from tests.support.certificates import Authority
from tests.support.hostile import drip, hostile_server, pour, read_http_request
from tests.support.objects import answered, objects
from tests.support.orthanc import Orthanc, orthanc
from tests.support.outbox import Outbox, picture, radiograph
from tests.support.peers import Peer, missing
from tests.support.results import study
from tests.support.sources import variants
from tests.support.stow import Answer, Request, everything_stored, profile, response, stored, stow_server

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
SOURCE = variants()["utf8"]
PRIVATE = ("Łukasiewicz", "Žofie", "4711", "1970", "ACC-77")
KINDS = {
    "summary": ArtefactKind.SUMMARY,
    "sr": ArtefactKind.STRUCTURED_REPORT,
    "ko": ArtefactKind.KEY_OBJECTS,
    "pr": ArtefactKind.PRESENTATION_STATE,
    "sc": ArtefactKind.SECONDARY_CAPTURE,
}


def artefacts() -> dict[str, Artefact]:
    """Return one artefact of each kind, of one study."""
    made = objects(SOURCE)
    return {
        name: Artefact(kind=kind, identifier=str(made[name].SOPInstanceUID), content=part10_bytes(made[name]))
        for name, kind in KINDS.items()
    }


OBJECTS = artefacts()
SC, SR = OBJECTS["sc"], OBJECTS["sr"]


@contextmanager
def archive(peer: Peer, folder: Path, **others: Any) -> Iterator[Orthanc]:
    """Run Orthanc with its DICOMweb plugin."""
    if not PLUGIN.exists():
        missing("the peer orthanc-dicomweb is not installed; run tests/peers/install.sh")
    settings = {"Plugins": [str(PLUGIN)], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}} | others
    with orthanc(peer("Orthanc"), folder / "orthanc", **settings) as there:
        yield there


def assert_no_identity(*texts: str) -> None:
    assert not [private for text in texts for private in PRIVATE if private in text]


# Orthanc ------------------------------------------------------------------------------------------


def test_orthanc_files_every_object_unchanged_and_a_repeat_adds_none(peer: Peer, tmp_path: Path) -> None:
    with archive(peer, tmp_path) as there:
        web = WebArchive(profile(there.http_port))
        for _ in range(2):
            said = stored(web, list(OBJECTS.values()))
            assert [(o.fate, o.code, o.reason) for o in said.values()] == [
                (Fate.TAKEN, "delivered", "Success (0x0000)")
            ] * len(OBJECTS)
        filed = there.instances
        assert set(filed) == {one.identifier for one in OBJECTS.values()}
        (found,) = there.get("/studies?expand")
        assert found["MainDicomTags"]["StudyInstanceUID"] == SOURCE.StudyInstanceUID
        for one in OBJECTS.values():
            address = f"http://127.0.0.1:{there.http_port}/instances/{filed[one.identifier]}/file"
            with urllib.request.urlopen(address, timeout=60) as file:
                assert dataset_from_bytes(file.read()) == dataset_from_bytes(one.content)


def test_delivery_proven_by_qido_is_done_and_one_that_vanished_is_not(peer: Peer, tmp_path: Path) -> None:
    with archive(peer, tmp_path) as there, Outbox(tmp_path, profile(there.http_port, proof="find")) as outbox:
        for number in range(3):
            outbox.answer(radiograph(number), ("pacs", picture(radiograph(number))))
        assert outbox.carry()
        assert all(row.stored_at and not row.proven_at for row in outbox.rows)
        lost = there.instances[outbox.rows[1].identifier]
        there.delete(f"/instances/{lost}")
        outbox.carry_until(done=2, queued=1)
        assert [row.code for row in outbox.rows] == ["in_pacs", "not_found", "in_pacs"]
        assert "QIDO-RS" in outbox.rows[1].reason


@pytest.mark.parametrize(
    ("identity", "code"),
    [
        ({}, "delivered"),
        ({"AccessionNumber": ""}, "delivered"),
        ({"PatientID": "OTHER-PATIENT"}, "identity_changed"),
        ({"AccessionNumber": "ANOTHER"}, "identity_changed"),
        (None, "study_not_there"),
    ],
)
def test_object_of_a_study_with_another_identity_is_not_stored(
    identity: dict[str, str] | None, code: str, peer: Peer, tmp_path: Path
) -> None:
    with archive(peer, tmp_path) as there:
        if identity is not None:
            ds = dataset_from_bytes(SC.content)
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3.4")
            for keyword, value in identity.items():
                setattr(ds, keyword, value)
            (tmp_path / "one.dcm").write_bytes(part10_bytes(ds))
            sent = send_files(
                [tmp_path / "one.dcm"],
                host="127.0.0.1",
                port=there.port,
                called_ae_title="PACS",
                calling_ae_title="OSTEON",
            )
            assert all(status.is_there for _, status in sent)
        said = stored(WebArchive(profile(there.http_port, recheck_identity=True)), [SC, SR])
        assert {o.code for o in said.values()} == {code}
        assert (SC.identifier in there.instances) is (code == "delivered")
    assert_no_identity(*(o.reason for o in said.values()))


def test_password_is_read_from_its_file_for_each_request(peer: Peer, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("schlüssel:1\n")
    users = {"AuthenticationEnabled": True, "RegisteredUsers": {"osteon": "schlüssel:2"}}
    other = base64.b64encode("osteon:schlüssel:2".encode()).decode()

    def is_up(self: Orthanc) -> bool:
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}/system")
        request.add_header("Authorization", f"Basic {other}")
        try:
            urllib.request.urlopen(request, timeout=60).close()
        except OSError:
            return False
        return True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Orthanc, "is_up", is_up)
        with archive(peer, tmp_path, **users) as there:
            web = WebArchive(profile(there.http_port, user="osteon", password_file=secret))
            (said,) = stored(web, [SC]).values()
            assert (said.fate, said.code) == (Fate.LATER, "dicomweb_failed") and "401" in said.reason
            assert "schlüssel" not in said.reason
            secret.write_text("schlüssel:2")
            (said,) = stored(web, [SC]).values()
            assert said.fate is Fate.TAKEN


def test_instance_that_orthanc_cannot_read_costs_the_others_nothing(
    peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orthanc answers 400 to the whole request, although it has stored a part of it."""

    def garble(contents: list[bytes]) -> tuple[bytes, str]:
        return multipart(b"nonsense" if content == SR.content else content for content in contents)

    monkeypatch.setattr("appliance.dicom.web.archive.multipart", garble)
    with archive(peer, tmp_path) as there:
        said = stored(WebArchive(profile(there.http_port)), [SR, SC])
        assert [SC.identifier] == list(there.instances)
    assert [(said[n].fate, said[n].code) for n in range(2)] == [
        (Fate.REFUSED, "dicomweb_refused"),
        (Fate.TAKEN, "delivered"),
    ]


# A scripted server --------------------------------------------------------------------------------


def uids(request: Request) -> list[str]:
    return [str(ds.SOPInstanceUID) for ds in request.objects]


def outcomes(script: Callable[[Request], Answer], *sent: Artefact, **settings: Any) -> list[tuple[Fate, str]]:
    """Return fate and code of each of `sent` at a server that answers by `script`."""
    with stow_server(script) as (port, _):
        said = stored(WebArchive(profile(port, **settings)), sent)
    assert_no_identity(*(o.reason for o in said.values()))
    return [(said[number].fate, str(said[number].code)) for number in range(len(sent))]


def test_request_holds_the_objects_of_one_study_and_a_note_goes_alone() -> None:
    others = [picture(radiograph(number)) for number in range(2)]
    note = rejection_note(
        study(answered(SOURCE)),
        {str(SOURCE.SOPInstanceUID): SOURCE},
        [reference(dataset_from_bytes(SC.content))],
        REJECTED_FOR_QUALITY,
        at=answered(SOURCE).created_at,
        words="old",
    )
    rejection = Artefact(kind=ArtefactKind.REJECTION, identifier=str(note.SOPInstanceUID), content=part10_bytes(note))
    sent = [SC, others[0], SR, rejection, others[1]]
    with stow_server(everything_stored) as (port, received):
        said = stored(WebArchive(profile(port)), sent)
    assert {o.fate for o in said.values()} == {Fate.TAKEN} and len(said) == 5
    together = [[SC.identifier, SR.identifier], [rejection.identifier], *([one.identifier] for one in others)]
    assert [uids(request) for request in received] == together
    assert {(request.method, request.path) for request in received} == {("POST", "/dicom-web/studies")}
    assert {request.headers["Accept"] for request in received} == {"application/dicom+json"}


@pytest.mark.parametrize(("limit", "groups"), [(2.5, [[0, 1], [2, 3], [4]]), (0.5, [[0], [1], [2], [3], [4]])])
def test_request_has_at_most_so_many_bytes(
    limit: float, groups: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.dicom.web.archive.MOST_REQUEST_BYTES", limit * len(SC.content))
    assert [list(group) for group in _groups(dict.fromkeys(range(5), Parcel(SC, [])))] == groups


@pytest.mark.parametrize(
    ("failed", "expected"),
    [
        (0xA700, (Fate.LATER, "store_transient")),
        (0x0110, (Fate.LATER, "store_transient")),
        (None, (Fate.LATER, "store_transient")),
        (0xA900, (Fate.REFUSED, "store_rejected")),
        (0xC000, (Fate.REFUSED, "store_rejected")),
        (0x0111, (Fate.TAKEN, "already_there")),
        (0xB00E, (Fate.TAKEN, "already_there")),
        (0xB000, (Fate.LATER, "store_transient")),
        (0x1_0000, (Fate.LATER, "store_transient")),
    ],
)
@pytest.mark.parametrize("status", [200, 202, 409])
def test_failed_object_has_the_outcome_of_its_reason_and_the_other_is_taken(
    failed: int | None, expected: tuple[Fate, str], status: int
) -> None:
    def script(request: Request) -> Answer:
        return response({uid: 0 for uid in uids(request) if uid == SC.identifier}, {SR.identifier: failed}, status)

    assert outcomes(script, SR, SC) == [expected, (Fate.TAKEN, "delivered")]


def test_object_that_exists_is_held_or_verified_by_profile() -> None:
    def script(request: Request) -> Answer:
        return response({}, dict.fromkeys(uids(request), 0x0111), 409)

    assert outcomes(script, SC, existing="hold") == [(Fate.UNFIT, "already_there")]
    assert outcomes(script, SC, existing="verify") == [(Fate.UNPROVEN, "already_there")]


def test_warning_counts_as_stored_and_is_named() -> None:
    with stow_server(lambda request: response(dict.fromkeys(uids(request), 0xB000), {}, 202)) as (port, _):
        (said,) = stored(WebArchive(profile(port)), [SC]).values()
    assert (said.fate, said.reason) == (Fate.TAKEN, "Coercion of Data Elements (0xB000)")


def test_object_that_is_called_stored_and_failed_has_failed() -> None:
    def script(request: Request) -> Answer:
        return response(dict.fromkeys(uids(request), 0), {SC.identifier: 0xA700})

    assert outcomes(script, SC, SR) == [(Fate.LATER, "store_transient"), (Fate.TAKEN, "delivered")]


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"<NativeDicomModel/>", b"[" * 100_000, b'{"00081199": 1}', b"null"]
)
def test_success_that_names_no_object_is_no_delivery(body: bytes) -> None:
    assert outcomes(lambda _: Answer(200, body), SC, SR) == [(Fate.LATER, "dicomweb_answer")] * 2
    assert outcomes(lambda _: Answer(200, body), SC, SR, proof="find") == [(Fate.UNPROVEN, "delivered")] * 2


@pytest.mark.parametrize(
    "item", [1, "x", None, [], {}, {"00081155": 1}, {"00081155": {"Value": "x"}}, {"00081155": {"Value": [[1]]}}]
)
def test_malformed_item_of_a_response_is_left_out(item: Any) -> None:
    body = json.dumps({"00081199": {"Value": [item]}, "00081198": {"Value": [item]}}).encode()
    assert outcomes(lambda _: Answer(200, body), SC) == [(Fate.LATER, "dicomweb_answer")]


def test_request_that_is_refused_as_a_whole_is_no_verdict_on_its_objects() -> None:
    def script(request: Request) -> Answer:
        return Answer(400) if SR.identifier in uids(request) else everything_stored(request)

    assert outcomes(script, SR, SC) == [(Fate.REFUSED, "dicomweb_refused"), (Fate.TAKEN, "delivered")]


STATUSES = {
    401: Transient, 403: Refused, 404: Refused, 405: Refused, 406: Refused, 408: Transient, 409: Refused,
    413: Refused, 424: Transient, 425: Transient, 429: Away, 500: Transient, 502: Transient, 503: Transient,
    507: Transient, 302: Refused, 418: Refused,
}  # fmt: skip


@pytest.mark.parametrize(("status", "error"), STATUSES.items())
def test_status_of_each_kind_has_its_own_error(status: int, error: type[OsteonError]) -> None:
    with stow_server(lambda _: Answer(status)) as (port, received):
        web = WebArchive(profile(port))
        if error is Away:
            with pytest.raises(Away, match="dicomweb_asked_to_wait"):
                stored(web, [SC])
            return
        (said,) = stored(web, [SC]).values()
        assert len(received) == 1
    fates = {Transient: (Fate.LATER, "dicomweb_failed"), Refused: (Fate.REFUSED, "dicomweb_refused")}
    assert (said.fate, said.code) == fates[error] and str(status) in said.reason


def test_server_that_asks_to_wait_gets_the_pause() -> None:
    with (
        stow_server(lambda _: Answer(503, b"", {"Retry-After": "30"})) as (port, received),
        pytest.raises(Away, match="dicomweb_asked_to_wait") as caught,
    ):
        stored(WebArchive(profile(port)), [SC, SR])
    assert caught.value.wait_s == 30 and len(received) == 1


@pytest.mark.parametrize("refusal", [0xC122, 415])
def test_picture_in_a_refused_encoding_is_sent_in_the_next_one(refusal: int) -> None:
    def script(request: Request) -> Answer:
        if any(ds.file_meta.TransferSyntaxUID == JPEGBaseline8Bit for ds in request.objects):
            return Answer(415) if refusal == 415 else response({}, dict.fromkeys(uids(request), refusal), 409)
        return everything_stored(request)

    jpeg = picture_as_jpeg()
    with stow_server(script) as (port, received):
        (said,) = stored(WebArchive(profile(port)), [jpeg]).values()
    assert (said.fate, said.code, said.sent_as) == (
        Fate.TAKEN,
        "delivered_otherwise",
        (str(received[-1].objects[0].SOPClassUID), jpeg.identifier),
    )
    assert [r.objects[0].file_meta.TransferSyntaxUID for r in received] == [JPEGBaseline8Bit, ExplicitVRLittleEndian]


def picture_as_jpeg() -> Artefact:
    ds = objects(SOURCE)["sc"]
    assert ds.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    return Artefact(kind=ArtefactKind.SECONDARY_CAPTURE, identifier=str(ds.SOPInstanceUID), content=part10_bytes(ds))


def test_archive_without_comprehensive_3d_sr_receives_comprehensive_sr() -> None:
    def script(request: Request) -> Answer:
        failed = {str(ds.SOPInstanceUID): 0x0122 for ds in request.objects if "3D" in ds.SOPClassUID.name}
        return response({uid: 0 for uid in uids(request) if uid not in failed}, failed, 202)

    with stow_server(script) as (port, received):
        said = stored(WebArchive(profile(port)), [SR, SC])
    assert [(o.fate, o.code) for _, o in sorted(said.items())] == [
        (Fate.TAKEN, "delivered_otherwise"),
        (Fate.TAKEN, "delivered"),
    ]
    (report,) = [ds for r in received for ds in r.objects if ds.SOPClassUID == ComprehensiveSRStorage]
    assert said[0].sent_as == (ComprehensiveSRStorage, report.SOPInstanceUID)
    assert len(received) == 2


def test_archive_without_any_report_gets_the_summary_alone() -> None:
    def script(request: Request) -> Answer:
        failed = {str(ds.SOPInstanceUID): 0x0122 for ds in request.objects if "SR" in ds.SOPClassUID.name}
        return response({uid: 0 for uid in uids(request) if uid not in failed}, failed, 202)

    assert outcomes(script, SR, SC) == [(Fate.LEFT_OUT, "not_taken"), (Fate.TAKEN, "delivered")]
    assert outcomes(script, SR, objects=["sr"]) == [(Fate.REFUSED, "not_taken")]


def test_token_is_sent_and_an_unusable_file_sends_nothing(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    with stow_server(everything_stored) as (port, received):
        web = WebArchive(profile(port, bearer_file=secret))
        for content in (None, b"", b"two lines\nhere\n", b"\xff\xfe", "schlüssel".encode()):
            if content is not None:
                secret.write_bytes(content)
            with pytest.raises(Away, match="dicomweb_credentials") as caught:
                stored(web, [SC])
            assert "bearer_file of pacs" in caught.value.reason and "here" not in caught.value.reason
        assert received == []
        secret.write_text("aZ09-._~+/==\n")
        assert stored(web, [SC])[0].fate is Fate.TAKEN
    assert received[0].headers["Authorization"] == "Bearer aZ09-._~+/=="


def test_connection_over_tls_needs_certificates_on_both_sides(tmp_path: Path) -> None:
    ca = Authority(tmp_path)
    ours = ca.issue("osteon")
    tls = {"ca": ca.certificate, "certificate": ours.certificate, "key": ours.key}
    with stow_server(everything_stored, tls=(ca.issue("pacs"), ca)) as (port, _):
        url = f"https://127.0.0.1:{port}/dicom-web"
        assert stored(WebArchive(profile(port, base_url=url, tls=tls)), [SC])[0].fate is Fate.TAKEN
        for wrong in ({"ca": ca.certificate}, tls | {"ca": Authority(tmp_path, "other").certificate}):
            with pytest.raises(Away, match="dicomweb_unreachable") as caught:
                stored(WebArchive(profile(port, base_url=url, tls=wrong)), [SC])
            assert "certificate" in caught.value.reason


def test_missing_server_is_away(free_port: int) -> None:
    with pytest.raises(Away, match="dicomweb_unreachable"):
        stored(WebArchive(profile(free_port)), [SC, SR])


def test_object_that_may_not_go_is_not_sent() -> None:
    with stow_server(everything_stored) as (port, received):
        said = dict(WebArchive(profile(port)).deliver({0: SC, 1: SR}, lambda number: number == 1))
    assert list(said) == [1] and [uids(request) for request in received] == [[SR.identifier]]


def test_failure_of_a_study_stops_the_rest_of_it_at_a_courier(tmp_path: Path) -> None:
    """A server that fails is asked for all objects and for the first alone, and not for each of them."""
    with stow_server(lambda _: Answer(500)) as (port, received), Outbox(tmp_path, profile(port)) as outbox:
        for number in range(4):
            ds = radiograph(number, study_number=1)
            outbox.answer(ds, ("pacs", picture(ds)))
        outbox.carry()
        assert [len(request.objects) for request in received] == [4, 1]
        assert [row.attempts for row in outbox.rows] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("answer", "requests"), [(Answer(500), 2), (Answer(400), 5), (Answer(503, b"", {"Retry-After": "20"}), 1)]
)
def test_withdrawal_follows_every_object_that_was_sent_without_an_answer(
    answer: Answer, requests: int, tmp_path: Path
) -> None:
    with stow_server(lambda _: answer) as (port, received), Outbox(tmp_path, profile(port)) as outbox:
        for number in range(4):
            ds = radiograph(number, study_number=1)
            outbox.answer(ds, ("pacs", picture(ds)))
        outbox.carry()
        assert len(received) == requests
        revoked = deliveries_to_revoke(outbox.engine, str(radiograph(0, 1).StudyInstanceUID))
        assert [one.delivery_id for one in revoked] == [1, 2, 3, 4]


def test_withdrawal_forgets_objects_that_no_server_was_there_for(free_port: int, tmp_path: Path) -> None:
    with Outbox(tmp_path, profile(free_port)) as outbox:
        for number in range(3):
            ds = radiograph(number, study_number=1)
            outbox.answer(ds, ("pacs", picture(ds)))
        outbox.carry()
        assert [row.attempts for row in outbox.rows] == [1, 0, 0]


def test_object_that_a_server_asks_to_wait_for_has_failed_and_not_one_that_waits_behind_another(tmp_path: Path) -> None:
    def script(request: Request) -> Answer:
        is_first_study = any(str(ds.StudyInstanceUID).endswith(".1") for ds in request.objects)
        return Answer(500) if is_first_study else Answer(503, b"", {"Retry-After": "20"})

    with stow_server(script) as (port, received), Outbox(tmp_path, profile(port)) as outbox:
        for number in range(4):
            ds = radiograph(number, study_number=1 + number // 2)
            outbox.answer(ds, ("pacs", picture(ds)))
        outbox.carry()
        assert [len(request.objects) for request in received] == [2, 1, 2]
        assert [(row.code, row.attempts) for row in outbox.rows] == [
            ("dicomweb_failed", 1),
            ("", 1),
            ("dicomweb_asked_to_wait", 1),
            ("", 1),
        ]


def test_object_that_a_server_asks_to_wait_for_holds_up_no_other_study_after_the_pause(tmp_path: Path) -> None:
    poison = picture(radiograph(0)).identifier

    def script(request: Request) -> Answer:
        return Answer(503, b"", {"Retry-After": "200"}) if poison in uids(request) else everything_stored(request)

    with (
        stow_server(script) as (port, received),
        Outbox(tmp_path, profile(port), backoff=Backoff(first_s=3600, longest_s=3600)) as outbox,
    ):
        for number in range(3):
            outbox.answer(radiograph(number), ("pacs", picture(radiograph(number))))
        assert not outbox.carry() and len(received) == 1
        paused_until = outbox.state().paused_until
        assert paused_until and abs(paused_until - now() - timedelta(seconds=200)) < timedelta(seconds=60)
        assert not outbox.carry() and len(received) == 1
        with outbox.engine.begin() as c:
            c.execute(update(destinations).values(paused_until=now()))
        outbox.carry_until(done=2, queued=1)


def test_proxy_that_takes_no_media_type_loses_no_object(tmp_path: Path) -> None:
    is_mended = False

    def script(request: Request) -> Answer:
        return everything_stored(request) if is_mended else Answer(415)

    names = ("sc", "sr", "pr", "ko")
    with (
        stow_server(script) as (port, _),
        Outbox(tmp_path, profile(port, objects=["sc", "summary", "sr", "pr", "ko"])) as outbox,
    ):
        for number, name in enumerate(names):
            outbox.answer(radiograph(number, study_number=1), ("pacs", OBJECTS[name]))
        for _ in range(8):
            outbox.carry()
        assert {(row.state, row.code) for row in outbox.rows} == {("queued", "dicomweb_refused")}
        assert outbox.state().recoveries == 0
        is_mended = True
        outbox.carry_until(done=len(names))


def test_object_that_is_left_out_is_no_sign_that_the_archive_works(tmp_path: Path) -> None:
    def script(request: Request) -> Answer:
        failed = dict.fromkeys(uids(request), 0x0122) if request.objects[0].Modality == "SR" else {}
        return response({}, failed, 409) if failed else Answer(500)

    with stow_server(script) as (port, _), Outbox(tmp_path, profile(port)) as outbox:
        for number, made in enumerate((SC, SR)):
            outbox.answer(radiograph(number), ("pacs", made))
        outbox.carry()
        outbox.carry()
        assert {row.code for row in outbox.rows} == {"dicomweb_failed", "not_taken"}
        assert outbox.state().failures and not outbox.state().recoveries


def test_request_that_takes_too_long_is_halved_until_the_next_start() -> None:
    stop = threading.Event()

    def script(request: Request) -> Answer:
        if len(request.objects) > 2:
            stop.wait(10)
        return everything_stored(request)

    with stow_server(script) as (port, received):
        web = WebArchive(profile(port, timeout_s=0.5))
        assert {o.fate for o in stored(web, list(OBJECTS.values())).values()} == {Fate.TAKEN}
        stop.set()
    assert web.most == 2 and [len(r.objects) for r in received] == [5, 1, 1, 1, 1, 1]


# Searches -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(403), "no_find"),
        (Answer(501), "no_find"),
        (Answer(500), "find_failed"),
        (Answer(200, b"{}"), "find_failed"),
        (Answer(200, b"<x/>"), "find_failed"),
        (Answer(200, b"[" * 100_000), "find_failed"),
        (Answer(200, json.dumps([{}] * 101).encode()), "find_failed"),
    ],
)
def test_search_that_fails_is_no_absence(answer: Answer, code: str) -> None:
    with (
        stow_server(lambda _: answer) as (port, _),
        pytest.raises(Transient, match=code),
    ):
        stored(WebArchive(profile(port, recheck_identity=True)), [SC])


def test_round_of_searches_ends_long_before_its_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.dicom.web.archive.LONGEST_ROUND_S", 0.02)

    def script(_: Request) -> Answer:
        threading.Event().wait(0.05)
        return Answer(204)

    others = [picture(radiograph(number)) for number in range(3)]
    with stow_server(script) as (port, received):
        web = WebArchive(profile(port, recheck_identity=True, objects_at_a_time=8))
        with pytest.raises(Transient, match="dicomweb_too_slow"):
            stored(web, others)
        assert len(received) == 1 and web.most == 4, "the next round is shorter"
        sent = {n: Sent(artefact=a, sop_class_uid="", sop_instance_uid=a.identifier) for n, a in enumerate(others)}
        asked = web.prove(sent)
        assert next(asked)[0] == 0
        with pytest.raises(Transient, match="dicomweb_too_slow"):
            next(asked)
    assert len(received) == 2


@pytest.mark.parametrize("answer", [Answer(204), Answer(404), Answer(200, b"[]"), Answer(200, b'[1, null, "x", {}]')])
def test_search_without_a_match_is_an_absence(answer: Answer) -> None:
    assert outcomes(lambda _: answer, SC, recheck_identity=True) == [(Fate.LATER, "study_not_there")]


# Hostile servers ----------------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/dicom+json\r\n"


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nX: ", HEAD + b"Content-Length: 1000000\r\n\r\n{"])
def test_response_that_drips_ends_with_the_timeout(head: bytes) -> None:
    def speak(connection: socket.socket, stop: threading.Event) -> None:
        read_http_request(connection)
        drip(connection, stop, head)

    with hostile_server(speak) as port:
        (said,) = stored(WebArchive(profile(port, timeout_s=0.5)), [SC]).values()
    assert (said.fate, said.code) == (Fate.LATER, "dicomweb_too_slow")


@pytest.mark.parametrize("status", [b"200 OK", b"400 Bad Request"])
def test_endless_response_is_no_answer(status: bytes) -> None:
    def speak(connection: socket.socket, stop: threading.Event) -> None:
        read_http_request(connection)
        connection.sendall(b"HTTP/1.1 " + status + b"\r\n\r\n")
        pour(connection, stop, b"[" * 65536)

    with hostile_server(speak) as port:
        (said,) = stored(WebArchive(profile(port)), [SC]).values()
    assert (said.fate, said.code) == (Fate.LATER, "dicomweb_answer")


@pytest.mark.parametrize(
    "head",
    [
        "200 OK\r\nDate: Mon, 30 Nov 99999999999 00:00:00 GMT",
        "200 OK\r\nDate: Mon, 30 Nov 2026 00:00:00 +99999999999999999",
        "503 no\r\nRetry-After: Mon, 30 Nov 2026 99999999999999999999:00:00 GMT",
        "302 Found\r\nLocation: mailto:x",
        "302 Found\r\nLocation: http://[::1",
    ],
)
def test_absurd_header_is_no_bug(head: str) -> None:
    def speak(connection: socket.socket, _: threading.Event) -> None:
        read_http_request(connection)
        connection.sendall(f"HTTP/1.1 {head}\r\nContent-Length: 2\r\n\r\n{{}}".encode())

    with hostile_server(speak) as port:
        (said,) = stored(WebArchive(profile(port)), [SC]).values()
    assert said.fate is Fate.LATER and said.code.startswith("dicomweb_")


# The doctor ---------------------------------------------------------------------------------------


def test_doctor_finds_orthanc_in_order_and_stores_nothing(peer: Peer, tmp_path: Path) -> None:
    with archive(peer, tmp_path) as there:
        found = list(check_dicomweb(profile(there.http_port, proof="find")))
        assert there.get("/instances") == []
    assert {f.level for f in found} == {Level.GOOD}
    assert [f.check for f in found] == ["destination.pacs.store", "destination.pacs.find"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(401), "renew the file"),
        (Answer(403), "grant it"),
        (Answer(404), "correct base_url"),
        (Answer(302), "correct base_url"),
        (Answer(501), "offers no STOW-RS"),
    ],
)
def test_doctor_names_a_server_that_takes_nothing(answer: Answer, words: str) -> None:
    with stow_server(lambda _: answer) as (port, _):
        finding = next(check_dicomweb(profile(port)))
    assert finding.level is Level.ERROR and words in finding.seen and finding.effect and finding.remedy


def test_doctor_names_a_missing_search_a_wrong_clock_and_a_closed_port(free_port: int) -> None:
    def script(request: Request) -> Answer:
        return Answer(501 if request.method == "GET" else 204, b"", {"Date": "Thu, 01 Jan 2026 00:00:00 GMT"})

    with stow_server(script) as (port, _):
        found = {f.check: f for f in check_dicomweb(profile(port, existing="verify"))}
    assert found["destination.pacs.store"].level is Level.GOOD
    assert found["destination.pacs.find"].level is Level.ERROR and "QIDO-RS" in found["destination.pacs.find"].seen
    assert found["clock.pacs"].level is Level.WARNING
    (finding,) = check_dicomweb(profile(free_port))
    assert finding.check == "destination.pacs.connection" and "nothing listens" in finding.seen


def test_check_names_a_file_of_a_password_that_cannot_be_read(tmp_path: Path) -> None:
    to = profile(1, user="osteon", password_file=tmp_path / "none")
    problems = find_problems(Configuration(state_dir=tmp_path, destinations=(to,)))
    assert [p for p in problems if "password_file of pacs" in p and "cannot be read" in p]
