"""An operator tries a file in a browser, while the role analyse runs: every page is in order, and nothing stays."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.analysis.pipeline import Pipeline
from appliance.config import Configuration
from appliance.dicom.part10 import part10_bytes
from appliance.service.pipeline_assembly import pipeline_of
from provisioning.phantoms import instance_from_phantom, phantom
from tests.integration.test_try_it import PASSWORD, Box
from tests.support.peers import Peer
from tests.support.trials import RULES
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.release


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return pipeline_of(Configuration(analyse=RULES))


@pytest.fixture
def box(tmp_path: Path, pipeline: Pipeline) -> Iterator[Box]:
    made = Box(tmp_path, pipeline)
    ends = threading.Event()

    def analyse() -> None:
        while not ends.wait(0.1):
            made.bench.trials.step()

    thread = threading.Thread(target=analyse)
    thread.start()
    yield made
    ends.set()
    thread.join()
    made.close()


def test_operator_tries_a_file_in_a_browser(box: Box, peer: Peer, tmp_path: Path) -> None:
    out = os.environ.get("OSTEON_PICTURES", str(tmp_path))
    file = tmp_path / "wrist.dcm"
    file.write_bytes(part10_bytes(instance_from_phantom(phantom("wrist", 0, fracture=True))))
    asked = {"chromium": peer("chromium"), "base": box.url, "name": "olga", "password": PASSWORD}
    command = ["node", peer("try_it.js"), json.dumps(asked | {"file": str(file), "out": out})]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5 * PATIENCE_S)
    assert done.returncode == 0, done.stderr
    form, answer, removed = map(json.loads, done.stdout.splitlines())
    for page in (form, answer, removed):
        assert (page["complaints"], page["violations"]) == ([], []), page["name"]
    assert "FRACTURE SUSPECTED - right wrist" in answer["text"]
    assert answer["pictures"][0] > 500
    assert "Drop it here" in removed["text"]
    assert box.bench.files == set()
    box.bench.assert_no_trace()
