"""Series, equipment and times of the objects that we make: they set them apart from radiographs in every viewer.

References
----------
DICOM PS3.3 C.7.3.1 (General Series), C.7.5.1 (General Equipment), C.12.1 (SOP Common).
"""

from __future__ import annotations

from datetime import datetime

from pydicom.dataset import Dataset

from appliance.dicom.reading.attributes import text
from appliance.dicom.reading.header import sides
from appliance.dicom.reading.order import read_times
from appliance.domain.identifiers import Site, derived_uid
from appliance.domain.result import UNDER_EVALUATION, Result
from appliance.domain.sentence import Sentence
from appliance.domain.study import StudyResult
from appliance.words import ENGLISH, Language

from .codes import BODY_PARTS
from .contributing_equipment import MANUFACTURER as MANUFACTURER
from .contributing_equipment import MODEL_NAME as MODEL_NAME
from .contributing_equipment import contributing_equipment

FIRST_SERIES_NUMBER = {"summary": 9400, "sc": 9500, "pr": 9600, "sr": 9700, "ko": 9800}
"""First Series Number by kind; high, so that viewers that sort by number list our series after the radiographs."""

UNPAIRED = {Site.PELVIS, Site.SPINE}
"""Sites without a side: Laterality is absent for them, and empty for others if unknown (DICOM PS3.3 C.7.3.1)."""

AnyResult = Result | StudyResult
"""Content of an object: the result of a radiograph, or of its study."""


def series_instance_uid(source: Dataset, result: AnyResult, kind: str) -> str:
    """Return the UID of our series: one for each kind, source series, site, side, software, pack and revision.

    `kind` names the language, if it is not English (`Language.kind`).

    Each object of a whole study has a series of its own.
    """
    if isinstance(result, StudyResult):
        return document_series_uid(result.uid(kind))
    p = result.provenance
    source_series = text(source, "SeriesInstanceUID") or result.sop_instance_uid
    part = anatomy(source, result)  # attributes of the series, so all its images must share them
    where_in_body = (text(part, "BodyPartExamined"), text(part, "Laterality") if "Laterality" in part else "unpaired")
    revision = (result.revision,) if result.revision > 1 else ()
    parts = (*where_in_body, p.pack_digest, p.software_version, *revision)
    return derived_uid(result.study_instance_uid, source_series, *parts, kind, "series")


def document_series_uid(sop_instance_uid: str) -> str:
    """Return the UID of the series of one document, from the document's UID alone: its successor knows no more."""
    return derived_uid(sop_instance_uid, "series")


def series_number(source: Dataset, kind: str) -> int:
    """Return a Series Number that differs from that of the source and from those of other kinds."""
    given = text(source, "SeriesNumber")
    source_number = int(given) if given.lstrip("+-").isdecimal() else 0
    number = FIRST_SERIES_NUMBER[kind] + source_number % 100
    return number + 100 if number == source_number else number


TITLES = {
    "heat map": Sentence.of("heat map"),
    "summary": Sentence.of("summary"),
    "regions": Sentence.of("regions"),
    "report": Sentence.of("report"),
    "key views": Sentence.of("key views"),
    "rejection": Sentence.of("rejection"),
}
"""Names of our objects in a Series Description."""


NOT_FOR_DIAGNOSIS = Sentence.of("not for diagnosis")

LONGEST = 64
"""Longest Series Description (VR LO), in characters."""


def evaluation_warning(language: Language) -> str:
    """Return the short text of an evaluation for attributes of VR LO."""
    return f"{language.say(UNDER_EVALUATION)}, {language.say(NOT_FOR_DIAGNOSIS)}"


def series_description(result: AnyResult, title: str, language: Language = ENGLISH) -> str:
    """Return Series Description, at most 64 characters (VR LO): the object, its revision, and marks."""
    mark = "SYNTHETIC " if result.provenance.pack_is_synthetic else ""
    numbered = language.say(Sentence.of("rev {revision}", revision=result.revision))
    revision = f" {numbered}" if result.revision > 1 else ""
    begin = f"{mark}Osteon {language.say(TITLES[title])}{revision} - "
    if result.is_evaluation:
        warning = evaluation_warning(language)
        return begin + (warning if len(begin + warning) <= LONGEST else language.say(UNDER_EVALUATION))
    reader = Sentence.of("AI second reader, not for diagnosis")
    if mark and revision:  # no room for all three
        reader = NOT_FOR_DIAGNOSIS
    return begin + language.say(reader)


def instance_number(source: Dataset) -> int:
    """Return the Instance Number of the source, so that our objects sort as the radiographs do; 1 if it has none."""
    given = text(source, "InstanceNumber")
    return int(given) if given.isdecimal() and 0 < int(given) < 2**31 else 1


def local_time(source: Dataset, result: AnyResult) -> datetime:
    """Return `created_at` in the time zone of the source, or in that of the appliance if the source names none."""
    return read_times(source).localise(result.created_at)


def stamp(
    ds: Dataset, source: Dataset, result: AnyResult, kind: str, title: str, language: Language = ENGLISH
) -> Dataset:
    """Write series, equipment, times and Content Qualification of an object into `ds`, and return it."""
    at = local_time(source, result)
    ds.SeriesInstanceUID = series_instance_uid(source, result, language.kind(kind))
    ds.SeriesNumber = series_number(source, kind)
    ds.SeriesDescription = series_description(result, title, language)
    ds.InstanceNumber = result.revision if isinstance(result, StudyResult) else instance_number(source)
    ds.Manufacturer = MANUFACTURER
    ds.ManufacturerModelName = MODEL_NAME
    ds.SoftwareVersions = [result.provenance.software_version[:64], result.provenance.model[:64]]
    ds.DeviceSerialNumber = result.provenance.pack_digest[:16]
    for moment in ("Content", "InstanceCreation"):
        setattr(ds, f"{moment}Date", at.strftime("%Y%m%d"))
        setattr(ds, f"{moment}Time", at.strftime("%H%M%S"))
    ds.ContentQualification = "RESEARCH"
    ds.ContributingEquipmentSequence = contributing_equipment(source, result.provenance)
    return ds


def anatomy(source: Dataset, result: Result) -> Dataset:
    """Return Body Part Examined and Laterality of the series, from the findings, since the header may be wrong.

    Laterality is empty if regions have different sides, and absent if all are unpaired: a picture shows both sides of a
    pelvis, even if the suspicion has one. Without findings it is the side that the source names. Where a site is
    uncertain, there is no body part, and Laterality is empty.
    """
    made = Dataset()
    if not all(f.site_is_certain for f in result.findings):
        made.Laterality = ""
        return made
    sites = {f.site for f in result.findings}
    named = {f.laterality for f in result.findings} or set(sides(source))
    if len(sites) == 1:
        made.BodyPartExamined = BODY_PARTS[next(iter(sites))]
    if not sites or sites - UNPAIRED:
        made.Laterality = next(iter(named)).value if len(named) == 1 else ""
    return made
