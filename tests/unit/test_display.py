"""Windows that make no picture, and broken attributes of the display: what takes their place, and its caveat."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from appliance.config import Analyse, PresetWindow
from appliance.dicom.objects.presentation_state import presentation_state
from appliance.dicom.reading.reader import header_from_dataset, radiograph_from_dataset, read_dataset
from appliance.domain.radiograph import StoredValues
from appliance.errors import Rejected
from appliance.preprocessing.reference import displayed
from appliance.service.examined_instance import examine
from tests.support.objects import answered
from tests.unit.test_golden_images import LINEAR, NO_WINDOW, SHUTTER, bone, curve, instance, lut, padded, picture

PRESET = PresetWindow(station="*", center=2000, width=3000)
PERCENTILES = "window replaced by the percentiles of the image: the window of the header leaves the picture "


def read(ds: Dataset, *presets: PresetWindow, spoil: tuple[bytes, bytes] | None = None) -> StoredValues:
    """Read an instance from its bytes, in which `spoil` is replaced."""
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    content = buffer.getvalue()
    if spoil:
        assert content.count(spoil[0]) == 1
        content = content.replace(*spoil)
    received = read_dataset(content)
    return radiograph_from_dataset(received, header_from_dataset(received), presets).stored


def assert_shows(stored: StoredValues, expected: NDArray[np.uint8], *caveats: str) -> None:
    assert np.abs(displayed(stored).astype(int) - expected).max() <= 1  # a rounding of the window's ends
    assert tuple(map(str, stored.caveats)) == caveats


@pytest.mark.parametrize(
    ("center", "width", "fault"),
    [
        (9000, 3000, "nearly black"),
        (-5000, 3000, "nearly white"),
        (2000, 60000, "blank"),
        (1500, 3, "without grey levels"),
    ],
)
def test_window_that_makes_no_picture_is_replaced_by_percentiles(center: int, width: int, fault: str) -> None:
    assert_shows(read(instance(WindowCenter=center, WindowWidth=width)), picture("percentiles"), PERCENTILES + fault)


def test_inverted_picture_is_named_by_what_it_shows() -> None:
    stored = read(instance(WindowCenter=9000, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape=None))
    assert [str(caveat) for caveat in stored.caveats] == [PERCENTILES + "nearly white"]


def test_next_window_of_the_header_goes_before_the_preset() -> None:
    stored = read(instance(WindowCenter=[9000, 2000], WindowWidth=[3000, 3000]), PRESET)
    caveat = (
        "window replaced by the next window of the header: the window of the header leaves the picture nearly black"
    )
    assert_shows(stored, picture("linear"), caveat)


def test_preset_of_the_site_goes_before_percentiles() -> None:
    caveat = (
        "window replaced by the preset window of the site: the window of the header leaves the picture nearly black"
    )
    assert_shows(read(instance(WindowCenter=9000), PRESET), picture("linear"), caveat)


def test_voi_lut_that_makes_no_picture_is_replaced_by_the_window() -> None:
    flat = np.full(4096, 500)
    stored = read(instance(VOILUTSequence=[lut(0, flat, 10)]))
    caveat = "window replaced by the window of the header: the VOI LUT leaves the picture blank"
    assert_shows(stored, picture("linear"), caveat)


@pytest.mark.parametrize(("power", "name"), [(0.5, "voi_lut")])
@pytest.mark.parametrize("declared", [12, 16, 8, 0, 99])
def test_voi_lut_of_another_depth_spans_the_range_of_its_entries(power: float, name: str, declared: int) -> None:
    """Some CR readers declare 16 bits and write entries of 12 or 10."""
    assert_shows(read(instance(VOILUTSequence=[lut(0, curve(power), declared)])), picture(name))


def test_voi_lut_that_uses_most_of_its_depth_keeps_the_declared_range() -> None:
    stored = read(instance(VOILUTSequence=[lut(0, curve(0.5), 11)]))
    assert stored.window.width == 2048
    assert stored.caveats == ()


@pytest.mark.parametrize("missing", ["LUTData", "LUTDescriptor"])
def test_voi_lut_without_a_table_is_passed_over(missing: str) -> None:
    hollow = lut(0, curve(2), 10, "BONE")
    del hollow[missing]
    assert_shows(read(instance(VOILUTSequence=[hollow])), picture("linear"))
    assert_shows(read(instance(VOILUTSequence=[hollow, lut(0, curve(0.5), 10)])), picture("voi_lut"))


def test_modality_lut_without_a_table_makes_a_caveat() -> None:
    hollow = lut(0, curve(2), 10)
    del hollow.LUTData
    stored = read(instance(ModalityLUTSequence=[hollow]))
    assert_shows(stored, picture("linear"), "the Modality LUT is broken: shown without it")


@pytest.mark.parametrize(
    "rescale", [{"RescaleSlope": 0}, {"RescaleSlope": "1e300"}, {"RescaleSlope": 1, "RescaleIntercept": "1e300"}]
)
def test_impossible_rescale_is_left_out_with_a_caveat(rescale: dict[str, Any]) -> None:
    stored = read(instance(**rescale))
    assert_shows(stored, picture("linear"), "the rescale of the header cannot be used: shown without it")


def test_decimal_comma_is_read_as_a_point() -> None:
    ds = instance(RescaleSlope="0.50000", RescaleIntercept=-100, WindowCenter=900, WindowWidth=1500)
    assert_shows(read(ds, spoil=(b"0.50000", b"0,50000")), picture("rescale"))


@pytest.mark.parametrize("word", ["monochrome1", "Monochrome1 "])
def test_photometric_interpretation_in_small_letters_is_read(word: str) -> None:
    ds = instance(PhotometricInterpretation="MONOCHROME1", PresentationLUTShape=None)
    spoil = b"MONOCHROME1 ", word.ljust(12).encode()
    assert_shows(read(ds, spoil=spoil), picture("monochrome1"))


def test_lut_shape_and_function_in_small_letters_are_read() -> None:
    ds = instance(PresentationLUTShape="INVERSE")
    assert_shows(read(ds, spoil=(b"INVERSE", b"inverse")), picture("monochrome1"))
    ds = instance(VOILUTFunction="SIGMOID", WindowWidth=2000)
    assert_shows(read(ds, spoil=(b"SIGMOID ", b" sigmoid")), picture("sigmoid"))


def test_values_above_bits_stored_are_masked_if_the_window_lies_within() -> None:
    pixels = bone()
    pixels[4, 20:30] |= 1 << 13
    assert_shows(read(instance(pixels)), picture("linear"))
    assert read(instance(pixels, WindowWidth=9000)).pixels.max() >= 1 << 13


def test_signed_values_above_bits_stored_are_masked() -> None:
    signed = (bone().astype(np.int32) - 2048).astype(np.int16)
    signed[4, 20:30] += np.int16(1 << 13)
    assert_shows(read(instance(signed, WindowCenter=-48)), picture("signed"))


def test_many_values_above_bits_stored_make_a_caveat() -> None:
    pixels = bone()
    pixels[:12] |= 1 << 13
    stored = read(instance(pixels))
    assert_shows(stored, picture("linear"), "25% of the values are above Bits Stored: shown without their upper bits")


@pytest.mark.parametrize(
    "shutter",
    [
        {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [24], "RadiusOfCircularShutter": 9},
        {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [24, 32], "RadiusOfCircularShutter": None},
        {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": [3, 32, 24]},
        {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": [3, 32, 24, 9]},
        {"ShutterShape": "RECTANGULAR", **SHUTTER["RECTANGULAR"], "ShutterLeftVerticalEdge": [9, 10]},
        {"ShutterShape": "RECTANGULAR", **SHUTTER["RECTANGULAR"], "ShutterLeftVerticalEdge": 1000},
        {"ShutterShape": "OVAL"},
    ],
)
def test_shutter_that_is_not_whole_covers_nothing(shutter: dict[str, Any]) -> None:
    assert_shows(read(instance(**shutter)), picture("linear"))


def test_shutter_in_small_letters_covers() -> None:
    ds = instance(ShutterShape="CIRCULAR", **SHUTTER["CIRCULAR"])
    assert_shows(read(ds, spoil=(b"CIRCULAR", b"circular")), picture("shutter_circular"))


def test_broken_shutter_number_covers_nothing() -> None:
    ds = instance(ShutterShape="CIRCULAR", CenterOfCircularShutter=[24, 32], RadiusOfCircularShutter=7777)
    assert_shows(read(ds, spoil=(b"7777", b"7 mm")), picture("linear"))


def test_two_padding_values_are_both_padding() -> None:
    pixels = padded(4000)
    pixels[-6:] = 4010
    ds = instance(pixels)
    ds.add_new("PixelPaddingValue", "US", [4000, 4010])
    assert_shows(read(ds), picture("padding"))


@pytest.mark.parametrize("padding", [{}, {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 4095}])
def test_picture_of_one_level_is_rejected_as_blank(padding: dict[str, Any]) -> None:
    with pytest.raises(Rejected) as caught:
        read(instance(np.full((48, 64), 1000, np.uint16), **padding))
    assert caught.value.code == "blank"


def test_picture_of_almost_one_level_has_a_caveat() -> None:
    pixels = np.full((480, 640), 1000, np.uint16)
    pixels[0, 0] = 3000
    caveats = read(instance(pixels)).caveats
    assert [str(caveat) for caveat in caveats] == ["the picture is nearly blank in every window"]


def test_percentiles_of_a_small_slope_span_the_picture() -> None:
    assert_shows(read(instance(**NO_WINDOW, RescaleSlope="0.0001")), picture("percentiles"))


def test_presentation_state_has_the_window_that_took_the_place_of_the_voi_lut() -> None:
    ds = instance(VOILUTSequence=[lut(0, np.full(4096, 500), 10)], RescaleSlope="1", RescaleIntercept=0)
    voi = presentation_state(ds, answered(ds), read(ds).window).SoftcopyVOILUTSequence[0]
    assert (voi.WindowCenter, voi.WindowWidth) == (LINEAR["WindowCenter"], LINEAR["WindowWidth"])
    assert "VOILUTSequence" not in voi


def test_presentation_state_stretches_a_voi_lut_over_the_range_of_its_entries() -> None:
    ds = instance(VOILUTSequence=[lut(0, curve(0.5), 16)])
    voi = presentation_state(ds, answered(ds), read(ds).window).SoftcopyVOILUTSequence[0]
    assert np.frombuffer(voi.VOILUTSequence[0].LUTData, "<u2").max() == 65535


def test_caveats_survive_the_way_from_the_reading_process() -> None:
    ds = instance(np.repeat(np.repeat(bone(), 3, 0), 3, 1), WindowCenter=9000)
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    examined = pickle.loads(pickle.dumps(examine(buffer.getvalue, "", Analyse()), protocol=5))
    assert [str(caveat) for caveat in examined.radiograph.stored.caveats] == [PERCENTILES + "nearly black"]
