"""Golden 8-bit images of synthesised instances, one for each way to encode and window pixels.

``python -m tests.unit.test_golden_images`` writes the pictures anew.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian

from appliance.config import PresetWindow
from appliance.dicom.reading.reader import header_from_dataset, radiograph_from_dataset, read_dataset
from appliance.preprocessing.reference import displayed
from tests.support.sources import source

GOLDEN = Path(__file__).with_name("golden")
ROWS, COLUMNS = 48, 64


def bone() -> NDArray[np.uint16]:
    """(48, 64) values 0 to 4095: a bright shaft with a dark canal on a soft ramp."""
    y, x = np.mgrid[:ROWS, :COLUMNS].astype(float)
    shaft = 1800 * np.exp(-(((x - 32 - y / 12) / 9) ** 2)) - 700 * np.exp(-(((x - 32 - y / 12) / 3) ** 2))
    return np.clip(700 + 10 * x + 12 * y + shaft, 0, 4095).astype(np.uint16)


def instance(pixels: NDArray[np.generic] | None = None, bits: int = 12, **attributes: object) -> Dataset:
    """A DX with these pixels; `attributes` replace the data set's, None removes one."""
    pixels = bone() if pixels is None else pixels
    ds = source("golden", *pixels.shape[:2])
    ds.BitsAllocated = pixels.dtype.itemsize * 8
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits, bits - 1, int(pixels.dtype.kind == "i")
    ds.WindowCenter, ds.WindowWidth = 2000, 3000
    ds.PresentationLUTShape = "IDENTITY"
    ds.PixelData = pixels.tobytes()
    for keyword, value in attributes.items():
        if value is None:
            ds.pop(keyword, None)
        else:
            setattr(ds, keyword, value)
    return ds


def lut(first: int, outputs: NDArray[np.generic], bits: int, explanation: str = "") -> Dataset:
    """An item of a LUT sequence."""
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [outputs.size % 65536, first, bits])
    item.add_new("LUTData", "OW", outputs.astype("<u2").tobytes())
    item.LUTExplanation, item.ModalityLUTType = explanation, "US"
    return item


def curve(power: float) -> NDArray[np.float64]:
    """(4096,) a contrast curve from 0 to 1023."""
    return np.rint(1023 * (np.arange(4096) / 4095) ** power)


def padded(value: int) -> NDArray[np.uint16]:
    """Padding to the left and below."""
    pixels = bone()
    pixels[:, :10] = value
    pixels[-6:] = value
    return pixels


def overlaid() -> NDArray[np.uint16]:
    """A retired overlay in bit 12, above the 12 that are stored."""
    pixels = bone()
    pixels[10:20, 10:30] |= 1 << 12
    return pixels


def with_overlay_bit() -> Dataset:
    ds = instance(overlaid())
    ds.add_new((0x6000, 0x0102), "US", 12)
    return ds


LINEAR = {"WindowCenter": 2000, "WindowWidth": 3000}
NO_WINDOW: dict[str, Any] = {"WindowCenter": None, "WindowWidth": None}
SIGNED = (bone().astype(np.int32) - 2048).astype(np.int16)
SHUTTER: dict[str, dict[str, Any]] = {"RECTANGULAR": {"ShutterLeftVerticalEdge": 9, "ShutterRightVerticalEdge": 56,
                           "ShutterUpperHorizontalEdge": 5, "ShutterLowerHorizontalEdge": 44},
           "CIRCULAR": {"CenterOfCircularShutter": [24, 32], "RadiusOfCircularShutter": 22},
           "POLYGONAL": {"VerticesOfThePolygonalShutter": [3, 32, 24, 62, 46, 32, 24, 3]}}  # fmt: skip

