"""A radiograph in memory: its stored values, their display, and the parts of its header that decide the analysis."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .identifiers import Laterality
from .sentence import Sentence

LARGEST_LEVEL = 1e12
"""Bound of the levels of a window, as of the intercept of a rescale."""

VoiFunction = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Bone window over the values after the Modality LUT (DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3).

    Attributes
    ----------
    over_voi_lut
        Whether the window spans the output of the VOI LUT of the data set, which is applied before it.

    Raises
    ------
    ValueError
        If the width is not positive (LINEAR needs at least 1), or if float32 cannot compute with center and width.
    """

    center: float
    width: float
    function: VoiFunction = "LINEAR"
    over_voi_lut: bool = False

    def __post_init__(self) -> None:
        smallest = 1.0 if self.function == "LINEAR" else np.finfo(np.float32).tiny
        if not (abs(self.center) < LARGEST_LEVEL and smallest <= self.width < LARGEST_LEVEL):  # NaN is not, either
            raise ValueError(f"unusable window: center {self.center}, width {self.width}, {self.function}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredValues:
    """Pixels as received, and the transformations from them to the display of a viewer.

    Attributes
    ----------
    pixels
        (H, W) uint16, C-contiguous, read-only. Signed pixels are shifted by +2**15; `intercept` compensates for it.
    slope, intercept
        Modality LUT: output = slope * pixel + intercept.
    window
        Over the output of the Modality LUT.
    invert
        Whether the smallest value is displayed white (MONOCHROME1): applied once, after the window.
    caveats
        Sentences about attributes of the display that were replaced; the picture is then no ground for a negative.
    """

    pixels: NDArray[np.uint16] = field(repr=False)
    slope: float = 1.0
    intercept: float = 0.0
    window: Window
    invert: bool = False
    caveats: tuple[Sentence, ...] = ()

    def __post_init__(self) -> None:
        if self.pixels.dtype != np.uint16 or self.pixels.ndim != 2 or 0 in self.pixels.shape:
            raise ValueError(f"pixels must be a non-empty (H, W) uint16, not {self.pixels.shape} {self.pixels.dtype}")
        if not (self.slope and 1e-9 < abs(self.slope) < 1e9 and abs(self.intercept) < 1e12):
            raise ValueError(f"unusable rescale: slope {self.slope}, intercept {self.intercept}")
        self.pixels.setflags(write=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The parts of a radiograph's header that decide the analysis.

    Patient and order stay in the source data set, from which the outputs copy them.

    Attributes
    ----------
    body_part_examined
        As received, in capitals; shown to people only if `analysis.eligibility` knows the term.
    anatomic_regions
        Code meanings of the Anatomic Region Sequence, in capitals.
    anatomic_region_codes
        Code values of the Anatomic Region Sequence.
    age_years
        Age at the examination, from Patient's Age or the birth date; None where the header has neither.
    laterality, sides_disagree
        The side, from the first of three attributes that has one; whether two of them contradict each other.
    patient_orientation
        Directions of the rows and of the columns, such as ``("L", "F")``; None where the header has not both.
    has_burned_in_text
        Whether the sender says that text which identifies the patient is in the pixels (PS3.3 C.7.6.1.1.2).
    descriptions
        Free text of study, series and protocol, in capitals: it may hold a patient's name and is never shown.
    calling_ae_title
        AE title of the sender; empty for a file.
    """

    sop_instance_uid: str
    sop_class_uid: str
    study_instance_uid: str
    modality: str
    image_type: tuple[str, ...] = ()
    for_processing: bool = False
    body_part_examined: str = ""
    anatomic_regions: tuple[str, ...] = ()
    anatomic_region_codes: tuple[str, ...] = ()
    age_years: float | None = None
    laterality: Laterality = Laterality.UNKNOWN
    sides_disagree: bool = False
    view_position: str = ""
    patient_orientation: tuple[str, str] | None = None
    rows: int = 0
    columns: int = 0
    samples_per_pixel: int = 1
    number_of_frames: int = 1
    has_pixels: bool = True
    is_animal: bool = False
    is_tomogram: bool = False
    has_burned_in_text: bool = False
    station_name: str = ""
    descriptions: tuple[str, ...] = field(default=(), repr=False)
    calling_ae_title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Radiograph:
    """A projection radiograph: header and stored values."""

    header: Header
    stored: StoredValues

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the received image in px."""
        h, w = self.stored.pixels.shape
        return h, w
