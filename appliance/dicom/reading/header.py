"""The header of a radiograph, from every attribute where modalities write it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydicom.dataset import Dataset
from pydicom.uid import DigitalXRayImageStorageForProcessing

from appliance.domain.identifiers import Laterality
from appliance.domain.radiograph import Header

from .attributes import items, number, text, whole, word, words
from .dates import parse_partial_day
from .order import read_times

SIDE_CODES = {
    "7771000": Laterality.LEFT,
    "24028007": Laterality.RIGHT,
    "G-A101": Laterality.LEFT,
    "G-A100": Laterality.RIGHT,
}
"""Anatomic Region Modifier: Left and Right, SNOMED CT and its older SRT codes (DICOM PS3.16 CID 244)."""

VIEW_POSITIONS = {
    "ANTERO-POSTERIOR": "AP",
    "POSTERO-ANTERIOR": "PA",
    "LEFT LATERAL": "LL",
    "RIGHT LATERAL": "RL",
    "LEFT POSTERIOR OBLIQUE": "LPO",
    "RIGHT POSTERIOR OBLIQUE": "RPO",
    "LEFT ANTERIOR OBLIQUE": "LAO",
    "RIGHT ANTERIOR OBLIQUE": "RAO",
}
"""Code meanings of the View Code Sequence (DICOM PS3.16 CID 4010) as View Position (0018,5101) writes them."""

HUMAN = ("HUMAN", "HOMO SAPIENS")
"""Values of Patient Species Description (0010,2201) that mean a human patient."""

HUMAN_CODES = {"337915000", "L-85B00"}
"""Homo sapiens in SNOMED CT and its older SRT (DICOM PS3.16 CID 7454)."""

DAYS_PER_YEAR = 365.25
YEARS_PER_UNIT = {"D": 1 / DAYS_PER_YEAR, "W": 7 / DAYS_PER_YEAR, "M": 1 / 12, "Y": 1.0}
"""Units of an Age String (DICOM PS3.5 table 6.2-1)."""

DESCRIPTIONS = ("StudyDescription", "SeriesDescription", "ProtocolName", "PerformedProcedureStepDescription")
"""Free texts that may name the body part."""


def header(ds: Dataset, calling_ae_title: str = "") -> Header:
    """Read the header of `ds` without decoding pixels; an attribute that is unreadable counts as absent."""
    named_sides = list(sides(ds))
    return Header(
        sop_instance_uid=text(ds, "SOPInstanceUID").strip(),
        sop_class_uid=text(ds, "SOPClassUID").strip(),
        study_instance_uid=text(ds, "StudyInstanceUID").strip(),
        modality=word(ds, "Modality"),
        image_type=tuple(words(ds, "ImageType")),
        for_processing=_capitals(ds, "PresentationIntentType") == "FOR PROCESSING"
        or text(ds, "SOPClassUID").strip() == DigitalXRayImageStorageForProcessing,
        body_part_examined=_capitals(ds, "BodyPartExamined"),
        anatomic_regions=tuple(_meanings(ds, "AnatomicRegionSequence")),
        anatomic_region_codes=tuple(_codes(ds, "AnatomicRegionSequence")),
        age_years=age_years(ds),
        laterality=named_sides[0] if len(set(named_sides)) == 1 else Laterality.UNKNOWN,
        sides_disagree=len(set(named_sides)) > 1,
        view_position=_view_position(ds),
        patient_orientation=_patient_orientation(ds),
        rows=whole(ds, "Rows"),
        columns=whole(ds, "Columns"),
        samples_per_pixel=whole(ds, "SamplesPerPixel", 1),
        number_of_frames=whole(ds, "NumberOfFrames", 1),
        has_pixels=bool(ds.get("PixelData")),
        is_animal=_is_animal(ds),
        has_burned_in_text=_capitals(ds, "BurnedInAnnotation") == "YES",
        is_tomogram=bool(word(ds, "TomoType"))
        or any(abs(number(ds, keyword) or 0) > 0 for keyword in ("TomoLayerHeight", "TomoAngle")),
        station_name=_capitals(ds, "StationName"),
        descriptions=tuple(named for keyword in DESCRIPTIONS if (named := _capitals(ds, keyword))),
        calling_ae_title=calling_ae_title,
    )


def age_years(ds: Dataset) -> float | None:
    """Return the age at the examination from Patient's Age (0010,1010), else from birth and study date, else None.

    If only year or month of birth are known, this is the least possible age.
    """
    age = _capitals(ds, "PatientAge")
    if re.fullmatch(r"\d{1,3}[DWMY]", age):
        return int(age[:-1]) * YEARS_PER_UNIT[age[-1]]
    born, examined = parse_partial_day(word(ds, "PatientBirthDate")), read_times(ds).day
    if born is None or examined is None:
        return None
    days = (examined - born.latest).days
    if days < 0 and (examined - born.earliest).days >= 0:
        return 0.0
    return days / DAYS_PER_YEAR if days >= 0 else None


def _is_animal(ds: Dataset) -> bool:
    """Return whether the data set names a species other than human (DICOM PS3.3 C.7.1.1)."""
    description = _capitals(ds, "PatientSpeciesDescription")
    codes = {code for code in _codes(ds, "PatientSpeciesCodeSequence") if code}
    return bool((description and description not in HUMAN) or (codes and not codes & HUMAN_CODES))


def _capitals(ds: Dataset, keyword: str) -> str:
    return " ".join(words(ds, keyword)).strip()


def _meanings(ds: Dataset, keyword: str) -> Iterator[str]:
    return (_capitals(item, "CodeMeaning") for item in items(ds, keyword))


def _codes(ds: Dataset, keyword: str) -> Iterator[str]:
    return (_capitals(item, "CodeValue") for item in items(ds, keyword))


def sides(ds: Dataset) -> Iterator[Laterality]:
    """Yield the side of the image, of the series and of each coded region, as far as they are given.

    An image of both sides has none, whatever its series says.

    References
    ----------
    DICOM PS3.3 C.8.11.1 (Image Laterality), C.7.3.1 (Laterality), table 8-5a (Anatomic Region Modifier).
    """
    if _capitals(ds, "ImageLaterality") == "B":
        return
    for keyword in ("ImageLaterality", "Laterality"):
        if (side := _capitals(ds, keyword)) in ("L", "R"):
            yield Laterality(side)
    for region in items(ds, "AnatomicRegionSequence"):
        for code in _codes(region, "AnatomicRegionModifierSequence"):
            if code in SIDE_CODES:
                yield SIDE_CODES[code]


def _view_position(ds: Dataset) -> str:
    coded = (VIEW_POSITIONS.get(meaning, "") for meaning in _meanings(ds, "ViewCodeSequence"))
    return _capitals(ds, "ViewPosition") or next(coded, "")


def _patient_orientation(ds: Dataset) -> tuple[str, str] | None:
    """Return the directions of rows and columns (DICOM PS3.3 C.7.6.1.1.1); None unless there are both."""
    directions = words(ds, "PatientOrientation")
    return (directions[0], directions[1]) if len(directions) == 2 and all(directions) else None
