"""From bytes to an analysis: what the analyse role and `osteon read` do alike."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from appliance.analysis.eligibility import is_radiograph
from appliance.analysis.pipeline import Analysis, Pipeline
from appliance.dicom.reader import header_from_dataset, radiograph_from_dataset, read_dataset
from appliance.domain.finding import NotAnalysed
from appliance.errors import Rejected
from appliance.preprocessing.reference import displayed


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """An analysis with what its answers are rendered from.

    Attributes
    ----------
    source
        Data set without need of its pixels.
    grey
        (H, W) uint8 as a viewer shows the radiograph; None if there are no usable pixels.
    """

    source: Dataset
    analysis: Analysis
    grey: NDArray[np.uint8] | None = field(default=None, repr=False)


def read(content: bytes, pipeline: Pipeline) -> Reading:
    """Analyse an instance.

    Raises
    ------
    Rejected
        If the bytes are no radiograph at all, so that there is nobody to answer.
    """
    source = read_dataset(content)
    header = header_from_dataset(source)
    if declined := pipeline.decline(header):
        if not is_radiograph(header) and declined.not_analysed:
            raise Rejected(declined.not_analysed.code, declined.not_analysed.reason)
        return Reading(source=source, analysis=Analysis(result=declined))
    try:
        radiograph = radiograph_from_dataset(source, header)
    except Rejected as error:
        reason = NotAnalysed(code=error.code, reason=error.reason)
        return Reading(source=source, analysis=Analysis(result=pipeline.not_analysed(header, reason)))
    return Reading(source=source, analysis=pipeline.analyse(radiograph), grey=displayed(radiograph.stored))
