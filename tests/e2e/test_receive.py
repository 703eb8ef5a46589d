"""DCMTK as the X-ray room: what storescu and dcmsend send is kept as it came, and answered only then."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread

from appliance.dicom.reading.decoders import samples
from provisioning.phantoms import instance_from_phantom, phantom
from tests.support.pdus import Wire
from tests.support.peers import Peer
from tests.support.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path) as site:
        site.start("receive")
        yield site


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.dcm"
    instance_from_phantom(phantom("knee", 1, True)).save_as(path, enforce_file_format=True)
    return path


def kept(site: Site) -> list[Path]:
    return [p for p in (site.folder / "state" / "spool").rglob("*") if p.is_file()]


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, timeout=60)


def test_echo(site: Site, peer: Peer) -> None:
    assert run(peer("echoscu"), "-aec", "OSTEON", "127.0.0.1", site.port).returncode == 0


def test_another_called_ae_title_is_rejected_and_logged(site: Site, peer: Peer) -> None:
    done = run(peer("echoscu"), "-aet", "ROOM1", "-aec", "OTHER", "127.0.0.1", site.port)
    assert done.returncode != 0
    assert "Called AE Title Not Recognized" in done.stdout + done.stderr
    assert "ROOM1" in site.log("receive")


def test_storescu_twice_is_one_radiograph_with_the_same_data_set(site: Site, peer: Peer, film: Path) -> None:
    for _ in range(2):
        assert run(peer("storescu"), "-aec", "OSTEON", "127.0.0.1", site.port, film).returncode == 0
    (file,) = kept(site)
    received, sent = dcmread(file), dcmread(film)
    assert received == sent
    assert site.counts("analyses") == {"queued": 1}


@pytest.mark.parametrize("option", ["-xs", "-xi", "-xb", "-xd", "-xe"])
def test_other_transfer_syntaxes(site: Site, peer: Peer, film: Path, tmp_path: Path, option: str) -> None:
    """Lossless JPEG, implicit, big endian, deflated and explicit little endian, as storescu proposes them."""
    encoded = tmp_path / "encoded.dcm"
    coder = {
        "-xs": ("dcmcjpeg", "+e1"),
        "-xi": ("dcmconv", "+ti"),
        "-xb": ("dcmconv", "+tb"),
        "-xd": ("dcmconv", "+td"),
    }
    program, flag = coder.get(option, ("dcmconv", "+te"))
    assert run(peer(program), flag, film, encoded).returncode == 0
    propose = [] if option == "-xe" else [option]
    done = run(peer("storescu"), *propose, "-aec", "OSTEON", "127.0.0.1", site.port, encoded)
    assert done.returncode == 0, done.stderr
    (file,) = kept(site)
    assert dcmread(file).file_meta.TransferSyntaxUID == dcmread(encoded).file_meta.TransferSyntaxUID
    assert (samples(dcmread(file)) == samples(dcmread(film))).all()


def test_dcmsend_sends_a_folder_in_one_association(site: Site, peer: Peer, tmp_path: Path) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    for seed in range(3):
        instance_from_phantom(phantom("wrist", seed, False)).save_as(folder / f"{seed}.dcm", enforce_file_format=True)
    done = run(peer("dcmsend"), "-v", "-dn", "-aec", "OSTEON", "127.0.0.1", site.port, "+sd", folder)
    assert done.returncode == 0
    assert "with status SUCCESS  : 3" in done.stdout + done.stderr
    assert site.counts("analyses") == {"queued": 3}


def test_a_full_disk_is_refused_and_nothing_is_kept(tmp_path: Path, peer: Peer, film: Path) -> None:
    with Site(tmp_path) as site:
        site.config.write_text(site.config.read_text().replace("reserve_mb = 0", "reserve_mb = 1000000000"))
        site.start("receive")
        done = run(peer("storescu"), "-v", "-aec", "OSTEON", "127.0.0.1", site.port, film)
        assert "Refused: OutOfResources" in done.stdout + done.stderr
        assert kept(site) == []
        assert site.counts("analyses") == {}


def test_a_name_for_a_uid_reaches_no_log(site: Site) -> None:
    with Wire(site.port) as wire:
        wire.associate()
        assert wire.store("SECRETNAME^ANNA", b"bytes") == 0xC000
    assert site.stop("receive") == 0
    assert "association with ROOM1" in site.log("receive")
    assert "SECRETNAME" not in site.log("receive")
