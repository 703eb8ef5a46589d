"""Unusable input gets a record with a reason, on the page and in `osteon queue`; the analysis of the rest goes on."""

import json
import struct
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID, CTImageStorage
from pynetdicom import AE

from appliance.domain.finding import Answer
from appliance.domain.received import Received
from appliance.errors import Rejected
from appliance.storage.instances import keep_instance
from appliance.storage.results import latest_result
from appliance.storage.spool import FileSpool
from provisioning.phantoms import instance_from_phantom, phantom
from tests.support.pdus import Wire
from tests.support.peers import Peer
from tests.support.send import storescu
from tests.support.site import Site
from tests.support.waiting import PATIENCE_S, wait_until


def osteon(site: Site, *arguments: str) -> str:
    """Run ``osteon`` on this site; return its output."""
    command = [sys.executable, "-m", "provisioning.cli", *arguments, "--config", str(site.config)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"COLUMNS": "200"})
    return done.stdout


def test_bad_input_is_recorded_with_its_reason_and_the_good_one_is_analysed(tmp_path: Path, peer: Peer) -> None:
    good = tmp_path / "good.dcm"
    instance_from_phantom(phantom("ankle", 60, True)).save_as(good, enforce_file_format=True)

    no_pixels = dcmread(good)
    no_pixels.SOPInstanceUID = no_pixels.file_meta.MediaStorageSOPInstanceUID = UID("2.25.1")
    del no_pixels.PixelData
    no_pixels.save_as(tmp_path / "no_pixels.dcm")

    cut = dcmread(good)
    cut.SOPInstanceUID = cut.file_meta.MediaStorageSOPInstanceUID = UID("2.25.2")
    cut.PixelData = cut.PixelData[:1000]
    cut.save_as(tmp_path / "cut.dcm")

    ct = dcmread(good)
    ct.SOPInstanceUID = ct.file_meta.MediaStorageSOPInstanceUID = UID("2.25.3")
    ct.SOPClassUID = ct.file_meta.MediaStorageSOPClassUID = CTImageStorage
    ct.Modality = "CT"
    ct.save_as(tmp_path / "ct.dcm")

    with Site(tmp_path) as site:
        site.start("receive", "analyse", "status")
        storescu(peer, site.port, *(tmp_path / f"{name}.dcm" for name in ("no_pixels", "cut", "ct")))
        _keep_garbage(site)
        storescu(peer, site.port, good)
        site.wait_for("analyses", done=1, not_analysed=3)
        reasons = {row.code: row.reason for row in site.rows("analyses") if row.state == "not_analysed"}
        assert set(reasons) == {"no_pixels", "broken_pixels", "not_dicom"}
        listed = osteon(site, "queue", "list")
        page = _page(site, "radiographs")
        for code, reason in reasons.items():
            assert code in listed
            assert reason.split(":")[0] in page
        assert "CT Image Storage: accepted and not stored" in _page(site, "turned-away")
        (parked,) = [row.id for row in site.rows("analyses") if row.code == "not_dicom"]
        shown = json.loads(osteon(site, "queue", "show", f"analysis:{parked}"))
        assert shown["instance"]["calling_ae_title"] == "BROKEN"
        osteon(site, "queue", "retry", f"analysis:{parked}")
        site.wait_for("analyses", done=1, not_analysed=3)
        osteon(site, "queue", "drop", f"analysis:{parked}", "--reason", "a test")
        assert site.counts("analyses") == {"done": 1, "not_analysed": 2, "dropped": 1}
        assert "not_dicom" not in osteon(site, "queue", "list")
        assert "PHANTOM" not in page + listed + site.log("receive") + site.log("analyse")


def _keep_garbage(site: Site) -> None:
    """Store bytes that are no data set, as if a broken sender had sent them: the spool file and the database row."""
    content = b"this is no DICOM file" * 20
    spool = FileSpool(site.folder / "state" / "spool")
    received = Received(
        sop_instance_uid="2.25.4",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        digest=spool.put(content),
        size_bytes=len(content),
        calling_ae_title="BROKEN",
    )
    assert keep_instance(site.engine, received)


@pytest.mark.proves("SEC-12")
def test_store_with_a_path_as_sop_instance_uid_is_refused(tmp_path: Path) -> None:
    """A hostile peer: no file is named by the Affected SOP Instance UID before it is checked."""
    ds = instance_from_phantom(phantom("ankle", 61, False))
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID("../../evil")
    with Site(tmp_path) as site:
        site.start("receive")
        ae = AE("EVIL")
        ae.add_requested_context(ds.SOPClassUID)
        association = ae.associate("127.0.0.1", site.port, ae_title="OSTEON")
        assert association.is_established
        try:
            status = association.send_c_store(ds)
        except (ValueError, Rejected):
            status = None
        association.abort()
        assert status is None or status.Status == 0xC000
        assert site.counts("analyses") == {}
    assert not list(tmp_path.parent.rglob("evil*"))


