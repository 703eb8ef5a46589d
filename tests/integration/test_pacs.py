"""Delivery to a PACS: DCMTK and Orthanc on the wire, and a scripted PACS that misbehaves."""

from __future__ import annotations

import io
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    SecondaryCaptureImageStorage,
)

from appliance.config import Picture
from appliance.dicom.objects.document import reference
from appliance.dicom.objects.key_objects import rejection_note
from appliance.dicom.objects.secondary_capture import secondary_capture
from appliance.dicom.objects.structured_report import structured_report
from appliance.dicom.part10 import dataset_from_bytes, part10_bytes
from appliance.dicom.scu.dimse_status import StoreStatus, status_from_code
from appliance.dicom.scu.negotiation import ObjectForm, form_of, in_form
from appliance.dicom.scu.pacs import Pacs
from appliance.dicom.scu.sender import send_files
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.codes import INCORRECT_WORKLIST_ENTRY
from appliance.domain.sentence import Sentence
from appliance.errors import Away, Fault, Transient
from appliance.ports import Artefact, Fate, Sent
from tests.support.certificates import Authority
from tests.support.orthanc import orthanc
from tests.support.pacs import delivered, kept, profile, scripted_scp, storescp
from tests.support.peers import Peer
from tests.support.results import finding, result, study, unanalysed
from tests.support.sources import source, variants

SOURCE = variants()["utf8"]
RESULT = result(SOURCE, finding(), finding(0.4), finding(0.1), caveats=(Sentence.of("a cast was seen"),))
PRIVATE = ("Łukasiewicz", "Žofie", "4711", "1970", "ACC-77")
VERIFICATION = "1.2.840.10008.1.1"


def artefact(kind: ArtefactKind, ds: pydicom.Dataset) -> Artefact:
    return Artefact(kind=kind, identifier=str(ds.SOPInstanceUID), content=part10_bytes(ds))


UNCOMPRESSED = Picture(compression="none")


def answers() -> list[Artefact]:
    picture = np.random.default_rng(3).integers(0, 255, (301, 201, 3), np.uint8)
    return [
        artefact(ArtefactKind.SECONDARY_CAPTURE, secondary_capture(SOURCE, RESULT, picture, UNCOMPRESSED)),
        artefact(ArtefactKind.STRUCTURED_REPORT, structured_report(study(RESULT), {RESULT.sop_instance_uid: SOURCE})),
    ]


def compressed(one: Artefact) -> Artefact:
    """Return the picture as JPEG 2000."""
    ds = dataset_from_bytes(one.content)
    stream = imagecodecs.jpeg2k_encode(ds.pixel_array, level=0, codecformat="j2k", reversible=True, mct=True)
    ds.PixelData = pydicom.encaps.encapsulate([bytes(stream)])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    ds.PhotometricInterpretation = "YBR_RCT"
    ds.file_meta.TransferSyntaxUID = JPEG2000Lossless
    return artefact(ArtefactKind.SECONDARY_CAPTURE, ds)


def test_storescp_receives_both_objects_unchanged(peer: Peer, free_port: int, tmp_path: Path) -> None:
    sent = answers()
    with storescp(peer("storescp"), free_port, tmp_path):
        said = delivered(Pacs(profile(free_port)), sent)
    assert [(o.fate, o.code, o.reason) for o in said.values()] == [(Fate.TAKEN, "delivered", "Success (0x0000)")] * 2
    stored = kept(tmp_path)
    assert set(stored) == {a.identifier for a in sent}
    for one in sent:
        assert pydicom.dcmread(stored[one.identifier]) == dataset_from_bytes(one.content)


def test_repeated_delivery_stores_the_same_objects(peer: Peer, free_port: int, tmp_path: Path) -> None:
    with storescp(peer("storescp"), free_port, tmp_path):
        delivered(Pacs(profile(free_port)), answers())
        delivered(Pacs(profile(free_port)), answers())
    assert len(list(tmp_path.iterdir())) == 2


