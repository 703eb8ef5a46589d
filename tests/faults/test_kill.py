"""SIGKILL of each role loses no artefact and doubles none."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from provisioning.demonstration.peers import DemonstrationHospital as Hospital
from provisioning.phantoms import instance_from_phantom, phantom
from tests.support.peers import Peer
from tests.support.send import storescu
from tests.support.site import Site
from tests.support.waiting import PATIENCE_S, wait_until

ARTEFACTS = 5
"""Artefacts of each study: SC, summary, SR, ORU, FHIR bundle."""


@pytest.fixture(scope="module")
def radiographs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("radiographs")
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
    destinations: list[dict[str, Any]] = [
        {"kind": "dicom", "name": "pacs", "host": "127.0.0.1", "port": hospital.pacs_port, "called_ae_title": "PACS"},
        {"kind": "hl7", "name": "ris", "host": "127.0.0.1", "port": hospital.ris_port},
        {"kind": "fhir", "name": "fhir", "base_url": hospital.fhir_url},
    ]
    with Site(tmp_path, destinations) as site:
        yield site


def wait_for_every_artefact(site: Site, hospital: Hospital, radiographs: list[Path]) -> None:
    """Check that every radiograph is analysed once and each artefact is at its destination once."""
    site.wait_for("analyses", done=len(radiographs))
    site.wait_for("deliveries", done=len(radiographs) * ARTEFACTS)
    objects = [dcmread(p, stop_before_pixels=True) for p in hospital.pacs.folder.glob("*.dcm")]
    studies = {str(dcmread(p, stop_before_pixels=True).StudyInstanceUID) for p in radiographs}
    assert sorted(ds.Modality for ds in objects) == sorted(
        [*(["SR"] * len(radiographs)), *(["OT", "OT"] * len(radiographs))]
    )
    assert {str(ds.StudyInstanceUID) for ds in objects} == studies
    assert len(list(hospital.ris.folder.glob("*.hl7"))) == len(radiographs)
    # a role that is killed between the peer's response and the commit sends the same object again, and nothing else
    assert len(objects) <= hospital.pacs.count <= len(objects) + 1
    assert len(radiographs) <= hospital.ris.count <= len(radiographs) + 1
    assert len(list(hospital.fhir.folder.glob("*.json"))) == len(radiographs)


@pytest.mark.proves("SAF-13")
def test_receive_killed_after_its_responses_loses_nothing(
    site: Site, hospital: Hospital, radiographs: list[Path], peer: Peer
) -> None:
    site.start("receive")
    storescu(peer, site.port, *radiographs)
    site.kill("receive")
    site.start("receive", "analyse", "deliver")
    wait_for_every_artefact(site, hospital, radiographs)


@pytest.mark.proves("SAF-13")
def test_receive_killed_while_it_receives_keeps_acknowledged_radiographs(
    site: Site, hospital: Hospital, radiographs: list[Path], peer: Peer
) -> None:
    """A radiograph with a Success response is stored; the sender sends the others again; none is stored twice."""
    site.start("receive")
    sending = storescu.start(peer, site.port, *radiographs)
    wait_until(lambda: site.counts("analyses"), "the first radiograph")
    site.kill("receive")
    output, _ = sending.communicate(timeout=PATIENCE_S)
    acknowledged = output.count("Received Store Response (Success)")
    assert site.counts("analyses")["queued"] >= acknowledged
    site.start("receive", "analyse", "deliver")
    storescu(peer, site.port, *radiographs)
    wait_for_every_artefact(site, hospital, radiographs)


def test_analyse_killed_at_work_is_repeated_once(
    site: Site, hospital: Hospital, radiographs: list[Path], peer: Peer
) -> None:
    site.start("receive", "analyse", "deliver")
    storescu(peer, site.port, *radiographs)
    wait_until(lambda: any(row.attempts for row in site.rows("analyses")), "a lease")  # the count outlasts the lease
    site.kill("analyse")
    site.start("analyse")
    wait_for_every_artefact(site, hospital, radiographs)
    assert all(row.attempts <= 2 for row in site.rows("analyses"))


def test_deliver_killed_at_work_delivers_the_rest(
    site: Site, hospital: Hospital, radiographs: list[Path], peer: Peer
) -> None:
    site.start("receive", "analyse")
    storescu(peer, site.port, *radiographs)
    site.wait_for("analyses", done=len(radiographs))
    site.start("deliver")
    wait_until(lambda: hospital.pacs.arrivals, "the first object in the PACS")
    site.kill("deliver")
    site.start("deliver")
    wait_for_every_artefact(site, hospital, radiographs)


def test_status_killed_stops_no_other_role(site: Site, hospital: Hospital, radiographs: list[Path], peer: Peer) -> None:
    site.start("receive", "analyse", "deliver", "status")
    storescu(peer, site.port, *radiographs[:2])
    site.kill("status")
    wait_for_every_artefact(site, hospital, radiographs[:2])
    site.start("status")


@pytest.mark.proves("SAF-16")
def test_pacs_that_is_away_delays_no_delivery_to_the_ris(tmp_path: Path, radiographs: list[Path], peer: Peer) -> None:
    hospital = Hospital(tmp_path / "hospital")
    destinations: list[dict[str, Any]] = [
        {"kind": "dicom", "name": "pacs", "host": "127.0.0.1", "port": 1, "called_ae_title": "PACS", "timeout_s": 2},
        {"kind": "hl7", "name": "ris", "host": "127.0.0.1", "port": hospital.ris_port},
    ]
    with Site(tmp_path, destinations) as site:
        site.start("receive", "analyse", "deliver")
        storescu(peer, site.port, *radiographs[:2])
        wait_until(lambda: len(hospital.ris.arrivals) == 2, "both messages in the RIS")
        wait_until(lambda: site.rows("deliveries")[0].code, "an attempt at the PACS")
        waiting = [row for row in site.rows("deliveries") if row.destination == "pacs"]
        assert len(waiting) == 6
        assert {row.state for row in waiting} <= {"queued", "leased"}
        assert "PACS" in waiting[0].reason
    hospital.close()
