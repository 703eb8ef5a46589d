"""Every DICOM object that we make is stored by DCMTK's archive and by Orthanc, and retrieved unchanged."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest

from appliance.dicom.scu.sender import send_files
from tests.support.objects import objects, written
from tests.support.orthanc import orthanc
from tests.support.peers import Peer, running, wait_for_port
from tests.support.sources import variants

VARIANTS = variants()


def stored(port: int, paths: list[Path]) -> None:
    """Send and see that the peer has stored each."""
    sent = send_files(paths, host="127.0.0.1", port=port, called_ae_title="PACS", calling_ae_title="OSTEON")
    assert {path.name: status.code for path, status in sent} == {path.name: 0 for path in paths}


@pytest.mark.parametrize("variant", ["identities", "monochrome1", "japanese", "gaps"])
@pytest.mark.proves("MIS-5")
def test_dcmtk_archive_stores_every_object(variant: str, peer: Peer, tmp_path: Path, free_port: int) -> None:
    paths = written(tmp_path, objects(VARIANTS[variant]))
    archive = tmp_path / "archive"
    archive.mkdir()
    with running(peer("storescp"), "-aet", "PACS", "-od", str(archive), "+B", "+xa", str(free_port)) as storescp:
        wait_for_port(free_port, storescp)
        stored(free_port, list(paths.values()))
    kept = {ds.SOPInstanceUID: ds for ds in map(pydicom.dcmread, archive.iterdir())}
    for path in paths.values():
        ds = pydicom.dcmread(path)
        assert kept[ds.SOPInstanceUID] == ds


@pytest.mark.parametrize("variant", ["identities", "monochrome1", "japanese", "empty"])
@pytest.mark.proves("MIS-5")
def test_orthanc_archive_files_every_object_in_the_study(variant: str, peer: Peer, tmp_path: Path) -> None:
    source = VARIANTS[variant]
    made = objects(source)
    radiograph = tmp_path / "radiograph.dcm"
    source.save_as(radiograph, enforce_file_format=True)
    with orthanc(peer("Orthanc"), tmp_path / "orthanc") as archive:
        stored(archive.port, [radiograph, *written(tmp_path, made).values()])
        (patient,) = archive.get("/patients?expand")
        (study,) = archive.get("/studies?expand")
        tags = archive.tags()
        assert len(study["Series"]) == 1 + len({ds.SeriesInstanceUID for ds in made.values()})
    assert study["MainDicomTags"]["StudyInstanceUID"] == source.StudyInstanceUID
    assert patient["MainDicomTags"]["PatientID"] == str(source.get("PatientID") or "")
    assert len(tags) == 1 + len({ds.SOPInstanceUID for ds in made.values()})
    assert {t["Modality"] for t in tags} == {source.Modality, "OT", "PR", "SR", "KO"}
    assert {t["PatientName"] for t in tags} == {str(source.get("PatientName") or "")}
