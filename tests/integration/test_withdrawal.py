"""Withdrawals: pending deliveries are dropped, and sent artefacts are revoked at each destination."""

from __future__ import annotations

import io
import subprocess
import urllib.request
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import KeyObjectSelectionDocumentStorage, SecondaryCaptureImageStorage

from appliance.config import Configuration
from appliance.domain.codes import INCORRECT_WORKLIST_ENTRY
from appliance.errors import Rejected
from appliance.service.withdrawal import withdraw
from appliance.storage.audit import newest_entries
from tests.support.orthanc import orthanc
from tests.support.outbox import Outbox, message, picture, radiograph
from tests.support.pacs import profile, scripted_scp
from tests.support.peers import Peer
from tests.support.people import anna

REASON = "the radiograph is somebody else's"


def configured(folder: Path, *destinations: object) -> Configuration:
    return Configuration.model_validate({"state_dir": folder, "destinations": destinations})


def taken_back(config: Configuration, outbox: Outbox, uid: str) -> tuple[int, tuple[str, ...]]:
    done = withdraw(config, outbox.engine, uid, anna(REASON), INCORRECT_WORKLIST_ENTRY)
    return done.dropped, done.revoked_at


@pytest.mark.proves("SAF-11")
def test_withdrawal_rejects_sent_objects_in_the_archive_and_drops_pending_ones(peer: Peer, tmp_path: Path) -> None:
    first, second, other = radiograph(1), radiograph(2, study_number=1), radiograph(3)
    with orthanc(peer("Orthanc"), tmp_path / "orthanc") as there:
        pacs, away = profile(there.port, proof="find", objects_at_a_time=2), profile(1, name="away")
        config = configured(tmp_path, pacs.model_dump(), away.model_dump())
        with Outbox(tmp_path, *config.destinations) as outbox:
            for ds in (first, second, other):
                outbox.answer(ds, ("pacs", picture(ds)), ("away", picture(ds)))
            outbox.carry_until("pacs", done=3, queued=3)
            assert taken_back(config, outbox, str(first.SOPInstanceUID)) == (2, ("pacs",))
            rows = {(row.destination, row.identifier): (row.state, row.code) for row in outbox.rows}
            for ds in (first, second):
                assert rows["pacs", picture(ds).identifier] == ("done", "withdrawn")
                assert rows["away", picture(ds).identifier] == ("dropped", "withdrawn")
            assert rows["pacs", picture(other).identifier] == ("done", "in_pacs")
            outbox.carry_until("pacs", done=4, queued=1, dropped=2)
            note = outbox.rows[-1]
            assert note.kind == "rejection" and note.proven_at, "a rejection is proven like any delivery"
            address = f"http://127.0.0.1:{there.http_port}/instances/{there.instances[note.identifier]}/file"
            with urllib.request.urlopen(address, timeout=10) as answer:
                content = answer.read()
            with pytest.raises(Rejected, match="nothing_answered"):
                taken_back(config, outbox, "1.2.3")
            assert taken_back(config, outbox, str(first.StudyInstanceUID)) == (0, ()), "once is enough"
    ds = pydicom.dcmread(io.BytesIO(content))
    assert ds.SOPClassUID == KeyObjectSelectionDocumentStorage and ds.PatientID == first.PatientID
    assert ds.ConceptNameCodeSequence[0].CodeValue == "113038"
    evidence = ds.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    rejected = {i.ReferencedSOPInstanceUID for series in evidence for i in series.ReferencedSOPSequence}
    assert rejected == {picture(first).identifier, picture(second).identifier}
    path = tmp_path / "note.dcm"
    path.write_bytes(content)
    said = subprocess.run([peer("dsrdump"), "+Pl", str(path)], capture_output=True, text=True, check=True).stdout
    assert REASON in said
    judged = subprocess.run([peer("dciodvfy"), "-new", str(path)], capture_output=True, text=True, check=False)
    assert "Error" not in judged.stderr