def test_delivery_asks_may_go_before_each_object(peer: Peer, free_port: int, tmp_path: Path) -> None:
    asked: list[int] = []

    def may_go(number: int) -> bool:
        asked.append(number)
        return number == 1

    with storescp(peer("storescp"), free_port, tmp_path):
        assert list(delivered(Pacs(profile(free_port)), answers(), may_go)) == [1]
    assert asked == [0, 1]
    assert set(kept(tmp_path)) == {answers()[1].identifier}


def test_pacs_with_implicit_vr_only_receives_implicit_vr(peer: Peer, free_port: int, tmp_path: Path) -> None:
    sent = [*answers(), compressed(answers()[0])]
    with storescp(peer("storescp"), free_port, tmp_path, "+xi"):
        said = delivered(Pacs(profile(free_port)), sent)
    assert {o.code for o in said.values()} == {"delivered_otherwise"}
    for one in sent:
        ds = pydicom.dcmread(kept(tmp_path)[one.identifier])
        assert ds.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
        assert str(ds.PatientName) == str(SOURCE.PatientName)


def test_default_picture_reaches_a_pacs_that_takes_no_jpeg_uncompressed(
    peer: Peer, free_port: int, tmp_path: Path
) -> None:
    picture = np.random.default_rng(3).integers(0, 255, (301, 201, 3), np.uint8)
    ds = secondary_capture(SOURCE, RESULT, picture)
    assert ds.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    made = artefact(ArtefactKind.SECONDARY_CAPTURE, ds)
    with storescp(peer("storescp"), free_port, tmp_path, "+x="):
        (said,) = delivered(Pacs(profile(free_port)), [made]).values()
    assert (said.fate, said.code) == (Fate.TAKEN, "delivered_otherwise")
    got = pydicom.dcmread(kept(tmp_path)[made.identifier])
    assert (got.file_meta.TransferSyntaxUID, got.PhotometricInterpretation) == (ExplicitVRLittleEndian, "RGB")
    shown = imagecodecs.jpeg8_decode(next(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1)))
    assert np.array_equal(np.frombuffer(got.PixelData, np.uint8, shown.size).reshape(shown.shape), shown)
    assert got.LossyImageCompression == "01" and got.LossyImageCompressionMethod == "ISO_10918_1"
    assert got.LossyImageCompressionRatio == ds.LossyImageCompressionRatio > 1


@pytest.mark.parametrize(
    ("option", "encodings", "syntax"),
    [
        ("+xa", ["compressed", "explicit"], JPEG2000Lossless),
        ("+xa", ["explicit", "compressed"], ExplicitVRLittleEndian),
        ("+xa", ["implicit"], ImplicitVRLittleEndian),
        ("+x=", ["compressed", "explicit", "implicit"], ExplicitVRLittleEndian),
    ],
)
def test_compressed_picture_is_sent_in_the_negotiated_encoding(
    option: str, encodings: list[str], syntax: str, peer: Peer, free_port: int, tmp_path: Path
) -> None:
    plain = answers()[0]
    with storescp(peer("storescp"), free_port, tmp_path, option):
        (said,) = delivered(Pacs(profile(free_port, transfer_syntaxes=encodings)), [compressed(plain)]).values()
    assert said.fate is Fate.TAKEN
    ds = pydicom.dcmread(kept(tmp_path)[plain.identifier])
    assert ds.file_meta.TransferSyntaxUID == syntax
    if syntax != JPEG2000Lossless:
        assert ds.PhotometricInterpretation == "RGB"
        assert np.array_equal(ds.pixel_array, dataset_from_bytes(plain.content).pixel_array)


def test_text_is_sent_in_the_configured_character_set(peer: Peer, free_port: int, tmp_path: Path) -> None:
    sent = answers()
    with storescp(peer("storescp"), free_port, tmp_path):
        outcomes = delivered(Pacs(profile(free_port, character_set="ISO_IR 100")), sent)
    assert [outcome.fate for outcome in outcomes.values()] == [Fate.TAKEN] * len(sent)
    for one in sent:
        got, made = pydicom.dcmread(kept(tmp_path)[one.identifier]), dataset_from_bytes(one.content)
        assert (made.SpecificCharacterSet, got.SpecificCharacterSet) == ("ISO_IR 192", "ISO_IR 100")
        name = str(made.PatientName)
        assert "Å" in name and str(got.PatientName) == name.encode("latin-1", "replace").decode("latin-1")
        assert got.get("PixelData") == made.get("PixelData")


