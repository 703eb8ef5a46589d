"""The Modality LUT: a table, else slope and intercept (DICOM PS3.3 C.11.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from pydicom.dataset import Dataset

from appliance.domain.sentence import Sentence

from .attributes import items, number
from .lookup_table import LookupTable, whole_table

SLOPES = (1e-9, 1e9)
"""Least and largest size of a plausible slope."""

LARGEST_INTERCEPT = 1e12


@dataclass(frozen=True, slots=True, kw_only=True)
class Modality:
    """The transformation from stored values to the values that a window applies to.

    Attributes
    ----------
    table
        Takes the place of the rescale.
    caveats
        Sentences about attributes that could not be used.
    """

    slope: float = 1.0
    intercept: float = 0.0
    table: LookupTable | None = None
    caveats: tuple[Sentence, ...] = ()

    def applied(self, values: NDArray[Any]) -> NDArray[Any]:
        """Look up (H, W) `values`; slope and intercept stay to be applied."""
        return values if self.table is None else self.table.applied(values)


def modality_of(ds: Dataset, little_endian: bool) -> Modality:
    """Return the Modality LUT of `ds`; stored values stay as they are where it is broken, or has one level alone."""
    sequence = items(ds, "ModalityLUTSequence")
    table = whole_table(sequence[0], little_endian) if sequence else None
    if table and table.levels.min() < table.levels.max():
        return Modality(table=table)
    caveats = (Sentence.of("the Modality LUT is broken: shown without it"),) if sequence else ()
    slope, intercept = number(ds, "RescaleSlope"), number(ds, "RescaleIntercept")
    slope, intercept = 1.0 if slope is None else slope, 0.0 if intercept is None else intercept
    if not (SLOPES[0] < abs(slope) < SLOPES[1] and abs(intercept) < LARGEST_INTERCEPT):  # NaN is not, either
        unusable = Sentence.of("the rescale of the header cannot be used: shown without it")
        return Modality(caveats=(*caveats, unusable))
    return Modality(slope=slope, intercept=intercept, caveats=caveats)
