"""Objects that a revision replaces: once the new ones are proven, a rejection note names them, if the profile asks."""

from __future__ import annotations

import io
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import KeyObjectSelectionDocumentStorage, SecondaryCaptureImageStorage
from sqlalchemy import update

from appliance.config import Analyse, DicomDestination
from appliance.dicom.objects.patient_study import patient_digest
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.result import Predecessor, Result
from appliance.ports import Artefact
from appliance.service.instance_reader import HeaderReader
from appliance.service.reporter import Reporter
from appliance.service.superseding import Superseding
from appliance.storage.studies import StudyQueue
from appliance.storage.tables import deliveries
from appliance.storage.withdrawals import deliveries_to_revoke
from tests.support.orthanc import orthanc
from tests.support.outbox import Outbox, picture, radiograph
from tests.support.pacs import profile, scripted_scp
from tests.support.peers import Peer
from tests.support.profiles import renderer
from tests.support.results import finding, result


def second(ds: Dataset) -> Result:
    """Return the result of revision 2 of a radiograph: no fracture found."""
    given = result(ds, finding(0.1))
    return replace(given, revision=2, predecessor=Predecessor(revision=1, pack_digest=given.provenance.pack_digest))


def corrected(ds: Dataset) -> Dataset:
    """Change other bytes of a radiograph, as a correction does, and return it."""
    ds.PatientComments = "corrected"
    return ds


@contextmanager
def superseding(outbox: Outbox, *destinations: DicomDestination) -> Iterator[Superseding]:
    """Make the step that queues rejection notes, as a role does when it starts."""
    headers = HeaderReader(Analyse())
    try:
        yield Superseding(outbox.engine, outbox.spool, headers, destinations, interval_s=0.0)
    finally:
        headers.close()


def revise(outbox: Outbox, ds: Dataset, *to: str) -> str:
    """Answer a radiograph once more, for each destination; return the UID of the new picture."""
    given = second(ds)
    made = picture(ds, given)
    outbox.answer(corrected(ds), *((name, made) for name in to or ("pacs",)), given=given)
    return made.identifier


def rejected_uids(ds: Dataset) -> set[str]:
    (study,) = ds.CurrentRequestedProcedureEvidenceSequence
    return {
        i.ReferencedSOPInstanceUID for series in study.ReferencedSeriesSequence for i in series.ReferencedSOPSequence
    }


def notes(outbox: Outbox) -> list[Dataset]:
    """Return the rejection notes, oldest first."""
    of_kind = [row for row in outbox.rows if row.kind is ArtefactKind.REJECTION]
    return [pydicom.dcmread(io.BytesIO(outbox.spool.get(row.digest))) for row in of_kind]