def test_pacs_without_comprehensive_3d_sr_receives_comprehensive_sr(free_port: int) -> None:
    (sr,) = (a for a in answers() if a.kind == "sr")
    with scripted_scp(free_port, [0x0000], [ComprehensiveSRStorage]) as calls:
        (said,) = delivered(Pacs(profile(free_port)), [sr]).values()
    assert (said.fate, said.code) == (Fate.TAKEN, "delivered_otherwise")
    assert "Comprehensive SR Storage" in said.reason and "Comprehensive 3D SR Storage" in said.reason
    assert said.sent_as is not None and said.sent_as[0] == ComprehensiveSRStorage
    assert calls == [said.sent_as[1]] and calls != [sr.identifier]


def test_comprehensive_sr_is_valid_and_has_the_same_content(peer: Peer, tmp_path: Path) -> None:
    """DCMTK, which knows the content that each class allows, reads it, and dciodvfy finds no fault."""
    (sr,) = (a for a in answers() if a.kind == "sr")
    said = []
    for number, form in enumerate((form_of(sr.content), ObjectForm(ComprehensiveSRStorage, ExplicitVRLittleEndian))):
        path = tmp_path / f"{number}.dcm"
        path.write_bytes(in_form(sr.content, form))
        run = subprocess.run([peer("dsrdump"), "-Ph", str(path)], capture_output=True, text=True, check=True)
        said.append([line for line in run.stdout.splitlines() if "SR Document" not in line])
        judged = subprocess.run([peer("dciodvfy"), "-new", str(path)], check=False, capture_output=True, text=True)
        assert "Error" not in judged.stderr
    assert said[0] == said[1] and len(said[0]) > 20


def test_report_refused_by_a_pacs_with_summary_is_left_out(free_port: int) -> None:
    with scripted_scp(free_port, [0x0000], [SecondaryCaptureImageStorage]) as calls:
        said = delivered(Pacs(profile(free_port)), answers())
    assert [o.fate for o in said.values()] == [Fate.TAKEN, Fate.LEFT_OUT] and len(calls) == 1
    assert said[1].code == "not_taken" and "Comprehensive 3D SR Storage" in said[1].reason


@pytest.mark.parametrize("objects", [["sr"], ["sc", "sr"]])
def test_report_refused_by_a_pacs_without_summary_is_refused(objects: list[str], free_port: int) -> None:
    """An overlay cannot replace the report: a radiograph that was not analysed may have none."""
    with scripted_scp(free_port, [], [VERIFICATION]):
        said = delivered(Pacs(profile(free_port, objects=objects)), answers()[1:])
    assert [(o.fate, o.code) for o in said.values()] == [(Fate.REFUSED, "not_taken")]


def test_picture_refused_at_negotiation_is_refused_and_not_away(free_port: int) -> None:
    with scripted_scp(free_port, [], [VERIFICATION]):
        said = delivered(Pacs(profile(free_port)), answers())
    assert said[0].fate is Fate.REFUSED


def test_rejected_association_raises_away(peer: Peer, free_port: int, tmp_path: Path) -> None:
    with storescp(peer("storescp"), free_port, tmp_path, "--refuse"):
        # many times: a rejection whose connection is closed at once is easily taken for a peer that is not there
        for _ in range(20):
            with pytest.raises(Away) as caught:
                delivered(Pacs(profile(free_port)), answers()[:1])
            assert caught.value.code == "association_rejected" and "reject" in caught.value.reason
            assert not any(private in str(caught.value) for private in PRIVATE)


def test_closed_port_raises_away(free_port: int) -> None:
    with pytest.raises(Away, match="unreachable"):
        delivered(Pacs(profile(free_port)), answers())


