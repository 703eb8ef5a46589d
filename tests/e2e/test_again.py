"""An instance received again makes nothing or a new revision, never a second result of the same radiograph."""

import json
import subprocess
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pynetdicom.dsutils import encode as encode_dataset
from sqlalchemy import update

from appliance.clock import now
from appliance.domain.result import Result
from appliance.storage.database import readers
from appliance.storage.tables import instances, results
from provisioning.phantoms import instance_from_phantom, phantom
from tests.support.encodings import encode
from tests.support.pdus import Wire
from tests.support.peers import Peer
from tests.support.send import storescu
from tests.support.site import Site
from tests.support.waiting import PATIENCE_S, wait_until


def result_rows(site: Site) -> list[Any]:
    with readers(site.engine).connect() as c:
        return list(c.execute(results.select().order_by(results.c.id)).all())


def records(site: Site) -> list[Result]:
    return [Result.from_json(row.record) for row in result_rows(site)]


@pytest.mark.proves("SAF-10")
def test_instance_received_again_is_analysed_only_if_pixels_or_patient_differ(tmp_path: Path, peer: Peer) -> None:
    first = tmp_path / "first.dcm"
    ds = instance_from_phantom(phantom("knee", 4, True))
    ds.save_as(first, enforce_file_format=True)

    touched = dcmread(first)  # an archive changes these and sends it on
    touched.StudyDescription, touched.RetrieveAETitle, touched.WindowCenter = "ARCHIVED", "PACS", ds.WindowCenter + 9
    touched.save_as(tmp_path / "touched.dcm")

    corrected = dcmread(first)
    corrected.PatientID = "CORRECTED-1"
    corrected.save_as(tmp_path / "corrected.dcm")

    turned = dcmread(tmp_path / "corrected.dcm")  # each differs in one attribute from the one before it
    turned.ImageLaterality = {"L": "R", "R": "L"}[ds.ImageLaterality]
    turned.save_as(tmp_path / "turned.dcm")

    other = dcmread(tmp_path / "turned.dcm")
    other.PixelData = np.fliplr(other.pixel_array).tobytes()
    other.save_as(tmp_path / "other.dcm")

    compressed = encode(peer, "jpeg_lossless_sv1", first, tmp_path / "compressed.dcm")
    with Site(tmp_path) as site:
        site.start("receive", "analyse")
        storescu(peer, site.port, first)
        site.wait_for("analyses", done=1)
        storescu(peer, site.port, first, tmp_path / "touched.dcm")
        process = storescu.start(peer, site.port, compressed, "-xs")
        assert process.wait(PATIENCE_S) == 0
        site.wait_for("analyses", done=1, not_analysed=2)
        assert {row.code for row in site.rows("analyses") if row.state == "not_analysed"} == {"unchanged"}
        for number, name in enumerate(("corrected", "turned", "other"), 2):
            storescu(peer, site.port, tmp_path / f"{name}.dcm")
            site.wait_for("analyses", done=number, not_analysed=2)
        made = records(site)
    assert [r.revision for r in made] == [1, 2, 3, 4]
    assert len({r.uid("sr") for r in made}) == 4
    probabilities = [r.findings[0].probability for r in made]
    assert probabilities[0] == probabilities[1] == probabilities[2]
    assert made[2].findings[0].laterality == turned.ImageLaterality != made[0].findings[0].laterality


def test_correction_taken_back_stays_superseded_when_it_is_retried(tmp_path: Path, peer: Peer) -> None:
    """`queue find` lists the jobs of the instance and of the study in order."""
    right, wrong = tmp_path / "right.dcm", tmp_path / "wrong.dcm"
    ds = instance_from_phantom(phantom("wrist", 4, True))
    ds.save_as(right, enforce_file_format=True)
    ds.PatientID = "WRONG"
    ds.save_as(wrong, enforce_file_format=True)
    with Site(tmp_path) as site:
        site.start("receive", "analyse")
        for number, file in enumerate((right, wrong, right), 1):
            storescu(peer, site.port, file)
            wait_until(partial(lambda n: len(records(site)) == n, number), f"{number} results")
        digests = [row.source_digest for row in result_rows(site)]
        assert digests[0] == digests[2] != digests[1]
        command = [sys.executable, "-m", "provisioning.cli", "queue"]
        config = ["--config", str(site.config)]
        subprocess.run([*command, "retry", "analysis:2", *config], check=True)
        site.wait_for("analyses", done=1, not_analysed=1)
        assert [row.code for row in site.rows("analyses")] == ["", "superseded"]
        found = subprocess.run(
            [*command, "find", str(ds.SOPInstanceUID), "--json", *config], check=True, capture_output=True, text=True
        )
        assert [json.loads(line)["name"] for line in found.stdout.splitlines()] == [
            "analysis:1",
            "analysis:2",
            "study:1",
        ]
        study = [*command, "find", str(ds.StudyInstanceUID), "--json", *config]
        assert subprocess.run(study, check=True, capture_output=True, text=True).stdout == found.stdout
        assert len(records(site)) == 3


@pytest.mark.proves("SAF-10")
def test_correction_received_after_the_clock_was_set_back_is_answered(tmp_path: Path, peer: Peer) -> None:
    ds = instance_from_phantom(phantom("wrist", 4, True))
    ds.PatientID = "WRONG"
    ds.save_as(tmp_path / "wrong.dcm", enforce_file_format=True)
    ds.PatientID = "RIGHT"
    ds.save_as(tmp_path / "right.dcm", enforce_file_format=True)
    with Site(tmp_path) as site:
        site.start("receive", "analyse")
        storescu(peer, site.port, tmp_path / "wrong.dcm")
        site.wait_for("analyses", done=1)
        with site.engine.begin() as c:  # the clock was an hour ahead until now
            c.execute(update(instances).values(received_at=now() + timedelta(hours=1)))
        storescu(peer, site.port, tmp_path / "right.dcm")
        site.wait_for("analyses", done=2)
        assert [made.revision for made in records(site)] == [1, 2]


def test_instance_sent_under_another_uid_is_not_analysed(tmp_path: Path) -> None:
    """Otherwise one radiograph would have several results under one UID."""
    ds = instance_from_phantom(phantom("ankle", 4, True))
    pixels = ds.pixel_array[:160, :160]
    ds.Rows, ds.Columns, ds.PixelData = *pixels.shape, pixels.tobytes()  # fits into one PDU
    with Site(tmp_path) as site:
        site.start("receive", "analyse")
        content = encode_dataset(ds, is_implicit_vr=True, is_little_endian=True)
        assert content
        with Wire(site.port) as wire:
            wire.associate()
            assert wire.store("1.2.3.777.1", content) == 0
        site.wait_for("analyses", not_analysed=1)
        assert [row.code for row in site.rows("analyses")] == ["uid_differs"]
        assert records(site) == []