CASES: dict[str, Callable[[], Dataset]] = {
    "linear": instance,
    "linear_exact": lambda: instance(VOILUTFunction="LINEAR_EXACT", WindowWidth=2000),
    "sigmoid": lambda: instance(VOILUTFunction="SIGMOID", WindowWidth=2000),
    "unknown_function_is_linear": lambda: instance(VOILUTFunction="linear LUT"),
    "first_of_several_windows": lambda: instance(WindowCenter=[2000, 900], WindowWidth=[3000, 500]),
    "window_for_bone": lambda: instance(
        WindowCenter=[900, 2000], WindowWidth=[500, 3000], WindowCenterWidthExplanation=["SOFT TISSUE", "Bone"]
    ),
    "unusable_window_is_passed_over": lambda: instance(WindowCenter=[2000, 2000], WindowWidth=[0, 3000]),
    "preset_of_the_site": lambda: instance(**NO_WINDOW, StationName="ROOM7"),
    "percentiles": lambda: instance(**NO_WINDOW),
    "percentiles_of_the_exposed_field": lambda: instance(
        padded(0), **NO_WINDOW, ShutterShape="RECTANGULAR", **SHUTTER["RECTANGULAR"]
    ),
    "voi_lut": lambda: instance(VOILUTSequence=[lut(0, curve(0.5), 10)]),
    "voi_lut_goes_before_the_window": lambda: instance(VOILUTSequence=[lut(0, curve(0.5), 10)], WindowCenter=100),
    "voi_lut_for_bone": lambda: instance(VOILUTSequence=[lut(0, curve(2), 10), lut(0, curve(0.5), 10, "BONE")]),
    "voi_lut_first_value": lambda: instance(VOILUTSequence=[lut(1000, curve(1)[:2000] * 2, 10)]),
    "voi_lut_over_signed": lambda: instance(SIGNED, VOILUTSequence=[lut(63488, curve(0.5), 10)]),
    "voi_lut_over_rescaled_below_zero": lambda: instance(
        RescaleIntercept=-1024, VOILUTSequence=[lut(64512, curve(0.5), 10)]
    ),
    "modality_lut": lambda: instance(ModalityLUTSequence=[lut(0, curve(0.5), 10)], **NO_WINDOW),
    "modality_lut_then_window": lambda: instance(
        ModalityLUTSequence=[lut(0, curve(0.5), 10)], WindowCenter=700, WindowWidth=500
    ),
    "rescale": lambda: instance(RescaleSlope=0.5, RescaleIntercept=-100, WindowCenter=900, WindowWidth=1500),
    "negative_slope": lambda: instance(RescaleSlope=-1, RescaleIntercept=4000),
    "monochrome1": lambda: instance(PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE"),
    "monochrome1_without_shape": lambda: instance(
        PhotometricInterpretation="MONOCHROME1", PresentationLUTShape=None
    ),
    "monochrome2_inverse": lambda: instance(PresentationLUTShape="INVERSE"),
    "monochrome1_voi_lut": lambda: instance(
        PhotometricInterpretation="MONOCHROME1", VOILUTSequence=[lut(0, curve(0.5), 10)]
    ),
    "signed": lambda: instance(SIGNED, WindowCenter=-48),
    "signed_with_intercept": lambda: instance(SIGNED, RescaleIntercept=2048, RescaleSlope=1),
    "signed_not_extended": lambda: instance((SIGNED & 0xFFF).astype(np.int16), WindowCenter=-48),
    "7_bits": lambda: instance((bone() >> 5).astype(np.uint8), 7, WindowCenter=63, WindowWidth=94),
    "8_bits": lambda: instance((bone() >> 4).astype(np.uint8), 8, WindowCenter=125, WindowWidth=188),
    "10_bits": lambda: instance(bone() >> 2, 10, WindowCenter=500, WindowWidth=750),
    "14_bits": lambda: instance(bone() << 2, 14, WindowCenter=8000, WindowWidth=12000),
    "16_bits": lambda: instance(bone() << 4, 16, WindowCenter=32000, WindowWidth=48000),
    "16_bits_signed": lambda: instance(
        ((bone().astype(np.int32) << 4) - 32768).astype(np.int16), 16, WindowCenter=-768, WindowWidth=48000
    ),
    "values_above_bits_stored": lambda: instance(bone(), 10),
    "high_bit_15": lambda: instance(bone() << 4, 12, HighBit=15),
    "overlay_in_a_free_bit": with_overlay_bit,
    "padding": lambda: instance(padded(4000), PixelPaddingValue=4000),
    "padding_range": lambda: instance(padded(3990), PixelPaddingValue=4000, PixelPaddingRangeLimit=3980),
    "padding_monochrome1": lambda: instance(
        padded(0), PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=0
    ),
    "padding_everywhere_is_none": lambda: instance(PixelPaddingValue=0, PixelPaddingRangeLimit=4095),
    "padding_limit_is_empty": lambda: instance(padded(4000), PixelPaddingValue=4000, PixelPaddingRangeLimit=None),
    "shutter_without_its_edges": lambda: instance(ShutterShape="RECTANGULAR"),
    **{
        f"shutter_{shape.lower()}": lambda shape=shape: instance(ShutterShape=shape, **SHUTTER[shape])  # type: ignore[misc]
        for shape in SHUTTER
    },
    "grey_sent_as_rgb": lambda: instance(
        np.repeat((bone() >> 4).astype(np.uint8)[..., None], 3, axis=2), 8,
        SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0, WindowCenter=125, WindowWidth=188,
    ),
}  # fmt: skip

ALIKE = (
    "unknown_function_is_linear", "first_of_several_windows", "window_for_bone", "unusable_window_is_passed_over",
    "preset_of_the_site", "rescale", "signed", "signed_with_intercept", "signed_not_extended", "14_bits", "16_bits",
    "16_bits_signed", "values_above_bits_stored", "high_bit_15", "overlay_in_a_free_bit", "padding_everywhere_is_none",
    "shutter_without_its_edges",
)  # fmt: skip
"""Other words for the same picture."""


def picture(name: str) -> NDArray[np.uint8]:
    """Return the displayed image of a case."""
    buffer = io.BytesIO()
    CASES[name]().save_as(buffer, enforce_file_format=True)
    ds = read_dataset(buffer.getvalue())
    presets = [PresetWindow(station="OTHER", center=1, width=2), PresetWindow(station="room*", center=2000, width=3000)]
    return displayed(radiograph_from_dataset(ds, header_from_dataset(ds), presets).stored)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.proves("MIS-3")
def test_displayed_image_equals_the_golden_image(name: str) -> None:
    np.testing.assert_array_equal(picture(name), np.asarray(Image.open(GOLDEN / f"{name}.png")))


@pytest.mark.parametrize("name", ALIKE)
def test_equivalent_attributes_give_the_same_image(name: str) -> None:
    difference = np.abs(picture(name).astype(int) - picture("linear"))
    assert difference.max() <= 1  # a rounding of the window's ends


def test_big_endian_lut_gives_the_same_image() -> None:
    """OW values come in the byte order of the transfer syntax (DICOM PS3.5 7.3)."""
    ds = instance(VOILUTSequence=[lut(0, curve(0.5), 10)])
    ds.VOILUTSequence[0]["LUTData"].value = curve(0.5).astype(">u2").tobytes()
    ds.PixelData = bone().astype(">u2").tobytes()
    ds.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True, little_endian=False, implicit_vr=False)
    read = read_dataset(buffer.getvalue())
    shown = displayed(radiograph_from_dataset(read, header_from_dataset(read)).stored)
    np.testing.assert_array_equal(shown, picture("voi_lut"))


