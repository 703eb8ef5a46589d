"""What every message of ours has: header, patient, and the fields that the site wants otherwise.

References
----------
HL7 v2.5.1 ch. 2.14.9 (MSH), 3.4.2 (PID), 3.4.3 (PV1); tables 0001, 0103, 0155, 0203. IHE Radiology TF-2 RAD-4.
"""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.valuerep import PersonName

from appliance.config import Hl7Destination
from appliance.dicom.objects.patient_study import copied, text
from appliance.dicom.objects.series import local_time
from appliance.domain.identifiers import derived_uuid
from appliance.domain.study import StudyResult
from appliance.field_map import fill_template

from .message import TIMESTAMP, Segment, carries, escape, identifier
from .values import values_of

LONGEST_NAME_COMPONENT = 64
"""A valid DICOM name has no longer one (PS3.5 section 6.2, PN); what is longer is cut, never the message."""

ACKNOWLEDGEMENTS = {"original": ("", ""), "accept": ("AL", "NE"), "both": ("AL", "AL")}
"""MSH-15 and MSH-16 of table 0155: always, never; empty is the original mode (HL7 v2.5.1 section 2.9.2)."""


def control_id(study: StudyResult, kind: str = "oru") -> str:
    """MSH-10: at most 20 characters, and the same for the same message."""
    return derived_uuid(study.uid(kind)).replace("-", "")[:20]


def header(study: StudyResult, source: Dataset, profile: Hl7Destination, message: str, kind: str) -> Segment:
    """MSH. The offset of MSH-7 is that of every time in the message which states none (section 2.14.9.7)."""
    names = (
        profile.sending_application,
        profile.sending_facility,
        profile.receiving_application,
        profile.receiving_facility,
    )
    if profile.version == "2.3.1":  # IHE has two components then
        message = message.rsplit("^", 1)[0]
    mode = "T" if study.provenance.pack_is_synthetic else "P"  # MSH-11: training, production
    at = local_time(source, study).strftime(TIMESTAMP)
    return [
        "MSH", "^~\\&", *map(escape, names), at, "", message, control_id(study, kind), mode, profile.version,
        "", "", *ACKNOWLEDGEMENTS[profile.acknowledgement], "", profile.character_set,
    ]  # fmt: skip


def patient(source: Dataset, profile: Hl7Destination) -> Segment:
    """PID: number, names, birth date and sex of the source."""
    sex, birth = text(source, "PatientSex"), text(source, "PatientBirthDate")
    return [
        "PID", "1", "", _number(source, profile.character_set), "",
        _names(source, profile.character_set) or "^^^^^^U", "",
        birth if len(birth) == 8 and birth.isdecimal() else "",
        sex if sex in ("M", "F", "O") else "U",
    ]  # fmt: skip


def _number(source: Dataset, character_set: str) -> str:
    """PID-3, CX: identifier, assigning authority, identifier type.

    It is required. Without one in the source stands the study's UID, which is no other patient's number.
    """
    if not text(source, "PatientID"):
        return f"{text(source, 'StudyInstanceUID')}^^^OSTEON^U"
    universal, kind = "", ""
    for item in copied(source, ("IssuerOfPatientIDQualifiersSequence",)).get("IssuerOfPatientIDQualifiersSequence", []):
        universal, kind = text(item, "UniversalEntityID"), text(item, "UniversalEntityIDType")
    authority = (text(source, "IssuerOfPatientID"), universal, kind)
    number, *parts = (identifier(v, character_set) for v in (text(source, "PatientID"), *authority))
    return f"{number}^^^{'&'.join(parts).rstrip('&')}^MR"


def _names(source: Dataset, character_set: str) -> str:
    """PID-5, XPN: one repetition per group of the DICOM name, with its representation (table 4000).

    A group in a script that the character set has not got is left out where another can be read.
    """
    name = PersonName(text(source, "PatientName"))
    groups = [g for g in zip(str(name).split("=")[:3], "AIP", strict=False) if g[0].strip("^ ")]
    legible = [g for g in groups if carries(g[0], character_set)]
    return "~".join(_xpn(group, code) for group, code in legible or groups[:1])


def _xpn(group: str, representation: str) -> str:
    parts = [escape(part[:LONGEST_NAME_COMPONENT]) for part in group.split("^")[:5]]
    family, given, middle, prefix, suffix = parts + [""] * (5 - len(parts))
    return f"{family}^{given}^{middle}^{suffix}^{prefix}^^L^{representation}"


def fill(segments: list[Segment], study: StudyResult, source: Dataset, profile: Hl7Destination) -> list[Segment]:
    """The segments with the fields of `profile.map`; PV1 and the site's own segments are made where it names them."""
    values = values_of(study, source, profile)
    made = [list(segment) for segment in segments]
    for field, template in profile.map:
        name, _, number = field.partition("-")
        if not any(segment[0] == name for segment in made):
            if name == "PV1":
                made.insert(2, ["PV1", "1"])
            elif name.startswith("Z"):
                made.append([name])
        for segment in made:
            if segment[0] == name:
                index = int(number) - (name == "MSH")
                segment.extend([""] * (index + 1 - len(segment)))
                segment[index] = fill_template(template, values)
    return made
