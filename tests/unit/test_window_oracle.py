"""Displayed values compared with the pseudo-code of the Standard, pixel by pixel in double precision."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from appliance.dicom.reading.reader import header_from_dataset, radiograph_from_dataset, read_dataset
from appliance.preprocessing.reference import displayed
from tests.support.sources import source


@st.composite
def radiographs(draw: st.DrawFn) -> Dataset:
    """Any bit depth, sign, rescale, window, function and polarity."""
    bits, signed = draw(st.integers(7, 16)), draw(st.booleans())
    low = -(1 << (bits - 1)) if signed else 0
    rows, columns = draw(st.integers(1, 9)), draw(st.integers(2, 9))
    values = draw(st.lists(st.integers(low, low + (1 << bits) - 1), min_size=rows * columns, max_size=rows * columns))
    values[0] = low + (1 << bits) - 1 if not signed else low  # neither black altogether nor without its sign
    values[-1] = low + (1 << (bits - 1))  # nor blank
    ds = source("oracle", rows, columns)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, bits, bits - 1, int(signed)
    ds.PixelData = np.array(values, np.int64).astype(np.uint16).tobytes()
    ds.RescaleSlope, ds.RescaleIntercept = draw(st.sampled_from(["1", "0.25", "2", "-1"])), draw(st.integers(-900, 900))
    ds.VOILUTFunction = draw(st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]))
    ds.WindowCenter, ds.WindowWidth = draw(st.integers(-3000, 9000)), draw(st.integers(2, 9000))
    ds.PhotometricInterpretation = draw(st.sampled_from(["MONOCHROME1", "MONOCHROME2"]))
    return ds


def shown_by_the_standard(ds: Dataset, value: int) -> float:
    """Grey level 0 to 255 of one stored value: PS3.3 C.11.1.1.2, C.11.2.1.2.1, C.11.2.1.3 and C.7.6.3.1.2."""
    x = value * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
    c, w = float(ds.WindowCenter), float(ds.WindowWidth)
    if ds.VOILUTFunction == "SIGMOID":
        y = 255 / (1 + math.exp(min(-4 * (x - c) / w, 700)))
    elif ds.VOILUTFunction == "LINEAR_EXACT":
        y = 0 if x <= c - w / 2 else 255 if x > c + w / 2 else ((x - c) / w + 0.5) * 255
    elif x <= c - 0.5 - (w - 1) / 2:
        y = 0
    else:
        y = 255 if x > c - 0.5 + (w - 1) / 2 else ((x - (c - 0.5)) / (w - 1) + 0.5) * 255
    return 255 - y if ds.PhotometricInterpretation == "MONOCHROME1" else y


@settings(max_examples=300, deadline=None, derandomize=True)
@given(radiographs())
@pytest.mark.proves("MIS-3")
def test_displayed_values_equal_the_pseudocode_of_the_standard(ds: Dataset) -> None:
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    read = read_dataset(buffer.getvalue())
    used = radiograph_from_dataset(read, header_from_dataset(read)).stored
    shown = displayed(used)
    stored = np.frombuffer(ds.PixelData, np.int16 if ds.PixelRepresentation else np.uint16)
    expected = np.array([shown_by_the_standard(ds, int(v)) for v in stored]).reshape(shown.shape)
    if used.caveats:  # the window of the header shows next to nothing, so another one took its place
        dark, bright = np.percentile(expected, (0.5, 99.5), method="nearest")
        grey = (expected > 5.51) & (expected < 249.49)
        assert bright < 65 or dark > 191 or bright - dark < 33 or grey.mean() < 0.15
    else:
        assert np.abs(shown - expected).max() <= 0.51  # half a grey level, and single precision
