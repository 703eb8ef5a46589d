"""The bone window: VOI LUT, else a window of the data set, else the site's preset, else the exposed field's range."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from appliance.config import PresetWindow
from appliance.domain.radiograph import VoiFunction, Window

from .attributes import as_list

EXPOSED_PERCENTILES = (0.5, 99.5)
"""The window of last resort: these percentiles of the exposed field, which a marker or a hot pixel cannot stretch."""

_SAMPLED_PX = 512
"""Percentiles are taken from about so many rows and columns."""

FUNCTIONS: dict[str, VoiFunction] = {"LINEAR": "LINEAR", "LINEAR_EXACT": "LINEAR_EXACT", "SIGMOID": "SIGMOID"}

T = TypeVar("T")


def window_of(ds: Dataset, presets: Sequence[PresetWindow]) -> Window | None:
    """A window of the data set, else the site's preset for its station, else None."""
    explanations = [str(v).upper() for v in as_list(ds.get("WindowCenterWidthExplanation"))]
    explained = [*explanations, *[""] * 64]
    usable = [(name, window) for name, window in zip(explained, _windows(ds), strict=False) if window]
    if usable:
        return _for_bone(usable)
    station = str(ds.get("StationName") or "").upper()
    fitting = (p for p in presets if fnmatchcase(station, p.station.upper()))
    return next((Window(center=p.center, width=p.width) for p in fitting), None)


def voi_lut_of(ds: Dataset) -> Dataset | None:
    """The VOI LUT meant for bone, or the first; None if there is none."""
    items = [(str(item.get("LUTExplanation") or "").upper(), item) for item in ds.get("VOILUTSequence") or ()]
    return _for_bone(items) if items else None


def is_negative(ds: Dataset) -> bool:
    """Whether the smallest value is meant to be white (DICOM PS3.3 C.7.6.3.1.2, C.8.11.3.1.2)."""
    return ds.get("PhotometricInterpretation") == "MONOCHROME1" or ds.get("PresentationLUTShape") == "INVERSE"


def percentile_window(exposed: NDArray[Any], slope: float, intercept: float) -> Window:
    """Window over the percentiles of stored values that were exposed; every value has the same weight."""
    low, high = np.percentile(exposed, EXPOSED_PERCENTILES) if exposed.size else (0.0, 1.0)
    ends = sorted((low * slope + intercept, high * slope + intercept))
    return Window(center=(ends[0] + ends[1]) / 2, width=max(ends[1] - ends[0], 1.0), function="LINEAR_EXACT")


def thinned(image: NDArray[Any]) -> NDArray[Any]:
    """Some rows and columns of `image`: enough for percentiles."""
    step = max(1, min(image.shape) // _SAMPLED_PX)
    return image[::step, ::step]


def _windows(ds: Dataset) -> Iterator[Window | None]:
    name = str(ds.get("VOILUTFunction") or "LINEAR").upper()
    function = FUNCTIONS.get(name, "LINEAR")
    for center, width in zip(as_list(ds.get("WindowCenter")), as_list(ds.get("WindowWidth")), strict=False):
        try:
            yield Window(center=float(str(center)), width=float(str(width)), function=function)
        except ValueError:
            yield None


def _for_bone(named: Iterable[tuple[str, T]]) -> T:
    choices = list(named)
    return next((choice for name, choice in choices if "BONE" in name), choices[0][1])
