"""Patient, order and times of a study, as one of its radiographs states them.

`appliance.dicom.reading.order` makes these records from a data set; HL7 and FHIR render them. Texts are decoded and
trimmed, and a fact that the radiograph lacks or garbles is empty: a report is made from the rest.

References
----------
DICOM PS3.3 C.7.1.1 (Patient), C.7.2.1 (General Study), C.7.2.2 (Patient Study), table 10-9 (Request Attributes).
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass, field, fields
from datetime import date, datetime, time, timedelta, timezone
from enum import StrEnum

from .sentence import Sentence

EARLIEST_ZONE, LATEST_ZONE = timedelta(hours=-12), timedelta(hours=14)
"""Range of Timezone Offset From UTC (DICOM PS3.3 C.12.1.1.8)."""


class Sex(StrEnum):
    """Patient's Sex (0010,0040), DICOM PS3.3 C.7.1.1."""

    MALE = "M"
    FEMALE = "F"
    OTHER = "O"
    UNKNOWN = ""


def _check_trimmed(record: object) -> None:
    """Raise ValueError if a text has space around it: "A1" and "A1 " are one number, and must compare so."""
    for each in fields(record):  # type: ignore[arg-type]  # every caller is a dataclass
        value = getattr(record, each.name)
        if isinstance(value, str) and value != value.strip():
            raise ValueError(f"{type(record).__name__}.{each.name} has space around it")


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonName:
    """One component group of a person's name (DICOM PS3.5 section 6.2.1, VR PN).

    Raises
    ------
    ValueError
        If every component is empty.
    """

    family: str = ""
    given: str = ""
    middle: str = ""
    prefix: str = ""
    suffix: str = ""

    def __post_init__(self) -> None:
        _check_trimmed(self)
        if not any(self.components):
            raise ValueError("a name has at least one component")

    @property
    def components(self) -> tuple[str, str, str, str, str]:
        """Components in DICOM's order: family, given, middle, prefix, suffix."""
        return self.family, self.given, self.middle, self.prefix, self.suffix


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """Authority that assigned the Patient ID (DICOM PS3.3 table 10-18, Issuer of Patient ID Macro).

    Attributes
    ----------
    name
        Issuer of Patient ID (0010,0021), a name known within the hospital.
    universal_id, universal_id_type
        Universal Entity ID (0040,0032) and its type, for example ``ISO`` for an OID; both or neither.

    Raises
    ------
    ValueError
        If only one of `universal_id` and `universal_id_type` is set.
    """

    name: str = ""
    universal_id: str = ""
    universal_id_type: str = ""

    def __post_init__(self) -> None:
        _check_trimmed(self)
        if bool(self.universal_id) != bool(self.universal_id_type):
            raise ValueError("a universal entity id and its type come together (DICOM PS3.3 table 10-18)")

    @property
    def oid(self) -> str:
        """The universal id if it is an OID, else empty."""
        return self.universal_id if self.universal_id_type == "ISO" else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialDate:
    """A day of the calendar of which the day, or month and day, may be unknown.

    Attributes
    ----------
    month, day
        0 where unknown.

    Raises
    ------
    ValueError
        If there is no such year, month or day.
    """

    year: int
    month: int = 0
    day: int = 0

    def __post_init__(self) -> None:
        date(self.year, self.month or 1, self.day or 1)
        if self.day and not self.month:
            raise ValueError("a day without its month")

    def __str__(self) -> str:
        """Return the date in ISO 8601 as far as it is known: ``1970-01-31``, ``1970-01`` or ``1970``."""
        known = [f"{self.year:04}", *(f"{part:02}" for part in (self.month, self.day) if part)]
        return "-".join(known)

    @property
    def earliest(self) -> date:
        """Earliest possible day."""
        return date(self.year, self.month or 1, self.day or 1)

    @property
    def latest(self) -> date:
        """Latest possible day, which gives the least age."""
        month = self.month or 12
        return date(self.year, month, self.day or monthrange(self.year, month)[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientIdentity:
    """The patient.

    Attributes
    ----------
    patient_id
        Patient ID (0010,0020); empty for a patient without one.
    names
        By representation, PS3.5 section 6.2.1.1: ``A`` alphabetic, ``I`` ideographic, ``P`` phonetic; absent ones are
        left out.
    birth_date
        As far as it is known, else None.
    """

    patient_id: str = ""
    issuer: Issuer = Issuer()
    names: tuple[tuple[str, PersonName], ...] = field(default=(), repr=False)
    birth_date: PartialDate | None = field(default=None, repr=False)
    sex: Sex = Sex.UNKNOWN

    def __post_init__(self) -> None:
        _check_trimmed(self)
        representations = [representation for representation, _ in self.names]
        if representations != sorted(set(representations)) or not set(representations) <= set("AIP"):
            raise ValueError(
                f"representations of a name are A, I and P, each once and in this order: {representations}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Procedure:
    """The requested procedure; code and scheme are empty where the radiograph only describes it."""

    meaning: str
    code: str = ""
    scheme: str = ""

    def __post_init__(self) -> None:
        _check_trimmed(self)
        if not self.meaning:
            raise ValueError("a procedure has a meaning")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The order that the study was made for.

    Numbers of the order stand in the Request Attributes Sequence (table 10-9); older objects have them in the data set.

    Attributes
    ----------
    accession_number
        Of the study (C.7.2.1).
    requested_accession_number
        Of the first request that has one (table 10-9), else of the study: several orders may share a study.
    placer_order_number, filler_order_number
        Of the imaging service request: (0040,2016) and (0040,2017).
    """

    accession_number: str = ""
    requested_accession_number: str = ""
    placer_order_number: str = ""
    filler_order_number: str = ""
    requested_procedure_id: str = ""
    scheduled_procedure_step_id: str = ""
    procedure: Procedure = Procedure(meaning="Radiograph")
    admission_id: str = ""

    def __post_init__(self) -> None:
        _check_trimmed(self)

    def contradicts(self, other: Order) -> bool:
        """Return whether a number that both orders have differs: a correction may name another patient's order."""
        pairs = (
            (self.placer_order_number, other.placer_order_number),
            (self.filler_order_number, other.filler_order_number),
            (self.requested_accession_number, other.requested_accession_number),
        )
        return any(one and two and one != two for one, two in pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyTimes:
    """Day and time of the examination, and the zone of every time in its objects.

    Attributes
    ----------
    day, clock
        None where the radiograph does not state them; a time without minutes is none.
    zone
        Timezone Offset From UTC (0008,0201), None where the radiograph states none.

    Raises
    ------
    ValueError
        If the zone is outside `EARLIEST_ZONE` to `LATEST_ZONE`.
    """

    day: date | None = None
    clock: time | None = None
    zone: timezone | None = None

    def __post_init__(self) -> None:
        if self.zone is not None and not EARLIEST_ZONE <= self.zone.utcoffset(None) <= LATEST_ZONE:
            raise ValueError(f"no zone of DICOM: {self.zone}")

    def localise(self, moment: datetime) -> datetime:
        """Return `moment` in the zone of the study, else in the appliance's own.

        Dates and times of an object share one zone (DICOM PS3.3 C.12.1.1.8), and Study Time is the source's.
        """
        return moment.astimezone(self.zone)

    def examined_at(self, moment: datetime) -> datetime | date | None:
        """Return the time of the examination in the zone of ``localise(moment)``, the day alone, or None."""
        if self.day is None or self.clock is None:
            return self.day
        return datetime.combine(self.day, self.clock, tzinfo=self.localise(moment).tzinfo)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """Patient, order, times and place of a study: all that a report needs beside the result.

    Attributes
    ----------
    views
        SOP Instance UID and view of each radiograph that states one, for example ``PA view, image 2``.
    """

    patient: PatientIdentity = PatientIdentity()
    order: Order = Order()
    times: StudyTimes = StudyTimes()
    study_id: str = ""
    study_description: str = ""
    modality: str = ""
    station_name: str = ""
    institution_name: str = ""
    views: tuple[tuple[str, Sentence], ...] = ()

    def __post_init__(self) -> None:
        _check_trimmed(self)
