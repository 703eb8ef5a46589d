"""Values of the names in a site's templates, escaped for HL7."""

from __future__ import annotations

from appliance.config import Hl7Destination
from appliance.domain.identifiers import derived_uuid
from appliance.domain.order import Examination
from appliance.domain.study import StudyResult
from appliance.words import language

from .message import TIMESTAMP, escape, identifier


def filler_number(study_instance_uid: str) -> str:
    """OBR-3.1: our own number for the reading of a study, the same for every revision and every pack.

    Fifteen characters, so that with our name as its authority it keeps to the 22 of EI (HL7 v2.3.1 section 4.3.2.3).
    """
    return derived_uuid(study_instance_uid, "order").replace("-", "")[:15]


def values_of(study: StudyResult, examination: Examination, profile: Hl7Destination) -> dict[str, str]:
    """Return the value of each name of `appliance.field_map.VALUES`.

    Raises
    ------
    Rejected
        ``oru_characters``: the profile's character set cannot carry one of the numbers, see `identifier`.
    """
    patient, order, times = examination.patient, examination.order, examination.times
    numbers = {
        "accession_number": order.requested_accession_number,
        "placer_order_number": order.placer_order_number,
        "filler_order_number": order.filler_order_number,
        "requested_procedure_id": order.requested_procedure_id,
        "scheduled_procedure_step_id": order.scheduled_procedure_step_id,
        "study_id": examination.study_id,
        "patient_id": patient.patient_id,
        "issuer_of_patient_id": patient.issuer.name,
        "admission_id": order.admission_id,
    }
    texts = {
        "study_description": examination.study_description,
        "study_date": times.day.strftime("%Y%m%d") if times.day else "",
        "study_time": times.clock.strftime("%H%M%S") if times.clock else "",
        "modality": examination.modality,
        "station_name": examination.station_name,
        "institution_name": examination.institution_name,
        "answer": language(profile.language).say(study.answer.label),
        "model": study.provenance.model,
        "software_version": study.provenance.software_version,
    }
    return {
        **{name: identifier(number, profile.character_set) for name, number in numbers.items()},
        **{name: escape(text) for name, text in texts.items()},
        "filler_number": filler_number(study.study_instance_uid),
        "study_instance_uid": study.study_instance_uid,
        "radiographs": str(len(study.results)),
        "revision": str(study.revision),
        "created_at": times.localise(study.created_at).strftime(TIMESTAMP),
    }
