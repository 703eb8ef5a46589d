"""Every DICOM object that we make, for every kind of source, checked by dciodvfy, dcentvfy and DCMTK."""

from __future__ import annotations

import copy
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from appliance.dicom.objects.presentation_state import presentation_state
from appliance.dicom.part10 import part10_bytes
from appliance.dicom.reading.pixels import stored_values
from appliance.dicom.reading.shutter import outside_shutter
from appliance.dicom.transfer_syntaxes import RADIOGRAPHS
from appliance.errors import Rejected
from appliance.preprocessing.reference import displayed
from tests.support.objects import SIDE_UNKNOWN, answered, dcentvfy, dciodvfy, objects, written
from tests.support.peers import Peer
from tests.support.sources import variants

VARIANTS = variants()
DOCUMENTS = ("sr", "sr comprehensive", "sr revised", "sr not analysed", "ko", "rejection")

DCMTK_LACKS = {
    "W: Check for template constraints not yet supported",
    "W: The VR checker does not support this Specific Character Set: ISO_IR 192",
}
"""Return the version text of a DCMTK program."""


@pytest.fixture(params=VARIANTS)
def source(request: pytest.FixtureRequest) -> Dataset:
    return copy.deepcopy(VARIANTS[request.param])


def judged(peer: Peer, folder: Path, source: Dataset) -> None:
    """Assert that the validators find no fault in any object that its source does not have, too."""
    made = objects(source)
    original = folder / "source.dcm"
    source.save_as(original, enforce_file_format=True)
    inherited = dciodvfy(peer, original)
    paths = written(folder, made)
    for kind, path in paths.items():
        allowed = inherited | ({SIDE_UNKNOWN} if made[kind].get("Laterality") == "" else set())
        assert {_of_request(line) for line in dciodvfy(peer, path)} <= allowed, kind
    assert dcentvfy(peer, *paths.values()) == set()


def _of_request(line: str) -> str:
    """A complaint about a document's request in the words for the source's, from which it is copied."""
    return line.replace("ReferencedRequestSequence(0040,a370)", "RequestAttributesSequence(0040,0275)")


def test_sources_cover_at_least_the_required_number() -> None:
    assert len(VARIANTS) >= 25


def test_objects_of_every_source_add_no_validator_complaint(source: Dataset, peer: Peer, tmp_path: Path) -> None:
    judged(peer, tmp_path, source)


@pytest.mark.data
def test_objects_of_real_radiographs_pass_the_validators(data: Path, peer: Peer, tmp_path: Path) -> None:
    judged_ones = 0
    for number, path in enumerate(sorted((data / "dicom").glob("*.dcm"))):
        try:
            source = pydicom.dcmread(path, stop_before_pixels=True)
        except (InvalidDicomError, RecursionError):
            continue
        if source.get("SOPClassUID") in RADIOGRAPHS:
            folder = tmp_path / str(number)
            folder.mkdir()
            judged(peer, folder, source)
            judged_ones += 1
    assert judged_ones >= 15


def test_objects_made_twice_have_the_same_bytes(source: Dataset) -> None:
    once, again = ({kind: part10_bytes(ds) for kind, ds in objects(source).items()} for _ in range(2))
    assert once == again


def test_dsrdump_reads_every_document(source: Dataset, peer: Peer, tmp_path: Path) -> None:
    paths = written(tmp_path, objects(source))
    for kind in DOCUMENTS:
        for program in ("dsrdump", "dsr2xml"):
            run = subprocess.run([peer(program), str(paths[kind])], capture_output=True, check=False, timeout=60)
            assert run.returncode == 0, (kind, program, run.stderr)
            complaints = {line for line in run.stderr.decode().splitlines() if line not in DCMTK_LACKS}
            assert complaints == set(), (kind, program)


def named(source: Dataset) -> Dataset:
    """`source` with names of ASCII: DCMTK's presentation states know no UTF-8, and none without a name."""
    source.SpecificCharacterSet = "ISO_IR 192"
    source.PatientName, source.ReferringPhysicianName = "Weiss^Anne", "Mueller^Joerg"
    source.StudyDescription, source.PatientID = "XR", "4711"
    for keyword in ("ReferringPhysicianIdentificationSequence",):
        source.pop(keyword, None)
    return source


def state_and_image(source: Dataset, folder: Path) -> tuple[Path, Path]:
    image, state = folder / "image.dcm", folder / "state.dcm"
    source.save_as(image, enforce_file_format=True)
    made = presentation_state(source, answered(source), stored_values(source).window)
    state.write_bytes(part10_bytes(made))
    return state, image


def test_presentation_states_pass_dcmpschk(source: Dataset, peer: Peer, tmp_path: Path) -> None:
    state, _ = state_and_image(named(source), tmp_path)
    run = subprocess.run([peer("dcmpschk"), str(state)], capture_output=True, text=True, check=False, timeout=60)
    said = run.stdout + run.stderr
    assert run.returncode == 0 and "Test passed." in said and "\nE: " not in said, said


@pytest.mark.parametrize("name", sorted(VARIANTS.keys() - {"sigmoid"}))  # DCMTK 3.6.7 draws SIGMOID as LINEAR
def test_presentation_state_in_dcmp2pgm_equals_the_analysed_image(name: str, peer: Peer, tmp_path: Path) -> None:
    source = named(copy.deepcopy(VARIANTS[name]))
    state, image = state_and_image(source, tmp_path)
    drawn = tmp_path / "drawn.pgm"
    subprocess.run([peer("dcmp2pgm"), "-p", str(state), str(image), str(drawn)], check=True, capture_output=True)
    shown, expected = np.asarray(Image.open(drawn)), displayed(stored_values(source))
    assert shown.shape == expected.shape and shown.std() > 1
    open_field = ~outside_shutter(source, shown.shape)  # dcmp2pgm draws no shutter
    np.testing.assert_allclose(shown[open_field].astype(int), expected[open_field].astype(int), atol=1)


@pytest.mark.data
def test_presentation_state_of_real_radiographs_equals_the_analysed_image(
    data: Path, peer: Peer, tmp_path: Path
) -> None:
    drawn_ones = set()
    for name in ("happy_RG3_UNC", "happy_RG2_UNC", "hostile_implicitLittleEndian", "photometric_vlut_04"):
        source = named(pydicom.dcmread(data / "dicom" / f"{name}.dcm", force=True))
        if "TransferSyntaxUID" not in source.file_meta:
            source.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
        try:
            expected = displayed(stored_values(source))
        except (Rejected, ValueError):
            continue
        state, image = state_and_image(source, tmp_path)
        drawn = tmp_path / "drawn.pgm"
        subprocess.run([peer("dcmp2pgm"), "-p", str(state), str(image), str(drawn)], check=True, capture_output=True)
        shown = np.asarray(Image.open(drawn))
        assert shown.shape == expected.shape, name
        assert np.abs(shown.astype(int) - expected).max() <= 1, name
        drawn_ones.add(source.PhotometricInterpretation)
    assert drawn_ones == {"MONOCHROME1", "MONOCHROME2"}