def test_withdrawal_before_anything_left_sends_no_rejection_note(free_port: int, tmp_path: Path) -> None:
    config = configured(tmp_path, profile(free_port).model_dump())
    with (
        Outbox(tmp_path, *config.destinations) as outbox,
        scripted_scp(free_port, [], [SecondaryCaptureImageStorage]) as calls,
    ):
        outbox.answer(radiograph(1), ("pacs", picture(radiograph(1))))
        assert taken_back(config, outbox, picture(radiograph(1)).identifier) == (1, ())
        assert not outbox.carry() and calls == []


@pytest.mark.proves("SAF-11")
def test_withdrawal_revokes_at_ris_and_fhir_server(tmp_path: Path) -> None:
    ris = {"kind": "hl7", "name": "ris", "host": "127.0.0.1", "port": 1}
    fhir = {"kind": "fhir", "name": "fhir", "base_url": "http://127.0.0.1:1/"}
    config = configured(tmp_path, ris, fhir)
    with Outbox(tmp_path, *config.destinations) as outbox:
        ds = radiograph(1)
        outbox.answer(ds, ("ris", message(ds)), ("fhir", message(ds)))
        with outbox.engine.begin() as c:
            c.exec_driver_sql("UPDATE deliveries SET state = 'done', code = 'delivered'")
        assert taken_back(config, outbox, str(ds.StudyInstanceUID)) == (0, ("ris", "fhir"))
        oru, bundle = outbox.rows[2:]
        assert (oru.kind, bundle.kind) == ("oru_withdrawal", "fhir_withdrawal")
        observed = [s.split("|") for s in outbox.spool.get(oru.digest).decode().split("\r") if s.startswith("OBX")]
        assert observed and {fields[11] for fields in observed} == {"W"}
        assert REASON in outbox.spool.get(oru.digest).decode()
        assert b"entered-in-error" in outbox.spool.get(bundle.digest)


UNCERTAIN = [
    ("queued", "store_transient", 1, True),
    ("queued", "mllp_timeout", 3, True),
    ("queued", "unreachable", 2, True),  # the outcome of the first attempt is not known
    ("parked", "already_there", 1, True),
    ("dropped", "dropped", 1, True),
    ("dropped", "superseded", 1, True),
    ("queued", "", 0, False),
    ("queued", "unreachable", 1, False),
    ("parked", "store_rejected", 1, False),
    ("dropped", "not_taken", 2, False),
    ("dropped", "superseded", 0, False),
]


@pytest.mark.parametrize(("state", "code", "attempts", "may_be_there"), UNCERTAIN)
def test_withdrawal_revokes_an_artefact_that_may_have_arrived(
    state: str, code: str, attempts: int, may_be_there: bool, free_port: int, tmp_path: Path
) -> None:
    config = configured(tmp_path, profile(free_port).model_dump())
    with Outbox(tmp_path, *config.destinations) as outbox:
        outbox.answer(radiograph(1), ("pacs", picture(radiograph(1))))
        with outbox.engine.begin() as c:
            values = (state, code, attempts)
            c.exec_driver_sql("UPDATE deliveries SET state = ?, code = ?, attempts = ?", values)
        uid = str(radiograph(1).StudyInstanceUID)
        assert taken_back(config, outbox, uid)[1] == (("pacs",) if may_be_there else ())
        assert taken_back(config, outbox, uid) == (0, ()), "once is enough"
        assert outbox.rows[0].state == "dropped"


def test_withdrawal_names_a_destination_that_is_no_longer_configured(free_port: int, tmp_path: Path) -> None:
    pacs = profile(free_port)
    with Outbox(tmp_path, pacs) as outbox:
        outbox.answer(radiograph(1), ("pacs", picture(radiograph(1))))
        with scripted_scp(free_port, [0], [SecondaryCaptureImageStorage]):
            outbox.carry_until(done=1)
        uid = str(radiograph(1).StudyInstanceUID)
        done = withdraw(configured(tmp_path), outbox.engine, uid, anna(REASON), INCORRECT_WORKLIST_ENTRY)
        assert (done.dropped, done.revoked_at, done.left_at) == (0, (), ("pacs",))
        assert outbox.rows[0].code == "delivered", "nobody there knows"
        with outbox.engine.connect() as c:
            assert "not withdrawn at pacs" in newest_entries(c, 1)[0].detail
        again = configured(tmp_path, pacs.model_dump())
        assert taken_back(again, outbox, uid) == (0, ("pacs",)), "it is configured again"