def test_broken_association_settles_earlier_objects_only(peer: Peer, free_port: int, tmp_path: Path) -> None:
    with storescp(peer("storescp"), free_port, tmp_path, "--abort-during"):
        said = delivered(Pacs(profile(free_port, timeout_s=1)), answers())
    assert {number: o.fate for number, o in said.items()} == {0: Fate.LATER}


@pytest.mark.parametrize(
    ("statuses", "fates"),
    [
        ([0x0000, 0xA700], [Fate.TAKEN, Fate.LATER]),
        ([0xA701, 0x0000], [Fate.LATER, Fate.TAKEN]),
        ([0xC001, 0xA700], [Fate.REFUSED, Fate.LATER]),
        ([0xA900, 0x0000], [Fate.REFUSED, Fate.TAKEN]),
        ([0xB000, 0xC123], [Fate.TAKEN, Fate.REFUSED]),
        ([0x0124, 0xA778], [Fate.LATER, Fate.REFUSED]),
    ],
)
def test_objects_on_one_association_have_separate_outcomes(
    statuses: list[int], fates: list[Fate], free_port: int
) -> None:
    with scripted_scp(free_port, statuses, [SecondaryCaptureImageStorage, Comprehensive3DSRStorage]) as calls:
        said = delivered(Pacs(profile(free_port)), answers())
    assert [o.fate for o in said.values()] == fates and len(calls) == 2
    assert not any(private in o.reason for o in said.values() for private in PRIVATE)


@pytest.mark.parametrize(
    ("existing", "fate"), [("accept", Fate.TAKEN), ("verify", Fate.UNPROVEN), ("hold", Fate.UNFIT)]
)
def test_duplicate_sop_instance_is_judged_by_existing_setting(existing: str, fate: Fate, free_port: int) -> None:
    with scripted_scp(free_port, [0x0111], [SecondaryCaptureImageStorage]):
        (said,) = delivered(Pacs(profile(free_port, existing=existing)), answers()[:1]).values()
    assert (said.fate, said.code) == (fate, "already_there")
    assert existing == "hold" or "probably delivered" in said.reason


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (0x0000, "stored"), (0x0111, "exists"), (0xB007, "stored"), (0xB123, "stored"), (0xA700, "transient"),
        (0xA7FF, "transient"), (0x0110, "transient"), (0x9999, "transient"), (0xA900, "rejected"),
        (0xA9FF, "rejected"), (0xC000, "rejected"), (0xCFFF, "rejected"), (0x0122, "rejected"),
        (0xA777, "rejected"), (0xA778, "rejected"), (0xA779, "rejected"),
    ],
)  # fmt: skip
def test_dimse_status_of_each_range_gives_its_outcome(code: int, outcome: str) -> None:
    assert status_from_code(code).outcome == outcome


@contextmanager
def _measured(port: int) -> Iterator[tuple[int, list[int]]]:
    """A wire tap before `port`: its own port, and the length of the longest P-DATA-TF that went to the peer."""
    longest = [0]
    server = socket.create_server(("127.0.0.1", 0))

    def pump(from_: socket.socket, to: socket.socket, heads: bool) -> None:
        seen = b""
        while piece := from_.recv(65536):
            to.sendall(piece)
            seen += piece if heads else b""
            while len(seen) >= 6 and len(seen) >= 6 + int.from_bytes(seen[2:6]):
                length = int.from_bytes(seen[2:6])
                longest[0] = max(longest[0], length if seen[0] == 4 else 0)
                seen = seen[6 + length :]
        to.shutdown(socket.SHUT_WR)

    def serve() -> None:
        near, _ = server.accept()
        with near, socket.create_connection(("127.0.0.1", port)) as far:
            back = threading.Thread(target=pump, args=(far, near, False))
            back.start()
            pump(near, far, True)
            back.join()

    thread = threading.Thread(target=serve)
    thread.start()
    with server:
        yield server.getsockname()[1], longest
        thread.join()


