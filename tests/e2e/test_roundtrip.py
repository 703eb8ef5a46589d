"""The whole product between second implementations: storescu in; storescp, an HL7 and a FHIR server out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from provisioning.phantoms import instance_from_phantom, phantom
from tests.support.objects import dciodvfy
from tests.support.peers import NodePeer, Peer, running, wait_for_port
from tests.support.ports import free_ports
from tests.support.send import storescu
from tests.support.site import Site


@pytest.mark.proves("MIS-1")
def test_radiographs_from_storescu_reach_pacs_ris_and_fhir_server(
    tmp_path: Path, peer: Peer, node_peer: Callable[..., NodePeer]
) -> None:
    radiographs = []
    for seed, (site_name, fracture) in enumerate([("wrist", True), ("pelvis", False)]):
        radiographs.append(tmp_path / f"{site_name}.dcm")
        source = instance_from_phantom(phantom(site_name, 70 + seed, fracture), computed_radiography=not fracture)
        source.save_as(radiographs[-1], enforce_file_format=True)
    pacs = tmp_path / "pacs"
    pacs.mkdir()
    (port,) = free_ports(1)
    ris, fhir = node_peer("mllp_receiver.js"), node_peer("fhir_server.js")
    destinations: list[dict[str, Any]] = [
        {
            "kind": "dicom", "name": "pacs", "host": "127.0.0.1", "port": port, "called_ae_title": "PACS",
            "objects": ["sc", "pr", "summary", "sr", "ko"],
        },
        {"kind": "hl7", "name": "ris", "host": "127.0.0.1", "port": ris.port},
        {"kind": "fhir", "name": "fhir", "base_url": f"http://127.0.0.1:{fhir.port}/R4"},
    ]  # fmt: skip
    with running(peer("storescp"), "-aet", "PACS", "-od", str(pacs), "+B", str(port)) as storescp:
        wait_for_port(port, storescp)
        with Site(tmp_path, destinations) as site:
            site.start("receive", "analyse", "deliver")
            storescu(peer, site.port, *radiographs)
            site.wait_for("analyses", done=2)
            site.wait_for("deliveries", done=13)

    objects = [dcmread(p) for p in pacs.iterdir()]
    assert sorted(ds.Modality for ds in objects) == ["KO", "OT", "OT", "OT", "OT", "PR", "PR", "SR", "SR"]
    for path in radiographs:
        source = dcmread(path)
        answers = [ds for ds in objects if ds.StudyInstanceUID == source.StudyInstanceUID]
        assert len(answers) == (5 if "wrist" in path.name else 4)  # only a positive study has key objects
        for ds in answers:
            assert (ds.PatientID, ds.AccessionNumber) == (source.PatientID, source.AccessionNumber)
            assert ds.SeriesInstanceUID != source.SeriesInstanceUID
    for path in pacs.iterdir():
        assert dciodvfy(peer, path) == set(), path
