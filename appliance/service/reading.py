"""The record that artefacts are rendered from; a process that renders loads no part of the analysis for it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from appliance.domain.radiograph import Window
from appliance.ports import Analysis


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """An analysis with everything that its artefacts are rendered from.

    Attributes
    ----------
    source
        Data set of the radiograph without its pixels.
    grey
        (H, W) uint8, the radiograph as a viewer displays it; None if it has no usable pixels.
    window
        Window of that display; None if it has no usable pixels.
    is_told
        Whether anything of it may leave the box; otherwise no artefact is rendered.
    """

    source: Dataset
    analysis: Analysis
    grey: NDArray[np.uint8] | None = field(default=None, repr=False)
    window: Window | None = None
    is_told: bool = True