@pytest.mark.parametrize("most_bytes", [4096, 131072])
def test_pdus_stay_within_max_pdu_bytes(most_bytes: int, peer: Peer, free_port: int, tmp_path: Path) -> None:
    with storescp(peer("storescp"), free_port, tmp_path, "-pdu", "131072"):
        with _measured(free_port) as (port, longest):
            delivered(Pacs(profile(port, max_pdu_bytes=most_bytes)), answers()[:1])
        assert most_bytes // 2 < longest[0] <= most_bytes
        assert set(kept(tmp_path)) == {answers()[0].identifier}


def test_tls_with_client_certificate_delivers_and_without_raises_away(
    peer: Peer, free_port: int, tmp_path: Path
) -> None:
    authority, folder = Authority(tmp_path), tmp_path / "kept"
    folder.mkdir()
    theirs, ours = authority.issue("pacs"), authority.issue("osteon")
    files = {"ca": authority.certificate, "certificate": ours.certificate, "key": ours.key}
    options = ("+tls", str(theirs.key), str(theirs.certificate), "+cf", str(authority.certificate), "-rc")
    with storescp(peer("storescp"), free_port, folder, *options):
        said = delivered(Pacs(profile(free_port, tls=files)), answers())
        assert [o.fate for o in said.values()] == [Fate.TAKEN] * 2
        for wrong in (
            {"ca": files["ca"]},  # no certificate of ours
            files | {"ca": Authority(tmp_path, "other").certificate},
            files | {"server_name": "elsewhere.example"},
        ):
            with pytest.raises(Away):
                delivered(Pacs(profile(free_port, tls=wrong)), answers())
        with pytest.raises(Away):
            delivered(Pacs(profile(free_port)), answers())
    assert len(kept(folder)) == 2


def test_send_files_of_any_class_sends_them_unchanged(peer: Peer, free_port: int, tmp_path: Path) -> None:
    files, folder = tmp_path / "files", tmp_path / "kept"
    files.mkdir()
    folder.mkdir()
    plain = source("plain")
    squeezed = source("squeezed")
    squeezed.file_meta.TransferSyntaxUID = JPEG2000Lossless
    squeezed.PixelData = pydicom.encaps.encapsulate([b"no codestream at all"])
    squeezed["PixelData"].VR = "OB"
    report = structured_report(study(unanalysed(plain)), {str(plain.SOPInstanceUID): plain})
    for name, ds in (("plain", plain), ("squeezed", squeezed), ("report", report)):
        (files / name).write_bytes(part10_bytes(ds))
    (files / "text").write_text("no DICOM")
    paths = [files / n for n in ("plain", "text", "squeezed", "report", "absent")]
    with storescp(peer("storescp"), free_port, folder, "+xa"):
        said: dict[str, StoreStatus] = {
            path.name: status
            for path, status in send_files(
                paths, host="127.0.0.1", port=free_port, called_ae_title="PACS", calling_ae_title="OSTEON"
            )
        }
    assert {name: s.outcome for name, s in said.items()} == {
        "plain": "stored", "squeezed": "stored", "report": "stored", "text": "rejected", "absent": "rejected",
    }  # fmt: skip
    for ds in (plain, squeezed):
        received = pydicom.dcmread(kept(folder)[ds.SOPInstanceUID])
        assert received.file_meta.TransferSyntaxUID == ds.file_meta.TransferSyntaxUID
        assert received.PixelData == ds.PixelData


def test_unusable_certificate_raises_fault_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(Fault, match=r"tls\.ca of pacs cannot be used: /absent\.crt"):
        Pacs(profile(1, tls={"ca": "/absent.crt"}))
    ours = Authority(tmp_path).issue("osteon")
    with pytest.raises(Fault, match=r"tls\.certificate or tls\.key of pacs cannot be used"):
        Pacs(profile(1, tls={"certificate": ours.key, "key": ours.certificate}))


# Proof and identity, by Orthanc -------------------------------------------------------------------


def sent_of(one: Artefact) -> Sent:
    ds = dataset_from_bytes(one.content)
    return Sent(
        artefact=one,
        sop_class_uid=str(ds.SOPClassUID),
        sop_instance_uid=one.identifier,
        transaction_uid="1.2.826.0.1.3680043.8.498.1",
    )


