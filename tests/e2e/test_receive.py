"""DCMTK as the X-ray room: the receiver stores the bytes that storescu and dcmsend send, then responds."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from appliance.dicom.reading.decoders import samples
from provisioning.phantoms import instance_from_phantom, phantom
from tests.support.pdus import Wire
from tests.support.peers import Peer
from tests.support.site import Site
from tests.support.waiting import PATIENCE_S


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One receiver for all tests of this file, which look only at the files that they add."""
    with Site(tmp_path_factory.mktemp("site")) as site:
        site.start("receive")
        yield site


@pytest.fixture(scope="module")
def radiograph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("radiograph") / "radiograph.dcm"
    instance_from_phantom(phantom("knee", 1, True)).save_as(path, enforce_file_format=True)
    return path


def spool_files(site: Site) -> set[Path]:
    return {p for p in (site.folder / "state" / "spool").rglob("*") if p.is_file()}


def queued(site: Site) -> int:
    counts = site.counts("analyses")
    assert counts.keys() <= {"queued"}
    return counts.get("queued", 0)


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, timeout=PATIENCE_S)


def test_echo_by_echoscu_succeeds(site: Site, peer: Peer) -> None:
    assert run(peer("echoscu"), "-aec", "OSTEON", "127.0.0.1", site.port).returncode == 0


def test_association_with_another_called_ae_title_is_rejected_and_logged(site: Site, peer: Peer) -> None:
    done = run(peer("echoscu"), "-aet", "ROOM1", "-aec", "OTHER", "127.0.0.1", site.port)
    assert done.returncode != 0
    assert "Called AE Title Not Recognized" in done.stdout + done.stderr
    assert "ROOM1" in site.log("receive")


def test_radiograph_stored_twice_is_one_file_with_the_same_data_set(site: Site, peer: Peer, radiograph: Path) -> None:
    files, jobs = spool_files(site), queued(site)
    for _ in range(2):
        assert run(peer("storescu"), "-aec", "OSTEON", "127.0.0.1", site.port, radiograph).returncode == 0
    (file,) = spool_files(site) - files
    received, sent = dcmread(file), dcmread(radiograph)
    assert received == sent
    assert queued(site) - jobs == 1


@pytest.mark.parametrize("option", ["-xs", "-xi", "-xb", "-xd", "-xe"])
def test_radiograph_in_another_transfer_syntax_keeps_it_and_its_pixels(
    site: Site, peer: Peer, radiograph: Path, tmp_path: Path, option: str
) -> None:
    """storescu proposes lossless JPEG, implicit, big endian, deflated and explicit little endian."""
    ds = dcmread(radiograph)
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[option])
    ds.save_as(tmp_path / "original.dcm")
    encoded = tmp_path / "encoded.dcm"
    coder = {
        "-xs": ("dcmcjpeg", "+e1"),
        "-xi": ("dcmconv", "+ti"),
        "-xb": ("dcmconv", "+tb"),
        "-xd": ("dcmconv", "+td"),
    }
    program, flag = coder.get(option, ("dcmconv", "+te"))
    assert run(peer(program), flag, tmp_path / "original.dcm", encoded).returncode == 0
    propose = [] if option == "-xe" else [option]
    files = spool_files(site)
    done = run(peer("storescu"), *propose, "-aec", "OSTEON", "127.0.0.1", site.port, encoded)
    assert done.returncode == 0, done.stderr
    (file,) = spool_files(site) - files
    assert dcmread(file).file_meta.TransferSyntaxUID == dcmread(encoded).file_meta.TransferSyntaxUID
    assert (samples(dcmread(file)) == samples(dcmread(radiograph))).all()


def test_folder_sent_by_dcmsend_in_one_association_is_queued(site: Site, peer: Peer, tmp_path: Path) -> None:
    folder = tmp_path / "radiographs"
    folder.mkdir()
    for seed in range(3):
        instance_from_phantom(phantom("wrist", seed, False)).save_as(folder / f"{seed}.dcm", enforce_file_format=True)
    jobs = queued(site)
    done = run(peer("dcmsend"), "-v", "-dn", "-aec", "OSTEON", "127.0.0.1", site.port, "+sd", folder)
    assert done.returncode == 0
    assert "with status SUCCESS  : 3" in done.stdout + done.stderr
    assert queued(site) - jobs == 3


@pytest.mark.proves("SAF-13")
def test_radiograph_on_a_full_disk_is_refused_and_not_stored(tmp_path: Path, peer: Peer, radiograph: Path) -> None:
    with Site(tmp_path) as site:
        site.config.write_text(site.config.read_text().replace("reserve_mb = 0", "reserve_mb = 1000000000"))
        site.start("receive")
        done = run(peer("storescu"), "-v", "-aec", "OSTEON", "127.0.0.1", site.port, radiograph)
        assert "Refused: OutOfResources" in done.stdout + done.stderr
        assert spool_files(site) == set()
        assert site.counts("analyses") == {}


@pytest.mark.proves("SEC-5")
def test_name_in_place_of_a_uid_is_not_logged(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        site.start("receive")
        with Wire(site.port) as wire:
            wire.associate()
            assert wire.store("SECRETNAME^ANNA", b"bytes") == 0xC000
        assert site.stop("receive") == 0
        assert "association with ROOM1" in site.log("receive")
        assert "SECRETNAME" not in site.log("receive")