def test_monochrome1_with_inverse_lut_shape_is_inverted_once() -> None:
    for name in ("monochrome1", "monochrome1_without_shape", "monochrome2_inverse"):
        np.testing.assert_array_equal(picture(name), picture("monochrome1"))
    np.testing.assert_allclose(picture("monochrome1").astype(int), 255 - picture("linear").astype(int), atol=1)


def test_negative_first_lut_value_written_as_unsigned_is_read() -> None:
    np.testing.assert_array_equal(picture("voi_lut_over_rescaled_below_zero"), picture("voi_lut"))


def test_padding_and_shutter_are_black_and_change_no_other_pixel() -> None:
    for name in ("padding", "padding_range"):
        assert not picture(name)[:, :10].any()
        assert not picture(name)[-6:].any()
        np.testing.assert_array_equal(picture(name)[:-6, 10:], picture("linear")[:-6, 10:])
    assert not picture("padding_monochrome1")[:, :10].any()
    for name in ("shutter_rectangular", "shutter_circular", "shutter_polygonal"):
        shown = picture(name)
        assert not shown[[0, 0, -1, -1], [0, -1, 0, -1]].any()
        np.testing.assert_array_equal(shown[20:28, 25:40], picture("linear")[20:28, 25:40])


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for name in CASES:
        Image.fromarray(picture(name)).save(GOLDEN / f"{name}.png")


if __name__ == "__main__":
    main()
