"""Series, equipment and times of an answer: what tells it apart from a radiograph in any viewer's list.

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
from appliance.domain.result import Result
from appliance.domain.study import StudyResult

from .codes import BODY_PARTS
from .contributing_equipment import contributing_equipment

MANUFACTURER = "Osteon"
MODEL_NAME = "Osteon"

FIRST_SERIES_NUMBER = {"summary": 9400, "sc": 9500, "pr": 9600, "sr": 9700, "ko": 9800}
"""High, so that our series stand behind the radiographs where a viewer sorts by number."""

UNPAIRED = {Site.PELVIS, Site.SPINE}
"""Laterality is absent for these, and empty where a paired part's side is unknown (DICOM PS3.3 C.7.3.1)."""

Said = Result | StudyResult
"""What an object renders: the answer for a radiograph, or for its study."""


def series_instance_uid(source: Dataset, result: Said, kind: str) -> str:
    """One series of ours per kind, source series, site, side, software and pack: the same result, the same series.

    A later revision has one of its own, which says so, as has what is said of a study as a whole.
    """
    if isinstance(result, StudyResult):
        return document_series_uid(result.uid(kind))
    p = result.provenance
    where = text(source, "SeriesInstanceUID") or result.sop_instance_uid
    part = anatomy(source, result)  # belongs to the series, so that all of it shows the same
    what = (text(part, "BodyPartExamined"), text(part, "Laterality") if "Laterality" in part else "unpaired")
    revision = (result.revision,) if result.revision > 1 else ()
    parts = (*what, p.pack_digest, p.software_version, *revision)
    return derived_uid(result.study_instance_uid, where, *parts, kind, "series")


def document_series_uid(sop_instance_uid: str) -> str:
    """Series of the one document in it, known from the document's UID alone, as its successor needs it."""
    return derived_uid(sop_instance_uid, "series")


def series_number(source: Dataset, kind: str) -> int:
    """A number that is not the source's and not that of another kind."""
    given = text(source, "SeriesNumber")
    theirs = int(given) if given.lstrip("+-").isdecimal() else 0
    ours = FIRST_SERIES_NUMBER[kind] + theirs % 100
    return ours + 100 if ours == theirs else ours


def series_description(result: Said, what: str) -> str:
    """At most 64 characters (VR LO): what it is, a revision after the first, and of a synthetic pack that it is one."""
    mark = "SYNTHETIC " if result.provenance.pack_is_synthetic else ""
    revision = f" rev {result.revision}" if result.revision > 1 else ""
    reader = "" if mark and revision else "AI second reader, "  # there is no room for all of it
    return f"{mark}Osteon {what}{revision} - {reader}not for diagnosis"


def instance_number(source: Dataset) -> int:
    """The source's, so that answers sort as the radiographs do; 1 if it has none."""
    given = text(source, "InstanceNumber")
    return int(given) if given.isdecimal() and 0 < int(given) < 2**31 else 1


def local_time(source: Dataset, result: Said) -> datetime:
    """Return `created_at` in the zone that the source states, else in the appliance's own."""
    return read_times(source).localise(result.created_at)


def stamp(ds: Dataset, source: Dataset, result: Said, kind: str, what: str) -> Dataset:
    """Write series, equipment, times and qualification of an answer into `ds`."""
    at = local_time(source, result)
    ds.SeriesInstanceUID = series_instance_uid(source, result, kind)
    ds.SeriesNumber = series_number(source, kind)
    ds.SeriesDescription = series_description(result, what)
    ds.InstanceNumber = result.revision if isinstance(result, StudyResult) else instance_number(source)
    ds.Manufacturer = MANUFACTURER
    ds.ManufacturerModelName = MODEL_NAME
    ds.SoftwareVersions = [result.provenance.software_version[:64], result.provenance.model[:64]]
    ds.DeviceSerialNumber = result.provenance.pack_digest[:16]
    for moment in ("Content", "InstanceCreation"):
        setattr(ds, f"{moment}Date", at.strftime("%Y%m%d"))
        setattr(ds, f"{moment}Time", at.strftime("%H%M%S"))
    ds.ContentQualification = "RESEARCH"
    if equipment := contributing_equipment(source):
        ds.ContributingEquipmentSequence = equipment
    return ds


def anatomy(source: Dataset, result: Result) -> Dataset:
    """Body Part Examined and Laterality of an image's series: of what was found, since the header may be wrong.

    A side is unknown where regions have different ones, and absent where they have none. Where nothing was found
    the side that the source names is left.
    """
    made = Dataset()
    sites = {f.site for f in result.findings}
    named = {f.laterality for f in result.findings} or set(sides(source))
    if len(sites) == 1:
        made.BodyPartExamined = BODY_PARTS[next(iter(sites))]
    if not sites or sites - UNPAIRED:
        made.Laterality = next(iter(named)).value if len(named) == 1 else ""
    return made
