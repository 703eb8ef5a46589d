"""Patient, order and times of a data set, read once into the records of `appliance.domain.order`.

References
----------
DICOM PS3.3 table 10-9 (Request Attributes), table 10-18 (Issuer of Patient ID), C.7.1.1, C.7.2.1, C.12.1.1.8;
IHE Radiology TF-2, transaction RAD-8.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta, timezone

from pydicom.dataset import Dataset

from appliance.domain.order import (
    EARLIEST_ZONE,
    LATEST_ZONE,
    Examination,
    Issuer,
    Order,
    PatientIdentity,
    PersonName,
    Procedure,
    Sex,
    StudyTimes,
)
from appliance.domain.sentence import Sentence, listed

from .attributes import copied, text, word
from .dates import parse_day, parse_partial_day, parse_time

QUALIFIERS = "IssuerOfPatientIDQualifiersSequence"
REPRESENTATIONS = "AIP"
"""Alphabetic, ideographic, phonetic: the order of component groups (DICOM PS3.5 section 6.2.1.1)."""

VIEWS = frozenset({"AP", "PA", "LL", "RL", "RLD", "LLD", "RLO", "LLO"})
"""Defined terms of View Position (0018,5101) in CR and DX; other values are free text, and not shown."""


def read_examination(source: Dataset, radiographs: Iterable[Dataset] = ()) -> Examination:
    """Return patient, order, times and place of the study of `source`, and the views of its `radiographs`."""
    views = ((_trimmed(each, "SOPInstanceUID"), _read_view(each)) for each in radiographs)
    return Examination(
        patient=_read_patient(source),
        order=_read_order(source),
        times=read_times(source),
        study_id=_trimmed(source, "StudyID"),
        study_description=_trimmed(source, "StudyDescription"),
        modality=_trimmed(source, "Modality"),
        station_name=_trimmed(source, "StationName"),
        institution_name=_trimmed(source, "InstitutionName"),
        views=tuple((uid, view) for uid, view in views if view),
    )


def read_times(source: Dataset) -> StudyTimes:
    """Return day, time and zone of the study, else of its acquisition, series or content."""
    zone = _parse_zone(_trimmed(source, "TimezoneOffsetFromUTC"))
    for event in ("Study", "Acquisition", "Series", "Content"):
        if day := parse_day(word(source, f"{event}Date")):
            return StudyTimes(day=day, clock=parse_time(word(source, f"{event}Time")), zone=zone)
    return StudyTimes(zone=zone)


def _read_view(source: Dataset) -> Sentence | None:
    """Return the name of a radiograph among those of its study: view and number of the image, without any free text."""
    view, number = _trimmed(source, "ViewPosition").upper(), _trimmed(source, "InstanceNumber")
    parts = [Sentence.of("{view} view", view=view)] if view in VIEWS else []
    parts += [Sentence.of("image {number}", number=number)] if number.isdecimal() else []
    return listed(parts) if parts else None


def _read_patient(source: Dataset) -> PatientIdentity:
    sex = text(source, "PatientSex")
    return PatientIdentity(
        patient_id=_trimmed(source, "PatientID"),
        issuer=_read_issuer(source),
        names=tuple(_parse_names(text(source, "PatientName"))),
        birth_date=parse_partial_day(word(source, "PatientBirthDate")),
        sex=Sex(sex) if sex in set(Sex) else Sex.UNKNOWN,
    )


def _read_issuer(source: Dataset) -> Issuer:
    """Return the issuer of the Patient ID.

    The qualifiers may have one item only (DICOM PS3.3 table 10-18). Of several, the first OID is taken, since HL7 v2
    (HD.3 ``ISO``) and FHIR (``urn:oid:``) both can state it, else the first universal id.
    """
    items = copied(source, (QUALIFIERS,)).get(QUALIFIERS, ())
    universal = [(_trimmed(item, "UniversalEntityID"), _trimmed(item, "UniversalEntityIDType")) for item in items]
    universal = sorted((pair for pair in universal if all(pair)), key=lambda pair: pair[1] != "ISO")
    universal_id, universal_id_type = universal[0] if universal else ("", "")
    return Issuer(
        name=_trimmed(source, "IssuerOfPatientID"), universal_id=universal_id, universal_id_type=universal_id_type
    )


def _read_order(source: Dataset) -> Order:
    return Order(
        accession_number=_trimmed(source, "AccessionNumber"),
        requested_accession_number=_first_requested(source, "AccessionNumber"),
        placer_order_number=_first_requested(source, "PlacerOrderNumberImagingServiceRequest"),
        filler_order_number=_first_requested(source, "FillerOrderNumberImagingServiceRequest"),
        requested_procedure_id=_first_requested(source, "RequestedProcedureID"),
        scheduled_procedure_step_id=_first_requested(source, "ScheduledProcedureStepID"),
        procedure=_read_procedure(source),
        admission_id=_trimmed(source, "AdmissionID"),
    )


def _read_procedure(source: Dataset) -> Procedure:
    """Return the coded procedure of request or study, else its description."""
    for keyword in ("RequestedProcedureCodeSequence", "ProcedureCodeSequence"):
        for place in _requests(source):
            for item in copied(place, (keyword,)).get(keyword, ()):
                if meaning := _trimmed(item, "CodeMeaning"):
                    scheme = _trimmed(item, "CodingSchemeDesignator")
                    return Procedure(meaning=meaning, code=_trimmed(item, "CodeValue"), scheme=scheme)
    described = _first_requested(source, "RequestedProcedureDescription") or _trimmed(source, "StudyDescription")
    return Procedure(meaning=described or "Radiograph")


def _requests(source: Dataset) -> list[Dataset]:
    """Return the requests, then the data set itself, which holds the same attributes in older objects."""
    return [*copied(source, ("RequestAttributesSequence",)).get("RequestAttributesSequence", ()), source]


def _first_requested(source: Dataset, keyword: str) -> str:
    return next((value for place in _requests(source) if (value := _trimmed(place, keyword))), "")


def _trimmed(source: Dataset, keyword: str) -> str:
    """Return the text; empty if no character of it can be seen."""
    value = text(source, keyword).strip()
    return value if any(map(str.isprintable, value)) else ""


def _parse_names(value: str) -> list[tuple[str, PersonName]]:
    """Return the component groups that are not blank, with their representation."""
    names = []
    for representation, group in zip(REPRESENTATIONS, value.split("="), strict=False):
        components = [component.strip() for component in group.split("^")[:5]]
        if any(components):
            family, given, middle, prefix, suffix = components + [""] * (5 - len(components))
            name = PersonName(family=family, given=given, middle=middle, prefix=prefix, suffix=suffix)
            names.append((representation, name))
    return names


def _parse_zone(value: str) -> timezone | None:
    """Return the zone of ``+hhmm`` or ``-hhmm``; None if it is no offset of the range that DICOM allows."""
    if len(value) != 5 or value[0] not in "+-" or not (value[1:].isascii() and value[1:].isdecimal()):
        return None
    hours, minutes = int(value[1:3]), int(value[3:])
    offset = timedelta(hours=hours, minutes=minutes) * (-1 if value[0] == "-" else 1)
    return timezone(offset) if minutes < 60 and EARLIEST_ZONE <= offset <= LATEST_ZONE else None
