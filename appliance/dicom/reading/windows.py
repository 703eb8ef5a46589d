"""The bone window: the VOI LUT, else a window of the data set, else a preset of the hospital, else percentiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from appliance.config import PresetWindow
from appliance.domain.radiograph import VoiFunction, Window
from appliance.domain.sentence import Sentence

from .attributes import items, numbers, word, words
from .lookup_table import whole_table

EXPOSED_PERCENTILES = (0.5, 99.5)
"""Percentiles of the exposed field that the last resort spans: a marker or a hot pixel cannot stretch it."""

_SAMPLED_PX = 512
"""Approximate number of rows and of columns that percentiles are taken from."""

FUNCTIONS: dict[str, VoiFunction] = {"LINEAR": "LINEAR", "LINEAR_EXACT": "LINEAR_EXACT", "SIGMOID": "SIGMOID"}
"""VOI LUT Function (0028,1056), DICOM PS3.3 C.11.2.1.3."""


def windows_of(ds: Dataset, presets: Sequence[PresetWindow]) -> Iterator[tuple[Sentence, Window]]:
    """Yield the usable windows with their names: those of the data set, one for bone first, then the site's preset."""
    named = zip_longest(words(ds, "WindowCenterWidthExplanation"), _windows(ds), fillvalue=None)
    usable = [(explanation or "", window) for explanation, window in named if window]
    for number, (_, window) in enumerate(sorted(usable, key=lambda pair: "BONE" not in pair[0])):
        yield Sentence.of("next window of the header") if number else Sentence.of("window of the header"), window
    station = word(ds, "StationName")
    for preset in presets:
        if fnmatchcase(station, preset.station.upper()):
            yield Sentence.of("preset window of the site"), Window(center=preset.center, width=preset.width)
            return


def voi_lut_of(ds: Dataset) -> Dataset | None:
    """Return the VOI LUT explained as bone, else the first; None if there is none with a table."""
    whole = [item for item in items(ds, "VOILUTSequence") if whole_table(item, little_endian=True)]
    return next((item for item in whole if "BONE" in word(item, "LUTExplanation")), whole[0] if whole else None)


def photometric_of(ds: Dataset) -> str:
    """Return the Photometric Interpretation, stripped and in capitals; empty if there is none."""
    return word(ds, "PhotometricInterpretation")


def is_negative(ds: Dataset) -> bool:
    """Return whether the smallest value is displayed white (DICOM PS3.3 C.7.6.3.1.2, C.8.11.3.1.2)."""
    return photometric_of(ds) == "MONOCHROME1" or word(ds, "PresentationLUTShape") == "INVERSE"


def percentile_window(exposed: NDArray[Any], slope: float, intercept: float) -> Window:
    """Return the window between the `EXPOSED_PERCENTILES` of the exposed stored values."""
    low, high = np.percentile(exposed, EXPOSED_PERCENTILES) if exposed.size else (0.0, 1.0)
    ends = sorted((low * slope + intercept, high * slope + intercept))
    return Window(center=(ends[0] + ends[1]) / 2, width=ends[1] - ends[0] or 1.0, function="LINEAR_EXACT")


def thinned(image: NDArray[Any]) -> NDArray[Any]:
    """Return every n-th row and column of `image`: enough for percentiles."""
    step = max(1, min(image.shape) // _SAMPLED_PX)
    return image[::step, ::step]


def _windows(ds: Dataset) -> Iterator[Window | None]:
    """Yield the windows of the data set in their order; None for an invalid one."""
    function = FUNCTIONS.get(word(ds, "VOILUTFunction"), "LINEAR")
    for center, width in zip(numbers(ds, "WindowCenter"), numbers(ds, "WindowWidth"), strict=False):
        try:
            yield Window(center=center, width=width, function=function)
        except ValueError:
            yield None