def test_replaced_objects_are_rejected_once_the_new_ones_are_proven(peer: Peer, tmp_path: Path) -> None:
    ds = radiograph(1)
    with orthanc(peer("Orthanc"), tmp_path / "orthanc") as there:
        pacs = profile(there.port, proof="find", superseded="reject", objects=("sc", "summary", "sr", "ko"))
        with Outbox(tmp_path, pacs) as outbox, superseding(outbox, pacs) as step:
            headers = HeaderReader(Analyse())
            queue = StudyQueue(outbox.engine, "me", most_attempts=3)
            reporter = Reporter(outbox.engine, queue, outbox.spool, headers, renderer([pacs], outbox.spool.put))
            outbox.answer(ds, ("pacs", picture(ds)))
            assert reporter.step()
            outbox.carry_until(done=4)
            old = {row.kind: row.identifier for row in outbox.rows}
            assert not step.step(), "nothing is replaced"
            new = revise(outbox, ds)
            assert not step.step(), "the new picture has not left"
            outbox.carry()
            assert outbox.rows[-1].stored_at and not step.step(), "the new picture is not proven"
            outbox.carry_until(done=5)
            assert step.step() and not step.step(), "once is enough"
            with superseding(outbox, pacs) as again:
                assert not again.step(), "nor after a restart"
            outbox.carry_until(done=6)
            assert reporter.step()
            assert not step.step(), "the new report has not left"
            outbox.carry_until(done=8)
            assert step.step() and not step.step()
            outbox.carry_until(done=9)
            headers.close()
            found = there.instances
            revoked = {d.identifier for d in deliveries_to_revoke(outbox.engine, str(ds.StudyInstanceUID))}
            report = next(row for row in reversed(outbox.rows) if row.kind is ArtefactKind.STRUCTURED_REPORT)
            second_report = pydicom.dcmread(io.BytesIO(outbox.spool.get(report.digest)))
            current = {row.identifier for row in outbox.rows if row.kind is not ArtefactKind.REJECTION} - set(
                old.values()
            )
            of_pictures, of_reports = notes(outbox)
            codes = {row.identifier: row.code for row in outbox.rows}
            content = retrieved(there.http_port, found[str(of_reports.SOPInstanceUID)])
    assert rejected_uids(of_pictures) == {old["sc"]} and new in found
    assert rejected_uids(of_reports) == {old["summary"], old["sr"], old["ko"]}, "the positive key objects, too"
    assert {codes[uid] for uid in old.values()} == {"rejected_as_old"}
    assert revoked == current and len(current) == 3, "a withdrawal takes back the newest objects alone"
    (named,) = second_report.CurrentRequestedProcedureEvidenceSequence
    evidence = {i.ReferencedSOPInstanceUID for s in named.ReferencedSeriesSequence for i in s.ReferencedSOPSequence}
    assert evidence == {ds.SOPInstanceUID, new}, "the report refers to the picture of its own revision"
    (before,) = second_report.PredecessorDocumentsSequence
    assert before.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == old["sr"]
    note = pydicom.dcmread(io.BytesIO(content))
    assert note.ConceptNameCodeSequence[0].CodeValue == "113001" and note.PatientID == ds.PatientID
    assert note.StudyInstanceUID == ds.StudyInstanceUID
    path = tmp_path / "note.dcm"
    path.write_bytes(content)
    judged = subprocess.run([peer("dciodvfy"), "-new", str(path)], capture_output=True, text=True, check=False)
    assert "Error" not in judged.stderr
    said = subprocess.run([peer("dsrdump"), "+Pl", str(path)], capture_output=True, text=True, check=True).stdout
    assert "A later revision takes the place of these objects" in said


def retrieved(http_port: int, orthanc_id: str) -> bytes:
    address = f"http://127.0.0.1:{http_port}/instances/{orthanc_id}/file"
    with urllib.request.urlopen(address, timeout=60) as answer:
        return bytes(answer.read())


def test_replaced_objects_stay_by_default(free_port: int, tmp_path: Path) -> None:
    pacs, ds = profile(free_port), radiograph(1)
    with Outbox(tmp_path, pacs) as outbox, superseding(outbox, pacs) as step:
        outbox.answer(ds, ("pacs", picture(ds)))
        with scripted_scp(free_port, [0, 0], [SecondaryCaptureImageStorage]):
            outbox.carry_until(done=1)
            revise(outbox, ds)
            outbox.carry_until(done=2)
        assert not step.step() and notes(outbox) == []


@pytest.mark.parametrize(
    ("status", "state", "code"), [(0xC000, "parked", "store_rejected"), (0xA700, "queued", "store_transient")]
)
def test_rejection_note_that_fails_holds_up_nothing(
    status: int, state: str, code: str, free_port: int, tmp_path: Path
) -> None:
    pacs, ds, other = profile(free_port, superseded="reject"), radiograph(1), radiograph(2, study_number=1)
    classes = [SecondaryCaptureImageStorage, KeyObjectSelectionDocumentStorage]
    with Outbox(tmp_path, pacs) as outbox, superseding(outbox, pacs) as step:
        outbox.answer(ds, ("pacs", picture(ds)))
        with scripted_scp(free_port, [0, 0, status, 0] + [status] * 9, classes):
            outbox.carry_until(done=1)
            revise(outbox, ds)
            outbox.carry_until(done=2)
            assert step.step()
            outbox.answer(other, ("pacs", picture(other)))
            outbox.carry()
            outbox.carry()
        rows = {row.identifier: (row.state, row.code) for row in outbox.rows}
        assert rows[str(notes(outbox)[0].SOPInstanceUID)] == (state, code)
        assert rows[picture(other).identifier] == ("done", "delivered"), "of the same study, after the note"
        assert not step.step(), "the note is not made twice"


