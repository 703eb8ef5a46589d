"""The bone window: the VOI LUT, else a window of the data set, else a preset of the hospital, else percentiles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import zip_longest
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from appliance.config import PresetWindow
from appliance.domain.radiograph import VoiFunction, Window

from .attributes import as_list

EXPOSED_PERCENTILES = (0.5, 99.5)
"""Percentiles of the exposed field that the last resort spans: a marker or a hot pixel cannot stretch it."""

_SAMPLED_PX = 512
"""Approximate number of rows and of columns that percentiles are taken from."""

FUNCTIONS: dict[str, VoiFunction] = {"LINEAR": "LINEAR", "LINEAR_EXACT": "LINEAR_EXACT", "SIGMOID": "SIGMOID"}
"""VOI LUT Function (0028,1056), DICOM PS3.3 C.11.2.1.3."""

T = TypeVar("T")


def window_of(ds: Dataset, presets: Sequence[PresetWindow]) -> Window | None:
    """Return a window of the data set, else the preset for its station, else None."""
    explanations = [str(v).upper() for v in as_list(ds.get("WindowCenterWidthExplanation"))]
    named_windows = zip_longest(explanations, _windows(ds), fillvalue=None)
    usable = [(name or "", window) for name, window in named_windows if window]
    if usable:
        return _for_bone(usable)
    station = str(ds.get("StationName") or "").upper()
    fitting = (p for p in presets if fnmatchcase(station, p.station.upper()))
    return next((Window(center=p.center, width=p.width) for p in fitting), None)


def voi_lut_of(ds: Dataset) -> Dataset | None:
    """Return the VOI LUT explained as bone, else the first; None if there is none."""
    items = [(str(item.get("LUTExplanation") or "").upper(), item) for item in ds.get("VOILUTSequence") or ()]
    return _for_bone(items) if items else None


def is_negative(ds: Dataset) -> bool:
    """Return whether the smallest value is displayed white (DICOM PS3.3 C.7.6.3.1.2, C.8.11.3.1.2)."""
    return ds.get("PhotometricInterpretation") == "MONOCHROME1" or ds.get("PresentationLUTShape") == "INVERSE"


def percentile_window(exposed: NDArray[Any], slope: float, intercept: float) -> Window:
    """Return the window between the `EXPOSED_PERCENTILES` of the exposed stored values."""
    low, high = np.percentile(exposed, EXPOSED_PERCENTILES) if exposed.size else (0.0, 1.0)
    ends = sorted((low * slope + intercept, high * slope + intercept))
    return Window(center=(ends[0] + ends[1]) / 2, width=max(ends[1] - ends[0], 1.0), function="LINEAR_EXACT")


def thinned(image: NDArray[Any]) -> NDArray[Any]:
    """Return every n-th row and column of `image`: enough for percentiles."""
    step = max(1, min(image.shape) // _SAMPLED_PX)
    return image[::step, ::step]


def _windows(ds: Dataset) -> Iterator[Window | None]:
    """Yield the windows of the data set in their order; None for an invalid one."""
    name = str(ds.get("VOILUTFunction") or "LINEAR").upper()
    function = FUNCTIONS.get(name, "LINEAR")
    for center, width in zip(as_list(ds.get("WindowCenter")), as_list(ds.get("WindowWidth")), strict=False):
        try:
            yield Window(center=float(str(center)), width=float(str(width)), function=function)
        except ValueError:
            yield None


def _for_bone(named: Iterable[tuple[str, T]]) -> T:
    """Return the choice with BONE in its name, else the first."""
    choices = list(named)
    return next((choice for name, choice in choices if "BONE" in name), choices[0][1])
