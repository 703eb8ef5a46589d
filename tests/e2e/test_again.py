"""An instance that comes again: nothing, or a new revision, never a second answer for the same radiograph."""

from pathlib import Path

import numpy as np
from pydicom import dcmread

from appliance.domain.result import Result
from appliance.storage.database import readers
from appliance.storage.tables import results
from provisioning.phantoms import instance_from_phantom, phantom
from tests.support.encodings import encode
from tests.support.peers import Peer
from tests.support.send import storescu
from tests.support.site import Site


def records(site: Site) -> list[Result]:
    with readers(site.engine).connect() as c:
        return [Result.from_json(row.record) for row in c.execute(results.select().order_by(results.c.id))]


def test_only_another_picture_or_another_patient_is_answered_anew(tmp_path: Path, peer: Peer) -> None:
    first = tmp_path / "first.dcm"
    ds = instance_from_phantom(phantom("knee", 4, True))
    ds.save_as(first, enforce_file_format=True)

    touched = dcmread(first)  # as an archive sends it on
    touched.StudyDescription, touched.RetrieveAETitle, touched.WindowCenter = "ARCHIVED", "PACS", ds.WindowCenter + 9
    touched.save_as(tmp_path / "touched.dcm")

    corrected = dcmread(first)
    corrected.PatientID = "CORRECTED-1"
    corrected.save_as(tmp_path / "corrected.dcm")

    turned = dcmread(first)
    turned.ImageLaterality = {"L": "R", "R": "L"}[ds.ImageLaterality]
    turned.save_as(tmp_path / "turned.dcm")

    other = dcmread(first)
    other.PixelData = np.fliplr(other.pixel_array).tobytes()
    other.save_as(tmp_path / "other.dcm")

    compressed = encode(peer, "jpeg_lossless_sv1", first, tmp_path / "compressed.dcm")
    with Site(tmp_path) as site:
        site.start("receive", "analyse")
        storescu(peer, site.port, first)
        site.wait_for("analyses", done=1)
        storescu(peer, site.port, first, tmp_path / "touched.dcm")
        process = storescu.start(peer, site.port, compressed, "-xs")
        assert process.wait(60) == 0
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
