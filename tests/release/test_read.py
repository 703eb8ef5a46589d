"""A reader in a browser: zoom, window and box by keys and by mouse, two reads, and pages that are in order."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from appliance.storage.database import open_database
from appliance.storage.spool import FileSpool
from appliance.storage.tables import reads
from provisioning.phantoms import instance_from_phantom, phantom
from tests.support.peers import Peer
from tests.support.reading import PASSWORD, look_here, reading_page
from tests.support.validations import Hospital, begin
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.release


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return open_database(f"sqlite:///{tmp_path / 'osteon.db'}")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 1440), ("light", 600)])
def test_reader_reads_two_radiographs_in_a_browser(
    tmp_path: Path, engine: Engine, peer: Peer, scheme: str, width: int
) -> None:
    spool = FileSpool(tmp_path / "spool")
    begin(engine)
    hospital = Hospital(engine, spool)
    for number in (1, 2):
        ds = instance_from_phantom(phantom("wrist", number, fracture=number == 1))
        ds.ViewPosition, ds.ImageLaterality, ds.PatientAge = "PA", "R", "067Y"
        hospital.analyse(number, ds=ds, patient=f"P{number}")
    hospital.report()
    out = Path(os.environ.get("OSTEON_PICTURES", str(tmp_path))) / f"{scheme}-{width}"
    out.mkdir(exist_ok=True)
    with reading_page(tmp_path, engine, look_here(spool)) as served:
        asked = {"chromium": peer("chromium"), "base": served.url, "name": "rita", "password": PASSWORD}
        asked |= {"out": str(out), "scheme": scheme}
        viewport = {"viewport": {"width": width, "height": 900}}
        command = ["node", peer("read.js"), json.dumps(asked | viewport)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5 * PATIENCE_S)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    for page in lines:
        if "name" in page:
            assert (page["complaints"], page["violations"], page["fits"]) == ([], [], True), page["name"]
    _check_acts({line["act"]: line for line in lines if "act" in line})
    (last,) = (line for line in lines if line.get("name") == "done")
    assert "Nothing to read" in last["text"]
    with engine.connect() as c:
        one, other = c.execute(select(reads).order_by(reads.c.id)).all()
    assert (one.answer, one.marks, one.reader) == ("fracture", "hardware,mobile", "rita")
    assert len(json.loads(one.box)) == 4
    assert (other.answer, other.marks, other.box) == ("none", "", "")


def _check_acts(seen: dict[str, Any]) -> None:
    begun = seen["begin"]
    for act in ("zoom", "pan", "brighter", "contrast", "invert"):
        assert seen[act]["pixels"] != begun["pixels"], act
    assert seen["zoom"]["transform"] != begun["transform"] != seen["pan"]["transform"]
    assert seen["brighter"]["slope"] == 1
    assert seen["brighter"]["intercept"] > 0
    assert seen["contrast"]["slope"] > 1 > 0 > seen["invert"]["slope"]
    assert [seen["reset"][key] for key in ("pixels", "transform")] == [begun[key] for key in ("pixels", "transform")]
    x0, y0, x1, y1 = map(int, seen["box"]["box"])
    assert seen["box"]["pixels"] != begun["pixels"]
    moved = [*map(int, seen["box moved"]["box"])]
    assert (moved[0], moved[2], moved[1] - y0) == (x0, x1, moved[3] - y1)
    assert moved[1] > y0
    resized = [*map(int, seen["box resized"]["box"])]
    assert (resized[:2], resized[3]) == (moved[:2], moved[3])
    assert resized[2] > moved[2]
    assert (seen["answer"]["answer"], seen["answer"]["marks"]) == ("fracture", ["hardware", "mobile"])
    assert seen["box removed"]["box"] == [""] * 4
    assert seen["no shortcuts"]["answer"] == "fracture"
    assert seen["wheel"]["transform"] != seen["no shortcuts"]["transform"] != seen["drag"]["transform"]
    assert seen["drag of the window"]["slope"] != 1
    assert all(seen["drag of a box"]["box"])
    assert seen["second"]["box"] == [""] * 4
    assert (seen["second"]["answer"], seen["second"]["slope"]) == ("", 1)
    assert (seen["no answer"]["focus"], "Choose an answer" in seen["no answer"]["complaint"]) == ("question", True)
    assert seen["answered after all"]["complaint"] == seen["fracture with a box"]["complaint"] == ""
    assert "remove the box" in seen["no fracture with a box"]["complaint"]
    back = seen["back"]
    assert (back["answer"], back["marks"], back["box"]) == ("", [], [""] * 4), "nothing of another radiograph"