def test_archive_without_key_objects_parks_the_note_alone(free_port: int, tmp_path: Path) -> None:
    pacs, ds = profile(free_port, superseded="reject"), radiograph(1)
    with Outbox(tmp_path, pacs) as outbox, superseding(outbox, pacs) as step:
        outbox.answer(ds, ("pacs", picture(ds)))
        with scripted_scp(free_port, [0, 0, 0], [SecondaryCaptureImageStorage]):
            outbox.carry_until(done=1)
            revise(outbox, ds)
            outbox.carry_until(done=2)
            assert step.step()
            outbox.carry()
            assert (outbox.rows[-1].state, outbox.rows[-1].code) == ("queued", "not_taken")
            other = radiograph(2)
            outbox.answer(other, ("pacs", picture(other)))
            outbox.carry_until(done=3, parked=1)
        assert {row.code for row in outbox.rows if row.state == "parked"} == {"not_taken"}


@pytest.mark.parametrize("columns", [
    {"state": "parked", "code": "store_rejected"},
    {"state": "queued", "code": "store_transient"},
    {"state": "dropped", "code": "dropped"},
    {"state": "dropped", "code": "not_taken"},
    {"state": "done", "code": "withdrawn"},
    {"state": "done", "code": "delivered", "identifier": "the old picture's"},
    {"state": "done", "code": "delivered", "destination": "elsewhere"},
])  # fmt: skip
def test_object_that_the_new_one_does_not_replace_is_never_rejected(
    columns: dict[str, str], free_port: int, tmp_path: Path
) -> None:
    pacs, ds = profile(free_port, superseded="reject"), radiograph(1)
    with Outbox(tmp_path, pacs) as outbox, superseding(outbox, pacs) as step:
        outbox.answer(ds, ("pacs", picture(ds)))
        with scripted_scp(free_port, [0], [SecondaryCaptureImageStorage]):
            outbox.carry_until(done=1)
        revise(outbox, ds)
        if "identifier" in columns:
            columns = columns | {"identifier": picture(ds).identifier}
        with outbox.engine.begin() as c:
            c.execute(update(deliveries).where(deliveries.c.id == outbox.rows[-1].id).values(**columns))
        assert not step.step() and notes(outbox) == []


def test_object_that_may_never_have_arrived_has_a_note_of_its_own(free_port: int, tmp_path: Path) -> None:
    pacs, ds = profile(free_port, superseded="reject", objects=("sc", "pr")), radiograph(1)
    other = Artefact(kind=ArtefactKind.PRESENTATION_STATE, identifier="1.2.3.4", content=picture(ds).content)
    with Outbox(tmp_path, pacs) as outbox, superseding(outbox, pacs) as step:
        outbox.answer(ds, ("pacs", picture(ds)), ("pacs", other))
        with scripted_scp(free_port, [0, 0xA700, 0], [SecondaryCaptureImageStorage]):
            outbox.carry()
            revise(outbox, ds)
            assert outbox.states == {"done": 1, "dropped": 1, "queued": 1}
            outbox.carry_until(done=2, dropped=1)
        assert step.step() and not step.step()
        assert [rejected_uids(note) for note in notes(outbox)] == [{picture(ds).identifier}, {"1.2.3.4"}]


def test_objects_without_their_files_are_left_with_a_parked_note(free_port: int, tmp_path: Path) -> None:
    pacs, ds = profile(free_port, superseded="reject"), radiograph(1)
    with Outbox(tmp_path, pacs) as outbox, superseding(outbox, pacs) as step:
        outbox.answer(ds, ("pacs", picture(ds)))
        with scripted_scp(free_port, [0, 0], [SecondaryCaptureImageStorage]):
            outbox.carry_until(done=1)
            outbox.spool.remove(outbox.rows[0].digest)  # as retention does
            revise(outbox, ds)
            outbox.carry_until(done=2)
        assert step.step() and not step.step()
        note = outbox.rows[-1]
        assert (note.kind, note.state, note.code) == ("rejection", "parked", "spool_missing")


def test_note_names_the_patient_of_the_objects_that_it_rejects(free_port: int, tmp_path: Path) -> None:
    pacs, ds = profile(free_port, superseded="reject"), radiograph(1)
    former = str(ds.PatientID)
    with Outbox(tmp_path, pacs) as outbox, superseding(outbox, pacs) as step:
        outbox.answer(ds, ("pacs", picture(ds)))
        ds.PatientID = "ANOTHER"
        with scripted_scp(free_port, [0, 0], [SecondaryCaptureImageStorage]):
            outbox.carry_until(done=1)
            revise(outbox, ds)
            outbox.carry_until(done=2)
        assert step.step()
        (note,) = notes(outbox)
        assert note.PatientID == former and patient_digest(note) != patient_digest(ds)
