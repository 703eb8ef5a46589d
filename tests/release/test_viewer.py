"""OHIF in a browser shows what was stored in Orthanc: the Secondary Capture, and the region of the report."""

from __future__ import annotations

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
from pydicom.dataset import Dataset

from appliance.config import Analyse, Configuration, DicomDestination
from appliance.dicom.part10 import dataset_from_bytes
from appliance.dicom.sender import send_files
from appliance.service.answers import of_radiograph, of_study
from appliance.service.engines import pipeline_of
from appliance.service.reading import Reader
from provisioning.phantoms import instance_from_phantom, phantom
from tests.support.orthanc import DICOMWEB, Orthanc, orthanc
from tests.support.peers import Peer
from tests.support.results import study

HERE = Path(__file__).parent
pytestmark = pytest.mark.release

Seen = dict[str, dict[str, Any]]


def installed() -> None:
    if not (HERE / "ohif" / "dist").is_dir() or not (HERE / "node_modules").is_dir() or not DICOMWEB.exists():
        pytest.fail("run tests/release/install.sh")


def answers(folder: Path, image: Path) -> dict[str, Dataset]:
    """Everything that is made of one radiograph by the pack of phantoms, by kind."""
    kept: dict[str, bytes] = {}

    def put(content: bytes) -> str:
        kept[str(len(kept))] = content
        return str(len(kept) - 1)

    profile = DicomDestination(
        kind="dicom", name="pacs", host="127.0.0.1", port=1, called_ae_title="PACS", objects=("sc", "pr", "sr", "ko")
    )
    reader = Reader(pipeline_of(Configuration(analyse=Analyse(pack="phantom"))))
    reading = reader.read(reader.examine(partial(image.read_bytes)))
    reader.close()
    result = reading.analysis.result
    made = of_radiograph(reading.source, reading.analysis, reading.grey, reading.window, [profile], put)
    made += of_study(study(result), {result.sop_instance_uid: reading.source}, {}, [profile], put)
    for each in made:
        assert each.refused is None, each
        (folder / f"{each.kind}.dcm").write_bytes(kept[each.digest])
    return {each.kind: dataset_from_bytes(kept[each.digest]) for each in made}


def looked_at(archive: Orthanc, peer: Peer, folder: Path, made: dict[str, Dataset], *kinds: str) -> Seen:
    """What OHIF shows of each kind's series; its picture is in `folder`."""
    command = ["node", str(HERE / "ohif.js"), "--archive", f"http://127.0.0.1:{archive.http_port}"]
    command += ["--study", made[kinds[0]].StudyInstanceUID, "--chromium", peer("chromium"), "--out", str(folder)]
    command += [f"{kind}={made[kind].SeriesInstanceUID}" for kind in kinds]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=500)
    return {seen["name"]: seen for seen in map(json.loads, run.stdout.splitlines())}


def reddish(picture: Path) -> float:
    """Share of pixels in the middle of the page that are the red of heat and boxes."""
    with Image.open(picture) as image:
        rgb = np.asarray(image.convert("RGB")).astype(int)
    middle = rgb[100:-50, 350:-350]
    return float(((middle[..., 0] > 120) & (middle[..., 0] > middle[..., 2] + 60)).mean())


def test_ohif_shows_the_heat_map_and_the_region(peer: Peer, tmp_path: Path) -> None:
    installed()
    image = tmp_path / "radiograph.dcm"
    source = instance_from_phantom(phantom("wrist", 70, True))
    source.save_as(image, enforce_file_format=True)
    made = answers(tmp_path, image)
    assert made.keys() == {"sc", "pr", "sr", "ko"}, "the pack of phantoms sees no fracture in this one"
    with orthanc(peer, tmp_path, DICOMWEB) as archive:
        paths = [image, *(tmp_path / f"{kind}.dcm" for kind in made)]
        sent = send_files(paths, host="127.0.0.1", port=archive.port, called_ae_title="PACS", calling_ae_title="OSTEON")
        assert all(status.code == 0 for _, status in sent)
        seen = looked_at(archive, peer, tmp_path, {**made, "radiograph": source}, "radiograph", "sc", "sr")
    if keep := os.environ.get("OSTEON_PICTURES"):
        for kind in seen:
            shutil.copy(tmp_path / f"{kind}.png", Path(keep) / f"ohif-{kind}.png")
    assert all(each["failed"] == [] for each in seen.values()), seen
    assert reddish(tmp_path / "sc.png") > reddish(tmp_path / "radiograph.png") + 0.002
    assert set(seen["sr"]["drawn"]) & {"path", "polyline", "polygon", "line"}
    assert re.search(r"Certainty of Finding: \d+\.\d+ %", seen["sr"]["text"])
