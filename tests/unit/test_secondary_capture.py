"""Secondary Captures in every configurable look: each is valid, readable by DCMTK, and an object of its own."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import subprocess
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import JPEGBaseline8Bit

from appliance.config import DicomDestination, Picture
from appliance.dicom.objects.secondary_capture import secondary_capture
from appliance.dicom.part10 import dataset_from_bytes, part10_bytes
from appliance.domain.finding import Box
from appliance.domain.result import Predecessor
from appliance.picture.overlay import overlay
from appliance.ports import Analysis, Heat
from appliance.service.reading import Reading
from tests.support.objects import dciodvfy
from tests.support.peers import Peer
from tests.support.profiles import renderer
from tests.support.results import finding, result, unanalysed
from tests.support.sources import source, variants

LOOKS = {
    f"{layout}, {compression}, {longest_px}": Picture(layout=layout, compression=compression, longest_px=longest_px)
    for layout, compression, longest_px in itertools.product(
        ("overlay", "beside", "grey"), ("none", "jpeg"), (None, 256)
    )
}
BOX = Box(x0=60, y0=100, x1=240, y1=380)
HEAT = Heat(cells=np.random.default_rng(2).random((7, 5), np.float32), extent=BOX.as_tuple(), within=BOX.as_tuple())


def radiograph(rows: int = 500, columns: int = 400) -> np.ndarray:
    """Return a smooth grey image, as radiographs are."""
    return (np.add.outer(np.arange(rows), np.arange(columns)) * 255 // (rows + columns)).astype(np.uint8)


def large(ds: Dataset, rows: int = 500, columns: int = 400) -> Dataset:
    ds = copy.deepcopy(ds)
    ds.Rows, ds.Columns, ds.ImagerPixelSpacing = rows, columns, [0.1, 0.2]
    return ds


def sc(ds: Dataset, look: Picture) -> Dataset:
    given = result(ds, finding(box=BOX))
    return secondary_capture(ds, given, overlay(radiograph(), given, [HEAT], look), look)


@pytest.fixture(params=LOOKS)
def look(request: pytest.FixtureRequest) -> Picture:
    return LOOKS[request.param]


@pytest.mark.proves("MIS-5")
def test_secondary_capture_in_every_look_passes_dciodvfy(look: Picture, peer: Peer, tmp_path: Path) -> None:
    for name in ("dx", "cr", "monochrome1", "japanese", "utf8"):
        file = tmp_path / f"{name}.dcm"
        file.write_bytes(part10_bytes(sc(large(variants()[name]), look)))
        assert dciodvfy(peer, file) == set()


def test_secondary_capture_read_by_dcmtk_shows_the_overlay(look: Picture, peer: Peer, tmp_path: Path) -> None:
    ds = large(source())
    given = result(ds, finding(box=BOX))
    drawn = overlay(radiograph(), given, [HEAT], look)
    file = tmp_path / "sc.dcm"
    file.write_bytes(part10_bytes(secondary_capture(ds, given, drawn, look)))
    subprocess.run([peer("dcmj2pnm"), "--write-raw-pnm", file, tmp_path / "sc.pnm"], check=True, capture_output=True)
    with Image.open(tmp_path / "sc.pnm") as image:
        assert image.mode == ("L" if look.layout == "grey" else "RGB")
        shown = np.asarray(image).astype(int)
    difference = np.abs(shown - drawn)
    if look.compression == "none":
        assert difference.max() == 0
    else:  # JPEG errs at the edges of letters; the radiograph itself must not change visibly
        assert difference[-20:, 10:50].max() <= 3
        assert np.percentile(difference, 95) <= 12


def test_uid_of_each_look_differs_and_default_look_has_the_plain_uid() -> None:
    ds = large(source())
    assert len({sc(ds, look).SOPInstanceUID for look in LOOKS.values()}) == len(LOOKS)
    assert sc(ds, Picture(not_analysed=False)).SOPInstanceUID == result(ds).uid("sc")


def test_revised_secondary_capture_names_its_predecessor_in_the_same_look(look: Picture) -> None:
    ds = large(source())
    first = result(ds, finding(box=BOX))
    digest = first.provenance.pack_digest
    second = dataclasses.replace(first, revision=2, predecessor=Predecessor(revision=1, pack_digest=digest))
    drawn = [overlay(radiograph(), given, [HEAT], look) for given in (first, second)]
    assert not np.array_equal(drawn[0], drawn[1]), "the band says the revision"
    before, after = (secondary_capture(ds, given, p, look) for given, p in zip((first, second), drawn, strict=True))
    assert before.SOPInstanceUID != after.SOPInstanceUID
    assert after.ImageComments.endswith(f"takes the place of {before.SOPInstanceUID}")
    assert "place of" not in before.ImageComments
    assert "rev" not in before.SeriesDescription and "heat map rev 2 -" in after.SeriesDescription
    assert before.SeriesInstanceUID != after.SeriesInstanceUID, "a series has one description"


def test_jpeg_of_a_lossy_source_lists_both_compressions() -> None:
    ds = large(source())
    ds.LossyImageCompression, ds.LossyImageCompressionRatio = "01", "10"
    ds.LossyImageCompressionMethod = "ISO_15444_1"
    made = sc(ds, Picture())
    assert made.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    assert made.PhotometricInterpretation == "YBR_FULL_422"
    assert list(made.LossyImageCompressionMethod) == ["ISO_15444_1", "ISO_10918_1"]
    assert made.LossyImageCompressionRatio[0] == 10 and 1 < made.LossyImageCompressionRatio[1] < 100
    assert "quality 95" in made.DerivationDescription
    assert sc(ds, Picture(compression="none")).LossyImageCompressionMethod == "ISO_15444_1"


def test_jpeg_of_a_picture_in_colour_keeps_every_colour_sample() -> None:
    """A line one pixel wide keeps its colour: where two columns shared one, it would be half as strong."""
    pixels = np.full((64, 64, 3), 90, np.uint8)
    pixels[:, 31] = 255, 0, 0
    ds = large(source())
    stream = next(generate_frames(secondary_capture(ds, result(ds), pixels).PixelData, number_of_frames=1))
    shown = imagecodecs.jpeg8_decode(stream).astype(int)
    assert (shown[:, 31, 0] - shown[:, 31, 1]).min() > 200


def test_reduced_picture_has_larger_pixel_spacing() -> None:
    made = sc(large(source()), Picture(longest_px=256))
    assert made.NominalScannedPixelSpacing == [
        pytest.approx(0.1 * 500 / 256, 1e-5),
        pytest.approx(0.2 * 400 / 205, 1e-5),
    ]


def test_secondary_capture_made_twice_gives_the_same_bytes(look: Picture) -> None:
    ds = large(source())
    assert part10_bytes(sc(ds, look)) == part10_bytes(sc(ds, look))


@pytest.mark.parametrize("grey", [radiograph(), None])
def test_radiograph_not_analysed_is_sent_unless_the_destination_refuses(
    grey: np.ndarray | None, peer: Peer, tmp_path: Path
) -> None:
    ds = large(source())
    kept: list[bytes] = []

    def put(content: bytes) -> str:
        kept.append(content)
        return str(len(kept))

    def pacs(name: str, **picture: Any) -> DicomDestination:
        look = Picture(**picture)
        return DicomDestination(
            kind="dicom", name=name, host="h", port=1, called_ae_title="P", objects=("sc",), picture=look
        )

    destinations = [pacs("none", not_analysed=False), pacs("some"), pacs("grey", layout="grey")]
    reading = Reading(source=ds, analysis=Analysis(result=unanalysed(ds)), grey=grey)
    made = renderer(destinations, put).render_radiograph(reading)
    assert [m.destination for m in made] == ["some", "grey"]
    assert not any(m.refused for m in made)
    assert [str(dataset_from_bytes(content).SOPInstanceUID) for content in kept] == [m.identifier for m in made]
    for number, content in enumerate(kept):
        file = tmp_path / f"{number}.dcm"
        file.write_bytes(content)
        judged = subprocess.run([peer("dciodvfy"), file], check=False, capture_output=True, text=True, errors="replace")
        assert [line for line in (judged.stdout + judged.stderr).splitlines() if line.startswith("Error")] == []
        assert "Spacing" not in str(dataset_from_bytes(content))


def test_destinations_with_the_same_look_share_one_rendering() -> None:
    ds = large(source())
    given = result(ds, finding(box=BOX))
    kept: list[bytes] = []

    def put(content: bytes) -> str:
        kept.append(content)
        return str(hash(content))

    destinations = [
        DicomDestination(kind="dicom", name=name, host="h", port=1, called_ae_title="P", objects=("sc",), picture=look)
        for name, look in (
            ("a", Picture()),
            ("b", Picture(not_analysed=False)),
            ("c", Picture(compression="none")),
        )
    ]
    reading = Reading(source=ds, analysis=Analysis(result=given, heats=(HEAT,)), grey=radiograph())
    made = renderer(destinations, put).render_radiograph(reading)
    assert made[0].digest == made[1].digest != made[2].digest
    assert len(kept) == 2
