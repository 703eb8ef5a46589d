"""An archive rejects a radiograph: its pending artefacts are dropped, and the next report leaves it out."""

from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from sqlalchemy import select

from appliance.dicom.objects.document import reference
from appliance.dicom.objects.key_objects import key_objects, rejection_note
from appliance.dicom.part10 import part10_bytes
from appliance.domain.codes import REJECTED_FOR_PATIENT_SAFETY
from appliance.domain.study import StudyResult
from appliance.storage.database import readers
from appliance.storage.studies import latest_study_result
from appliance.storage.tables import deliveries, results
from provisioning.phantoms import instance_from_phantom, phantom
from tests.support.peers import Peer
from tests.support.ports import free_ports
from tests.support.results import result, study
from tests.support.send import storescu
from tests.support.site import Site
from tests.support.waiting import wait_until


def views(folder: Path) -> list[Path]:
    """Write two radiographs of one study; return their paths."""
    paths = []
    for number, site in enumerate(("wrist", "knee")):
        ds = instance_from_phantom(phantom(site, 4, True))
        ds.StudyInstanceUID, ds.PatientID = "1.2.3.77", "P-1"
        paths.append(folder / f"{number}.dcm")
        ds.save_as(paths[-1], enforce_file_format=True)
    return paths


def write(folder: Path, name: str, ds: Dataset) -> Path:
    path = folder / f"{name}.dcm"
    path.write_bytes(part10_bytes(ds))
    return path


def latest_report(site: Site) -> StudyResult | None:
    with readers(site.engine).connect() as c:
        found = latest_study_result(c, "1.2.3.77")
    return found[1] if found else None


def test_rejection_note_drops_pending_artefacts_and_revises_the_report(tmp_path: Path, peer: Peer) -> None:
    radiographs = views(tmp_path)
    wrist, knee = map(dcmread, radiographs)
    reported, sources = study(result(wrist)), {str(wrist.SOPInstanceUID): wrist}
    note = rejection_note(
        reported, sources, [reference(wrist)], REJECTED_FOR_PATIENT_SAFETY, at=reported.created_at, words="wrong side"
    )
    (closed,) = free_ports(1)
    pacs = {"kind": "dicom", "name": "pacs", "host": "127.0.0.1", "port": closed, "called_ae_title": "PACS"}
    with Site(tmp_path, [pacs]) as site:
        site.start("receive", "analyse")
        storescu(peer, site.port, *radiographs)
        wait_until(lambda: (made := latest_report(site)) and len(made.results) == 2, "a report on both")

        storescu(peer, site.port, write(tmp_path, "ko", key_objects(reported, sources)))
        wait_until(lambda: len(site.rows("analyses")) == 3, "the job of the key objects")
        site.wait_for("analyses", done=2, not_analysed=1)
        unchanged = latest_report(site)
        assert unchanged is not None and len(unchanged.results) == 2, "key objects of another kind change nothing"

        storescu(peer, site.port, write(tmp_path, "note", note))
        wait_until(
            lambda: (made := latest_report(site)) and len(made.results) == 1, "a report without the rejected one"
        )
        made = latest_report(site)
        assert made and made.revision == 2 and made.results[0].sop_instance_uid == knee.SOPInstanceUID
        with readers(site.engine).connect() as c:
            joined = select(deliveries.c.kind, deliveries.c.state, deliveries.c.code, results.c.sop_instance_uid)
            rows = c.execute(joined.join(results, deliveries.c.result_id == results.c.id)).all()
        assert {(r.state, r.code) for r in rows if r.sop_instance_uid == wrist.SOPInstanceUID} == {
            ("dropped", "source_rejected")
        }
        assert {r.state for r in rows if r.sop_instance_uid == knee.SOPInstanceUID} == {"queued"}
        assert {row.code for row in site.rows("analyses")} == {"", "not_a_radiograph", "rejection_note"}
