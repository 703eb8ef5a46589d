"""From bytes to a radiograph: windows, polarity, sign and padding, and the reasons of rejected instances."""

import io
from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from appliance.dicom.reading.reader import header_from_dataset, radiograph_from_dataset, read_dataset
from appliance.domain.identifiers import Laterality
from appliance.domain.radiograph import Radiograph
from appliance.errors import Rejected
from appliance.preprocessing.reference import displayed
from provisioning.phantoms import instance_from_phantom, phantom
from tests.support.sources import source

Floats = NDArray[np.float64]
RAMP = np.arange(0, 4096, dtype=np.uint16).reshape(64, 64)


def instance(pixels: NDArray[np.generic] = RAMP, **attributes: object) -> Dataset:
    ds = instance_from_phantom(phantom("wrist", 0, False))
    ds.Rows, ds.Columns = pixels.shape
    ds.PhotometricInterpretation, ds.PresentationLUTShape = "MONOCHROME2", "IDENTITY"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    ds.WindowCenter, ds.WindowWidth = 2048, 4096
    ds.PixelData = pixels.tobytes()
    for keyword, value in attributes.items():
        if value is None:
            del ds[keyword]
        else:
            setattr(ds, keyword, value)
    return ds


def content(ds: Dataset) -> bytes:
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def radiograph(ds: Dataset) -> Radiograph:
    read = read_dataset(content(ds))
    return radiograph_from_dataset(read, header_from_dataset(read))


def shown(ds: Dataset) -> NDArray[np.uint8]:
    return displayed(radiograph(ds).stored)


def test_instance_bytes_give_stored_values_and_header() -> None:
    read = radiograph(instance())
    np.testing.assert_array_equal(read.stored.pixels, RAMP)
    assert read.header.body_part_examined == "WRIST"
    assert read.header.laterality in (Laterality.LEFT, Laterality.RIGHT)
    assert not read.stored.pixels.flags.writeable


def test_monochrome1_image_is_displayed_inverted() -> None:
    negative = shown(instance(PhotometricInterpretation="MONOCHROME1")).astype(int)
    np.testing.assert_allclose(negative, 255 - shown(instance()).astype(int), atol=1)


def test_signed_and_rescaled_pixels_give_the_same_image() -> None:
    signed = (RAMP.astype(np.int32) - 2000).astype(np.int16)
    np.testing.assert_array_equal(shown(instance(signed, RescaleIntercept=2000)), shown(instance()))


def test_doubled_slope_equals_half_the_window() -> None:
    a = shown(instance(RescaleSlope=2, WindowCenter=4096, WindowWidth=8191))
    np.testing.assert_allclose(a.astype(int), shown(instance()).astype(int), atol=1)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("LINEAR", lambda x: np.clip((x - 1999.5) / 999 + 0.5, 0, 1)),
        ("LINEAR_EXACT", lambda x: np.clip((x - 2000) / 1000 + 0.5, 0, 1)),
        ("SIGMOID", lambda x: 1 / (1 + np.exp(-4 * (x - 2000) / 1000))),
    ],
)
def test_window_functions_follow_the_standard(function: str, expected: Callable[[Floats], Floats]) -> None:
    """DICOM PS3.3 C.11.2.1.2.1, C.11.2.1.3.2, C.11.2.1.3.1."""
    made = shown(instance(WindowCenter=2000, WindowWidth=1000, VOILUTFunction=function))
    np.testing.assert_allclose(made, 255 * expected(RAMP.astype(float)), atol=0.51)