def test_c_find_proves_only_stored_objects(peer: Peer, tmp_path: Path) -> None:
    with orthanc(peer("Orthanc"), tmp_path / "orthanc") as there:
        pacs = Pacs(profile(there.port, proof="find"))
        said = delivered(pacs, answers()[:1])
        assert said[0].fate is Fate.UNPROVEN
        proof = dict(pacs.prove({n: sent_of(a) for n, a in enumerate(answers())}))
    assert (proof[0].fate, proof[0].is_proven, proof[0].code) == (Fate.TAKEN, True, "in_pacs")
    assert (proof[1].fate, proof[1].is_proven, proof[1].code) == (Fate.LATER, False, "not_found")


def test_pacs_without_c_find_raises_transient(peer: Peer, free_port: int, tmp_path: Path) -> None:
    pacs = Pacs(profile(free_port, proof="find"))
    with storescp(peer("storescp"), free_port, tmp_path):
        assert delivered(pacs, answers()[:1])[0].fate is Fate.UNPROVEN
        with pytest.raises(Transient, match="no_find"):
            list(pacs.prove({0: sent_of(answers()[0])}))


def filed(there: object, **identity: str) -> None:
    """The radiograph lies in the PACS, under an identity of its own."""
    ds = pydicom.dcmread(io.BytesIO(part10_bytes(SOURCE)))
    for keyword, value in identity.items():
        setattr(ds, keyword, value)
    (said,) = delivered(Pacs(profile(there.port)), [artefact(ArtefactKind.SECONDARY_CAPTURE, ds)]).values()  # type: ignore[attr-defined]
    assert said.fate is Fate.TAKEN


@pytest.mark.parametrize(
    ("identity", "fates", "code"),
    [
        ({}, [Fate.TAKEN] * 2, "delivered"),
        ({"AccessionNumber": ""}, [Fate.TAKEN] * 2, "delivered"),
        ({"PatientID": "OTHER-PATIENT"}, [Fate.UNFIT] * 2, "identity_changed"),
        ({"AccessionNumber": "ANOTHER"}, [Fate.UNFIT] * 2, "identity_changed"),
        (None, [Fate.LATER] * 2, "study_not_there"),
    ],
)
@pytest.mark.proves("SAF-9")
def test_object_of_a_study_with_another_identity_is_not_stored(
    identity: dict[str, str] | None, fates: list[Fate], code: str, peer: Peer, tmp_path: Path
) -> None:
    with orthanc(peer("Orthanc"), tmp_path / "orthanc") as there:
        if identity is not None:
            filed(there, **identity)
        before = len(there.instances)
        said = delivered(Pacs(profile(there.port, recheck_identity=True)), answers())
        assert [o.fate for o in said.values()] == fates
        assert {o.code for o in said.values()} == {code}
        assert len(there.instances) - before == fates.count(Fate.TAKEN)
    assert not any(private in o.reason for o in said.values() for private in (*PRIVATE, "OTHER-PATIENT", "ANOTHER"))


def test_rejection_note_is_stored_under_another_identity(peer: Peer, tmp_path: Path) -> None:
    ours = dataset_from_bytes(answers()[0].content)
    rejected = [reference(ours)]
    sources = {RESULT.sop_instance_uid: SOURCE}
    at = datetime(2026, 1, 5, tzinfo=UTC)
    note = rejection_note(study(RESULT), sources, rejected, INCORRECT_WORKLIST_ENTRY, at=at, words="mixed up")
    with orthanc(peer("Orthanc"), tmp_path / "orthanc") as there:
        filed(there, PatientID="OTHER-PATIENT")
        said = delivered(
            Pacs(profile(there.port, recheck_identity=True)), [answers()[0], artefact(ArtefactKind.REJECTION, note)]
        )
        assert {n: (o.fate, o.code) for n, o in said.items()} == {
            0: (Fate.UNFIT, "identity_changed"),
            1: (Fate.TAKEN, "delivered"),
        }
        assert str(note.SOPInstanceUID) in there.instances