def _ankle(uid: str) -> Dataset:
    ds = instance_from_phantom(phantom("ankle", 62, True))
    ds.SOPInstanceUID = UID(uid)
    return ds


def _head(ds: Dataset, last: str) -> bytes:
    """Return the attributes of `ds` up to `last` as an Implicit VR data set, and a sequence without an end."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = True, True
    write_dataset(buffer, ds[: ds[last].tag + 1])
    return buffer.getvalue() + struct.pack("<HHL", 0x0040, 0x0275, 0xFFFFFFFF) + b"\xfe\xff"


def test_broken_data_set_is_answered_as_far_as_its_patient_is_known(tmp_path: Path) -> None:
    """The UID of the C-STORE names the radiograph; without patient and study, no peer can be told."""
    destination = {"kind": "hl7", "name": "ris", "host": "127.0.0.1", "port": 1}
    with Site(tmp_path, [destination]) as site:
        site.start("receive", "analyse", "status")
        with Wire(site.port) as wire:
            wire.associate()
            assert wire.store("2.25.71", _head(_ankle("2.25.71"), "PatientID")) == 0
            assert wire.store("2.25.72", _head(_ankle("2.25.72"), "StudyInstanceUID")) == 0
            assert wire.store("2.25.7x", b"") == 0xC000
        site.wait_for("analyses", not_analysed=2)
        site.wait_for("deliveries", queued=1)
        reasons = [(row.code, row.reason) for row in site.rows("analyses")]
        assert reasons[0] == reasons[1], "both are told the same true reason"
        assert reasons[0][0] == "unreadable" and "cannot be parsed from (0040,0275) on" in reasons[0][1]
        shown = json.loads(osteon(site, "queue", "show", "analysis:1"))
        assert shown["instance"]["sop_instance_uid"] == "2.25.71"
        (delivery,) = site.rows("deliveries")
        message = FileSpool(site.folder / "state" / "spool").get(delivery.digest).decode()
        assert "cannot be parsed from (0040,0275) on" in message and "NOT-ANALYSED" in message
        page = _page(site, "radiographs")
        assert "cannot be parsed from (0040,0275) on" in page
        assert 'osteon_not_analysed{code="unreadable"} 2.0' in _page(site, "metrics")
        wait_until(lambda: 'osteon_turned_away_total{code="instance_refused"' in _page(site, "metrics"), "the notice")
        assert "(C000)" in site.log("receive")
        assert "analysis 1 ends without an answer" in site.log("analyse")
        assert "analysis 2 is answered as not analysed" in site.log("analyse")
        assert "PHANTOM" not in page + site.log("receive") + site.log("analyse")


@pytest.mark.parametrize(
    ("anatomy", "seed", "answer", "revisions"),
    [("knee", 7, Answer.POSITIVE, 1), ("wrist", 5, Answer.NEGATIVE, 2)],
)
def test_broken_resend_takes_back_a_negative_alone(
    anatomy: str, seed: int, answer: Answer, revisions: int, tmp_path: Path
) -> None:
    """A transfer that failed says nothing about the image; "no fracture found" is not said of what was not read."""
    ds = instance_from_phantom(phantom(anatomy, seed, answer is Answer.POSITIVE))
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID("2.25.81")
    with Site(tmp_path) as site:
        site.start("receive", "analyse")
        ae = AE("ROOM1")
        ae.add_requested_context(ds.SOPClassUID)
        association = ae.associate("127.0.0.1", site.port, ae_title="OSTEON")
        assert association.send_c_store(ds).Status == 0
        association.release()
        site.wait_for("analyses", done=1)
        first = latest_result(site.engine, "2.25.81")
        assert first is not None and first.answer is answer
        with Wire(site.port) as wire:
            wire.associate()
            assert wire.store("2.25.81", _head(ds, "StudyInstanceUID")) == 0
        site.wait_for("analyses", not_analysed=1, done=1)
        newest = latest_result(site.engine, "2.25.81")
        assert newest is not None and newest.revision == revisions
        assert newest.answer is (answer if revisions == 1 else Answer.NOT_ANALYSED)
        (declined,) = [row for row in site.rows("analyses") if row.state == "not_analysed"]
        assert declined.code == "unreadable"
        stays = "the answer to a whole version of it, revision 1, stays"
        assert (stays in declined.reason) is (revisions == 1)


def _page(site: Site, path: str) -> str:
    page = urllib.request.urlopen(f"http://127.0.0.1:{site.page_port}/{path}", timeout=PATIENCE_S)
    return str(page.read().decode())
