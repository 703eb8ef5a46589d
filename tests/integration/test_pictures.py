"""Pictures in real archives: DCMTK stores each unchanged, and Orthanc also renders it as drawn."""

from __future__ import annotations

import io
from pathlib import Path

import httpx
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian

from appliance.config import Picture
from appliance.dicom.objects.secondary_capture import secondary_capture
from appliance.dicom.objects.study_summary import study_summary
from appliance.dicom.part10 import dataset_from_bytes, part10_bytes
from appliance.dicom.scu.pacs import Pacs
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.finding import Box
from appliance.picture.overlay import overlay, thumbnail
from appliance.ports import Artefact, Heat
from tests.support.orthanc import orthanc
from tests.support.pacs import delivered, profile
from tests.support.peers import Peer, running, wait_for_port
from tests.support.results import finding, result, study
from tests.support.sources import source

BOX = Box(x0=60, y0=100, x1=240, y1=380)
HEAT = Heat(cells=np.random.default_rng(2).random((7, 5), np.float32), extent=BOX.as_tuple(), within=BOX.as_tuple())
GREY = (np.add.outer(np.arange(500), np.arange(400)) * 255 // 900).astype(np.uint8)
SOURCE = source(rows=500, columns=400)
RESULT = result(SOURCE, finding(box=BOX))
LOOKS = (
    Picture(),
    Picture(compression="none"),
    Picture(layout="beside"),
    Picture(layout="grey"),
    Picture(layout="grey", compression="none"),
)


@pytest.fixture(scope="module")
def drawn() -> dict[str, np.ndarray]:
    """Pictures by the SOP Instance UID of their objects."""
    return {str(ds.SOPInstanceUID): pixels for ds, pixels in _objects()}


@pytest.fixture(scope="module")
def artefacts() -> list[Artefact]:
    return [
        Artefact(kind=ArtefactKind.SECONDARY_CAPTURE, identifier=str(ds.SOPInstanceUID), content=part10_bytes(ds))
        for ds, _ in _objects()
    ]


def _objects() -> list[tuple[pydicom.Dataset, np.ndarray]]:
    made = []
    for look in LOOKS:
        pixels = overlay(GREY, RESULT, [HEAT], look)
        made.append((secondary_capture(SOURCE, RESULT, pixels, look), pixels))
    uid = RESULT.sop_instance_uid
    pictures = {uid: thumbnail(GREY, RESULT, [HEAT], 512)}
    (plain,) = study_summary(study(RESULT), {uid: SOURCE}, pictures, "none")
    (packed,) = study_summary(study(RESULT), {uid: SOURCE}, pictures)
    page = np.frombuffer(plain.PixelData, np.uint8, plain.Rows * plain.Columns * 3).reshape(plain.Rows, -1, 3)
    return [*made, (plain, page), (packed, page)]


def test_pictures_stored_by_dcmtk_are_unchanged(
    artefacts: list[Artefact], peer: Peer, free_port: int, tmp_path: Path
) -> None:
    command = (peer("storescp"), "+B", "+xa", "-aet", "PACS", "-od", str(tmp_path), str(free_port))
    with running(*command) as storescp:
        wait_for_port(free_port, storescp)
        outcomes = delivered(Pacs(profile(free_port)), artefacts)
    assert [o.reason for o in outcomes.values()] == ["Success (0x0000)"] * len(artefacts)
    kept = {ds.SOPInstanceUID: ds for ds in (pydicom.dcmread(p) for p in tmp_path.iterdir())}
    for artefact in artefacts:
        sent = dataset_from_bytes(artefact.content)
        assert kept[artefact.identifier] == sent
        assert kept[artefact.identifier].file_meta.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID


def test_pictures_rendered_by_orthanc_equal_the_drawn_ones(
    artefacts: list[Artefact], drawn: dict[str, np.ndarray], peer: Peer, tmp_path: Path
) -> None:
    with orthanc(peer("Orthanc"), tmp_path / "orthanc") as archive:
        delivered(Pacs(profile(archive.port)), artefacts)
        base = f"http://127.0.0.1:{archive.http_port}"
        with httpx.Client(base_url=base, trust_env=False, headers={"Accept": "image/png"}) as client:
            shown = {}
            for uid, instance in archive.instances.items():
                with Image.open(io.BytesIO(client.get(f"/instances/{instance}/preview").content)) as image:
                    shown[uid] = np.asarray(image).astype(int)
    assert set(shown) == set(drawn)
    syntaxes = {a.identifier: dataset_from_bytes(a.content).file_meta.TransferSyntaxUID for a in artefacts}
    for uid, pixels in drawn.items():
        assert shown[uid].shape == pixels.shape
        difference = np.abs(shown[uid] - pixels)
        plain = syntaxes[uid] == ExplicitVRLittleEndian
        assert difference.max() == 0 if plain else 0 < np.percentile(difference, 95) <= 12, uid
