"""kill -9 of each role loses nothing and doubles nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread

from appliance.domain.job import State
from provisioning.demonstration.peers import DemonstrationHospital as Hospital
from provisioning.phantoms import instance_from_phantom, phantom
from tests.support.peers import Peer
from tests.support.send import storescu
from tests.support.site import Site
from tests.support.waiting import wait_until

ANSWERS = 5  # SC, summary, SR, ORU, Bundle


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("films")
    paths = [folder / f"{seed}.dcm" for seed in range(6)]
    for seed, path in enumerate(paths):
        instance_from_phantom(phantom("wrist", 50 + seed, seed % 2 == 0)).save_as(path, enforce_file_format=True)
    return paths


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[Hospital]:
    hospital = Hospital(tmp_path / "hospital")
    yield hospital
    hospital.close()


@pytest.fixture
def site(tmp_path: Path, hospital: Hospital) -> Iterator[Site]:
    destinations = [
        {"kind": "dicom", "name": "pacs", "host": "127.0.0.1", "port": hospital.pacs_port, "called_ae_title": "PACS"},
        {"kind": "hl7", "name": "ris", "host": "127.0.0.1", "port": hospital.ris_port},
        {"kind": "fhir", "name": "fhir", "base_url": hospital.fhir_url},
    ]
    with Site(tmp_path, destinations) as site:
        yield site


def everything_arrived(site: Site, hospital: Hospital, films: list[Path]) -> None:
    """Every film is analysed once, and each of its answers is at its destination once."""
    site.wait_for("analyses", done=len(films))
    site.wait_for("deliveries", done=len(films) * ANSWERS)
    objects = [dcmread(p, stop_before_pixels=True) for p in hospital.pacs.folder.glob("*.dcm")]
    studies = {str(dcmread(p, stop_before_pixels=True).StudyInstanceUID) for p in films}
    assert sorted(ds.Modality for ds in objects) == sorted([*(["SR"] * len(films)), *(["OT", "OT"] * len(films))])
    assert {str(ds.StudyInstanceUID) for ds in objects} == studies
    assert len(list(hospital.ris.folder.glob("*.hl7"))) == len(films)
    # what was killed between the peer's answer and the commit is sent again, as the same object, and nothing else
    assert len(objects) <= hospital.pacs.count <= len(objects) + 1
    assert len(films) <= hospital.ris.count <= len(films) + 1
    assert len(list(hospital.fhir.folder.glob("*.json"))) == len(films)


def test_receive_killed_after_its_answers(site: Site, hospital: Hospital, films: list[Path], peer: Peer) -> None:
    site.start("receive")
    storescu(peer, site.port, *films)
    site.kill("receive")
    site.start("receive", "analyse", "deliver")
    everything_arrived(site, hospital, films)


def test_receive_killed_while_it_receives(site: Site, hospital: Hospital, films: list[Path], peer: Peer) -> None:
    """What was answered with Success is there; what was not, the sender sends again; and nothing is there twice."""
    site.start("receive")
    sending = storescu.start(peer, site.port, *films)
    wait_until(lambda: site.counts("analyses"), "the first film")
    site.kill("receive")
    said, _ = sending.communicate(timeout=60)
    answered = said.count("Received Store Response (Success)")
    assert site.counts("analyses")["queued"] >= answered
    site.start("receive", "analyse", "deliver")
    storescu(peer, site.port, *films)
    everything_arrived(site, hospital, films)


def test_analyse_killed_at_work(site: Site, hospital: Hospital, films: list[Path], peer: Peer) -> None:
    site.start("receive", "analyse", "deliver")
    storescu(peer, site.port, *films)
    wait_until(lambda: site.counts("analyses").get(State.LEASED), "a lease")
    site.kill("analyse")
    site.start("analyse")
    everything_arrived(site, hospital, films)
    assert all(row.attempts <= 2 for row in site.rows("analyses"))


def test_deliver_killed_at_work(site: Site, hospital: Hospital, films: list[Path], peer: Peer) -> None:
    site.start("receive", "analyse")
    storescu(peer, site.port, *films)
    site.wait_for("analyses", done=len(films))
    site.start("deliver")
    wait_until(lambda: hospital.pacs.arrivals, "the first object in the PACS")
    site.kill("deliver")
    site.start("deliver")
    everything_arrived(site, hospital, films)


def test_status_killed_is_nobodys_loss(site: Site, hospital: Hospital, films: list[Path], peer: Peer) -> None:
    site.start("receive", "analyse", "deliver", "status")
    storescu(peer, site.port, *films[:2])
    site.kill("status")
    everything_arrived(site, hospital, films[:2])
    site.start("status")


def test_a_pacs_that_is_away_delays_its_own_deliveries_only(tmp_path: Path, films: list[Path], peer: Peer) -> None:
    hospital = Hospital(tmp_path / "hospital")
    destinations = [
        {"kind": "dicom", "name": "pacs", "host": "127.0.0.1", "port": 1, "called_ae_title": "PACS", "timeout_s": 2},
        {"kind": "hl7", "name": "ris", "host": "127.0.0.1", "port": hospital.ris_port},
    ]
    with Site(tmp_path, destinations) as site:
        site.start("receive", "analyse", "deliver")
        storescu(peer, site.port, *films[:2])
        wait_until(lambda: len(hospital.ris.arrivals) == 2, "both messages in the RIS")
        wait_until(lambda: site.rows("deliveries")[0].code, "the PACS to be tried")
        waiting = [row for row in site.rows("deliveries") if row.destination == "pacs"]
        assert len(waiting) == 6
        assert {row.state for row in waiting} <= {"queued", "leased"}
        assert "PACS" in waiting[0].reason
    hospital.close()
