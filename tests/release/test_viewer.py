"""OHIF in a browser shows the artefacts in Orthanc: the heat map, the summary, and the region of the report."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from appliance.config import Analyse, Configuration, DicomDestination
from appliance.dicom.scu.sender import send_files
from appliance.domain.identifiers import derived_uid
from appliance.service.instance_reader import Reader
from appliance.service.pipeline_assembly import pipeline_of
from appliance.storage.outgoing import Outgoing
from provisioning.phantoms import instance_from_phantom, phantom
from tests.support.orthanc import Orthanc, orthanc
from tests.support.peers import Peer
from tests.support.profiles import renderer
from tests.support.results import study

HERE = Path(__file__).parent
DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
WEB = {"Enable": True, "Root": "/dicom-web/", "EnableWado": True}
pytestmark = pytest.mark.release

Seen = dict[str, dict[str, Any]]


def require_viewer() -> None:
    """Fail the test where the viewer is not installed."""
    if not (HERE / "ohif" / "dist").is_dir() or not (HERE / "node_modules").is_dir() or not DICOMWEB.exists():
        pytest.fail("run tests/release/install.sh")


def artefacts(folder: Path, images: list[Path]) -> list[Path]:
    """Write every artefact of the radiographs of one study, by the phantom pack; return the paths."""
    made: list[Outgoing] = []

    def put(content: bytes) -> str:
        path = folder / f"artefact-{len(list(folder.glob('artefact-*')))}.dcm"
        path.write_bytes(content)
        return str(path)

    profile = DicomDestination(
        kind="dicom",
        name="pacs",
        host="127.0.0.1",
        port=1,
        called_ae_title="PACS",
        objects=("sc", "pr", "summary", "sr", "ko"),
    )
    reader = Reader(pipeline_of(Configuration(analyse=Analyse(pack="phantom"))))
    renders = renderer([profile], put)
    results, sources, pictures = [], {}, {}
    for image in images:
        reading = reader.read(reader.examine(partial(image.read_bytes)))
        result = reading.analysis.result
        made += renders.render_radiograph(reading)
        small = renders.render_thumbnail(reading)
        assert small is not None
        results.append(result)
        sources[result.sop_instance_uid] = reading.source
        pictures[result.sop_instance_uid] = np.asarray(Image.open(io.BytesIO(small)).convert("RGB"))
    reader.close()
    made += renders.render_study(study(*results), sources, pictures)
    assert all(each.refused is None for each in made), made
    return [Path(each.digest) for each in made]


def view(archive: Orthanc, peer: Peer, folder: Path, study_uid: str, series: dict[str, str]) -> Seen:
    """Open each series in OHIF; return its texts and marks by series name, and put screenshots into `folder`."""
    command = ["node", str(HERE / "ohif.js"), "--archive", f"http://127.0.0.1:{archive.http_port}"]
    command += ["--study", study_uid, "--chromium", peer("chromium"), "--out", str(folder)]
    command += [f"{name}={uid}" for name, uid in series.items()]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=500)
    return {seen["name"]: seen for seen in map(json.loads, run.stdout.splitlines())}


def reddish(picture: Path) -> float:
    """Return the share of pixels in the middle of the page that have the red of heat and boxes."""
    with Image.open(picture) as image:
        rgb = np.asarray(image.convert("RGB")).astype(int)
    middle = rgb[100:-50, 350:-350]
    return float(((middle[..., 0] > 120) & (middle[..., 0] > middle[..., 2] + 60)).mean())


def test_study_in_ohif_shows_heat_map_summary_and_region(peer: Peer, tmp_path: Path) -> None:
    require_viewer()
    uid, images = derived_uid("release", "viewer"), []
    for seed, fracture in ((70, True), (71, False)):
        images.append(tmp_path / f"radiograph-{seed}.dcm")
        source = instance_from_phantom(
            phantom("wrist", seed, fracture), patient_id="P1", accession_number="A1", study_instance_uid=uid
        )
        source.save_as(images[-1], enforce_file_format=True)
    paths = artefacts(tmp_path, images)
    made = [dcmread(path) for path in (images[0], *paths)]
    assert [ds.Modality for ds in made[1:]] == ["OT", "PR", "OT", "PR", "OT", "SR", "KO"]
    series = {"radiograph": made[0], "sc": made[1], "summary": made[5], "sr": made[6]}
    with orthanc(peer("Orthanc"), tmp_path / "orthanc", Plugins=[str(DICOMWEB)], DicomWeb=WEB) as archive:
        sent = send_files(
            [*images, *paths], host="127.0.0.1", port=archive.port, called_ae_title="PACS", calling_ae_title="OSTEON"
        )
        assert all(status.code == 0 for _, status in sent)
        seen = view(archive, peer, tmp_path, uid, {k: ds.SeriesInstanceUID for k, ds in series.items()})
    if keep := os.environ.get("OSTEON_PICTURES"):
        for name in seen:
            shutil.copy(tmp_path / f"{name}.png", Path(keep) / f"ohif-{name}.png")
    assert all(each["failed"] == [] for each in seen.values()), seen
    for name in ("sc", "summary"):
        assert reddish(tmp_path / f"{name}.png") > reddish(tmp_path / "radiograph.png") + 0.002
    assert seen["sr"]["drawn"].count("polyline") == 2, "the mark, and the area that was read"
    assert re.search(r"Probability of a fracture: \d\.\d+", seen["sr"]["text"])
