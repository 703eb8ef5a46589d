"""One radiograph in every transfer syntax with a writer: equal pixels up to the codec's loss, and equal answers."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import ImplicitVRLittleEndian

from appliance.analysis.pipeline import Pipeline
from appliance.config import Analyse, Configuration
from appliance.domain.finding import Answer
from appliance.domain.result import Result
from appliance.service.instance_reader import Reader
from appliance.service.pipeline_assembly import pipeline_of
from provisioning.phantoms import instance_from_phantom, phantom
from tests.support.encodings import ENCODINGS, encode
from tests.support.peers import Peer

LARGEST_CHANGE = 0.05
"""Largest difference of the probability where a codec has changed the pixels."""


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return pipeline_of(Configuration(analyse=Analyse(pack="phantom")))


@pytest.fixture(scope="module")
def reader(pipeline: Pipeline) -> Iterator[Reader]:
    made = Reader(pipeline)
    yield made
    made.close()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encodings") / "original.dcm"
    instance_from_phantom(phantom("wrist", 8, True)).save_as(path, enforce_file_format=True)
    return path


def read(reader: Reader, path: Path) -> tuple[NDArray[np.uint16], str, Result]:
    examined = reader.examine(path.read_bytes)
    assert examined.radiograph is not None, examined.reason
    return examined.radiograph.stored.pixels, examined.digest, reader.read(examined).analysis.result


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.proves("MIS-2")
def test_radiograph_in_every_encoding_gets_the_same_answer(
    name: str, peer: Peer, reader: Reader, original: Path
) -> None:
    pixels, digest, answer = read(reader, original)
    assert answer.answer is Answer.POSITIVE
    there, digest_there, answer_there = read(reader, encode(peer, name, original, original.with_name(f"{name}.dcm")))
    loss = ENCODINGS[name].loss
    if loss == 0:
        np.testing.assert_array_equal(there, pixels)
        assert digest_there == digest  # a copy in another syntax is recognised by it
    elif loss is not None:
        assert 0 < np.abs(there.astype(int) - pixels).max() <= loss
    assert answer_there.answer is answer.answer
    (finding,), (other,) = answer.findings, answer_there.findings
    assert other.site is finding.site
    assert other.probability == pytest.approx(finding.probability, abs=1e-6 if loss == 0 else LARGEST_CHANGE)


@pytest.mark.parametrize("name", [n for n in ENCODINGS if n != "deflated"])
def test_radiograph_with_half_of_its_pixels_is_rejected(
    name: str, peer: Peer, reader: Reader, original: Path, tmp_path: Path
) -> None:
    """Some codecs fill missing data with grey, or with the former contents of memory."""
    ds = pydicom.dcmread(encode(peer, name, original, tmp_path / "whole.dcm"), force=True)
    if "TransferSyntaxUID" not in ds.file_meta:
        ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    if ds.file_meta.TransferSyntaxUID.is_encapsulated:
        stream = get_frame(ds.PixelData, 0, number_of_frames=1)
        ds.PixelData = encapsulate([stream[: len(stream) * 6 // 10]])
    else:
        ds.PixelData = ds.PixelData[: len(ds.PixelData) // 4 * 2]
    ds.save_as(tmp_path / "half.dcm", enforce_file_format=True)
    examined = reader.examine((tmp_path / "half.dcm").read_bytes)
    assert examined.reason is not None
    assert examined.reason.code == "broken_pixels"
