"""What the names in a site's templates stand for, escaped for HL7."""

from __future__ import annotations

from pydicom.dataset import Dataset

from appliance.config import Hl7Destination
from appliance.dicom.objects.patient_study import text
from appliance.dicom.objects.series import local_time
from appliance.domain.identifiers import derived_uuid
from appliance.domain.study import StudyResult

from .message import TIMESTAMP, escape, identifier
from .requests import FILLER, PLACER, requested

NUMBERS = {
    "accession_number": "AccessionNumber",
    "placer_order_number": PLACER,
    "filler_order_number": FILLER,
    "requested_procedure_id": "RequestedProcedureID",
    "scheduled_procedure_step_id": "ScheduledProcedureStepID",
    "study_id": "StudyID",
    "patient_id": "PatientID",
    "issuer_of_patient_id": "IssuerOfPatientID",
    "admission_id": "AdmissionID",
}
"""Identifiers: the source's to the letter, or no message."""

TEXTS = {
    "study_description": "StudyDescription",
    "study_date": "StudyDate",
    "study_time": "StudyTime",
    "modality": "Modality",
    "station_name": "StationName",
    "institution_name": "InstitutionName",
}


def filler_number(study_instance_uid: str) -> str:
    """OBR-3.1: our own number for the reading of a study, the same for every revision and every pack.

    Fifteen characters, so that with our name as its authority it keeps to the 22 of EI (HL7 v2.3.1 section 4.3.2.3).
    """
    return derived_uuid(study_instance_uid, "order").replace("-", "")[:15]


def values_of(study: StudyResult, source: Dataset, profile: Hl7Destination) -> dict[str, str]:
    """Each of `appliance.field_map.VALUES`.

    Raises
    ------
    Rejected
        ``oru_characters``, see `identifier`.
    """
    numbers = {name: identifier(requested(source, k), profile.character_set) for name, k in NUMBERS.items()}
    texts = {name: escape(text(source, k)) for name, k in TEXTS.items()}
    return {
        **numbers,
        **texts,
        "filler_number": filler_number(study.study_instance_uid),
        "study_instance_uid": study.study_instance_uid,
        "answer": escape(study.answer.label),
        "radiographs": str(len(study.results)),
        "revision": str(study.revision),
        "model": escape(study.provenance.model),
        "software_version": escape(study.provenance.software_version),
        "created_at": local_time(source, study).strftime(TIMESTAMP),
    }
