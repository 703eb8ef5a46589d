"""Segments of every message (header and patient), and the fields that the site maps itself.

References
----------
HL7 v2.5.1 ch. 2.14.9 (MSH), 3.4.2 (PID), 3.4.3 (PV1); tables 0001, 0103, 0155, 0203. IHE Radiology TF-2 RAD-4.
"""

from __future__ import annotations

from appliance.config import Hl7Destination
from appliance.domain.identifiers import derived_uuid
from appliance.domain.order import Examination, PatientIdentity, PersonName
from appliance.domain.study import StudyResult
from appliance.field_map import fill_template

from .message import TIMESTAMP, Segment, carries, escape, identifier
from .values import values_of

LONGEST_NAME_COMPONENT = 64
"""Characters of a component of a valid DICOM name (PS3.5 section 6.2, PN); a longer one is cut, never the message."""

LONGEST_NAMESPACE = 20
"""Characters of HD.1 (HL7 v2.5.1 section 2.A.33)."""

LOCAL = "L"
"""HD.3 of a universal id that the site has defined itself (table 0301)."""

UNSPECIFIED_NAME = "^^^^^^U"
"""PID-5 for a patient without a legible name: XPN with the name type ``U``, unspecified (table 0200)."""

ACKNOWLEDGEMENTS = {"original": ("", ""), "accept": ("AL", "NE"), "both": ("AL", "AL")}
"""MSH-15 and MSH-16 of table 0155: always, never; empty is the original mode (HL7 v2.5.1 section 2.9.2)."""


def control_id(study: StudyResult, kind: str = "oru") -> str:
    """Return MSH-10: at most 20 characters, and the same for the same message."""
    return derived_uuid(study.uid(kind)).replace("-", "")[:20]


def header(
    study: StudyResult, examination: Examination, profile: Hl7Destination, message_type: str, kind: str
) -> Segment:
    """Return MSH. The offset of MSH-7 holds for every time in the message without one (section 2.14.9.7)."""
    names = (
        profile.sending_application,
        profile.sending_facility,
        profile.receiving_application,
        profile.receiving_facility,
    )
    if profile.version == "2.3.1":  # IHE uses two components of MSH-9 there
        message_type = message_type.rsplit("^", 1)[0]
    mode = "T" if study.provenance.pack_is_synthetic else "P"  # MSH-11: training, production
    language = "" if profile.language == "en" else profile.language  # MSH-19, ISO 639; English where it is empty
    sent_at = examination.times.localise(study.created_at).strftime(TIMESTAMP)
    return [
        "MSH", "^~\\&", *map(escape, names), sent_at, "", message_type, control_id(study, kind), mode, profile.version,
        "", "", *ACKNOWLEDGEMENTS[profile.acknowledgement], "", profile.character_set, language,
    ]  # fmt: skip


def patient_segment(study: StudyResult, patient: PatientIdentity, profile: Hl7Destination) -> Segment:
    """Return PID with number, names, birth date and sex."""
    return [
        "PID", "1", "", _patient_identifier(study, patient, profile.character_set), "",
        _patient_names(patient, profile.character_set) or UNSPECIFIED_NAME, "",
        str(patient.birth_date or "").replace("-", ""),
        patient.sex or "U",
    ]  # fmt: skip


def _patient_identifier(study: StudyResult, patient: PatientIdentity, character_set: str) -> str:
    """Return PID-3, CX: identifier, assigning authority, identifier type.

    PID-3 is required. A patient without a number gets the UID of the study, which no other patient has.
    """
    if not patient.patient_id:
        return f"{study.study_instance_uid}^^^OSTEON^U"
    issuer = patient.issuer
    authority = (issuer.name, issuer.universal_id, issuer.universal_id_type)  # HD, section 2.A.33
    number, *parts = (identifier(value, character_set) for value in (patient.patient_id, *authority))
    name, universal_id, _ = parts
    if len(name) > LONGEST_NAMESPACE:
        parts = ["", *parts[1:]] if universal_id else ["", name, LOCAL]
    return f"{number}^^^{'&'.join(parts).rstrip('&')}^MR"


def _patient_names(patient: PatientIdentity, character_set: str) -> str:
    """Return PID-5, XPN: one repetition for each representation of the name (table 4000).

    A representation in a script that the character set lacks is left out, unless it is the only one.
    """
    legible = [(code, name) for code, name in patient.names if carries("".join(name.components), character_set)]
    return "~".join(_name_repetition(name, code) for code, name in legible or patient.names[:1])


def _name_repetition(name: PersonName, representation: str) -> str:
    family, given, middle, prefix, suffix = (escape(part[:LONGEST_NAME_COMPONENT]) for part in name.components)
    return f"{family}^{given}^{middle}^{suffix}^{prefix}^^L^{representation}"


def fill_mapped_fields(
    segments: list[Segment], study: StudyResult, examination: Examination, profile: Hl7Destination
) -> list[Segment]:
    """Return the segments with the fields of `profile.map`; PV1 and Z segments are added where the map names them."""
    values = values_of(study, examination, profile)
    made = [list(segment) for segment in segments]
    for mapped, template in profile.map:
        name, _, number = mapped.partition("-")
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