@pytest.mark.parametrize("attributes", [{"WindowCenter": None, "WindowWidth": None}, {"WindowWidth": 0}])
def test_image_without_usable_window_gets_the_percentile_window(attributes: dict[str, object]) -> None:
    made = shown(instance(RAMP // 2 + 100, **attributes))
    assert made.min() == 0 and made.max() == 255
    assert abs(float(np.median(made)) - 127.5) < 2


def test_padding_is_black_and_ignored_by_the_window() -> None:
    pixels = RAMP.copy() // 8 + 3000
    pixels[:, :32] = 60000
    for photometric in ("MONOCHROME2", "MONOCHROME1"):
        for window in ({"WindowCenter": None, "WindowWidth": None}, {"WindowCenter": 3250, "WindowWidth": 2000}):
            ds = instance(pixels, PhotometricInterpretation=photometric, **window)
            ds.add_new("PixelPaddingValue", "US", 60000)
            made = shown(ds)
            assert made[:, :32].max() == 0, (photometric, window)
            assert made[:, 32:].max() >= 150, (photometric, window)


def test_voi_lut_takes_precedence_over_the_window() -> None:
    lut = Dataset()
    lut.add_new("LUTDescriptor", "US", [4096, 0, 8])
    lut.add_new("LUTData", "US", [255 - v // 16 for v in range(4096)])
    ds = instance()
    ds.VOILUTSequence = [lut]
    np.testing.assert_allclose(shown(ds).astype(int), 255 - RAMP // 16, atol=1)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, RLELossless])
def test_lossless_compression_gives_the_same_pixels(syntax: UID) -> None:
    ds = instance(BitsStored=12, HighBit=11)
    if syntax == RLELossless:
        ds.compress(syntax, generate_instance_uid=False)
    else:
        ds.PixelData = encapsulate(
            [bytes(imagecodecs.jpeg2k_encode(RAMP, level=0, reversible=True, codecformat="j2k"))]
        )
        ds["PixelData"].is_undefined_length = True
        ds.file_meta.TransferSyntaxUID = syntax
    np.testing.assert_array_equal(radiograph(ds).stored.pixels, RAMP)


def test_instance_without_preamble_is_read() -> None:
    whole = content(instance())
    assert header_from_dataset(read_dataset(whole[132:])).modality == "DX"


def broken(ds: Dataset, at: int) -> bytes:
    return content(ds)[:at]


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (b"", "not_dicom"),
        (b"%PDF-1.4 nothing here" * 20, "not_dicom"),
        (bytes(200), "not_dicom"),
        (broken(instance(), 400), "unreadable"),
        (content(instance(SOPInstanceUID="1.2.3")).replace(b"1.2.3\0", b"1.2.x\0"), "unreadable"),
    ],
)
def test_content_that_is_not_dicom_is_rejected_with_a_reason(bad: bytes, code: str) -> None:
    with pytest.raises(Rejected) as caught:
        header_from_dataset(read_dataset(bad))
    assert caught.value.code == code
    assert len(caught.value.reason) > 20


@pytest.mark.parametrize(
    "change",
    [
        {"Rows": 65535, "Columns": 65535},
        {"Rows": 65},
        {"BitsAllocated": 32},
        {"BitsAllocated": 32, "Rows": 32, "BitsStored": 32, "HighBit": 31},
        {"SamplesPerPixel": 3},
        {"PhotometricInterpretation": None},
        {"PhotometricInterpretation": "PALETTE COLOR"},
        {"BitsAllocated": None},
        {"BitsAllocated": ""},
    ],
)
def test_implausible_pixels_are_rejected(change: dict[str, Any]) -> None:
    with pytest.raises(Rejected, match="broken_pixels"):
        radiograph(instance(**change))


def test_header_holds_age_and_codes_of_the_region() -> None:
    region = Dataset()
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "74670003", "SCT", "Wrist joint"
    ds = instance(PatientAge="007Y", AnatomicRegionSequence=[region])
    header = header_from_dataset(read_dataset(content(ds)))
    assert header.age_years == 7
    assert header.anatomic_region_codes == ("74670003",)


def species(description: str = "", code: str = "") -> Dataset:
    ds = instance()
    if description:
        ds.PatientSpeciesDescription = description
    if code:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "SCT", "a species"
        ds.PatientSpeciesCodeSequence = [item]
    return ds


@pytest.mark.parametrize(
    ("ds", "animal"),
    [
        (species(), False),
        (species("Homo sapiens"), False),
        (species(code="337915000"), False),
        (species("human", "L-85B00"), False),
        (species("Canis familiaris"), True),
        (species(code="448771007"), True),
        (species("Homo sapiens", "448771007"), True),
    ],
)
def test_species_human_is_not_an_animal(ds: Dataset, animal: bool) -> None:
    assert header_from_dataset(read_dataset(content(ds))).is_animal is animal


def test_invalid_compressed_stream_is_rejected() -> None:
    ds = instance()
    ds.compress(RLELossless, generate_instance_uid=False)
    bad = content(ds).replace(str(RLELossless).encode(), str(ExplicitVRLittleEndian).encode()[:-2] + b"4.")
    with pytest.raises(Rejected):
        read = read_dataset(bad)
        radiograph_from_dataset(read, header_from_dataset(read))


def test_deeply_nested_sequences_are_rejected() -> None:
    ds = instance()
    innermost = Dataset()
    for _ in range(3000):
        outer = Dataset()
        outer.RequestAttributesSequence = [innermost]
        innermost = outer
    nested = b"\x40\x00\x75\x02SQ\x00\x00\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    whole = content(ds)
    with pytest.raises(Rejected):
        header_from_dataset(read_dataset(whole[: whole.index(b"\xe0\x7f\x10\x00")] + nested * 3000))


@pytest.mark.parametrize(
    ("image", "series", "side", "disagree"),
    [
        ("L", "L", Laterality.LEFT, False),
        ("", "R", Laterality.RIGHT, False),
        ("L", "R", Laterality.UNKNOWN, True),
        ("B", "R", Laterality.UNKNOWN, False),
        ("U", "R", Laterality.RIGHT, False),
    ],
)
@pytest.mark.proves("SAF-8")
def test_side_of_an_image_is_known_only_if_nothing_contradicts_it(
    image: str, series: str, side: Laterality, disagree: bool
) -> None:
    ds = source()
    ds.ImageLaterality, ds.Laterality = image, series
    header = header_from_dataset(ds)
    assert (header.laterality, header.sides_disagree) == (side, disagree)
