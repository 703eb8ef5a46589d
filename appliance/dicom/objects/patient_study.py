"""Patient, study and order of an answer, copied from its source.

An archive files an answer into the study only if patient, issuer and order agree, so all of them are copied,
not only the attributes that libraries copy by themselves. Text becomes UTF-8. Sources are what they are: an
attribute that is absent or cannot be read is left empty, and the answer is still made.
"""

from __future__ import annotations

import hashlib
import json

from pydicom.dataset import Dataset

from appliance.dicom.reading.attributes import copied as copied
from appliance.dicom.reading.attributes import text as text
from appliance.dicom.reading.header import sides

TYPE_2 = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
"""Always present, empty if need be (DICOM PS3.3 C.7.1.1, C.7.2.1)."""

TYPE_3 = (
    # Patient
    "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence", "TypeOfPatientID", "OtherPatientIDs",
    "OtherPatientIDsSequence", "SourcePatientGroupIdentificationSequence", "GroupOfPatientsIdentificationSequence",
    "ReferencedPatientSequence", "PatientBirthTime", "OtherPatientNames", "EthnicGroup", "EthnicGroupCodeSequence",
    "PatientComments", "QualityControlSubject", "PatientIdentityRemoved", "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    # General Study
    "StudyDescription", "IssuerOfAccessionNumberSequence", "ProcedureCodeSequence", "ReferencedStudySequence",
    "ReferringPhysicianIdentificationSequence", "ConsultingPhysicianName",
    "ConsultingPhysicianIdentificationSequence", "PhysiciansOfRecord", "PhysiciansOfRecordIdentificationSequence",
    "NameOfPhysiciansReadingStudy", "PhysiciansReadingStudyIdentificationSequence",
    "ReasonForPerformedProcedureCodeSequence",
    # Patient Study
    "AdmittingDiagnosesDescription", "AdmittingDiagnosesCodeSequence", "PatientAge", "PatientSize",
    "PatientSizeCodeSequence", "PatientBodyMassIndex", "PatientWeight", "MedicalAlerts", "Allergies", "Occupation",
    "SmokingStatus", "AdditionalPatientHistory", "PregnancyStatus", "LastMenstrualDate", "ReasonForVisit",
    "ReasonForVisitCodeSequence", "AdmissionID", "IssuerOfAdmissionIDSequence", "ServiceEpisodeID",
    "ServiceEpisodeDescription", "IssuerOfServiceEpisodeIDSequence", "PatientState",
    # SOP Common
    "TimezoneOffsetFromUTC",
)  # fmt: skip
"""Copied where the source has them (DICOM PS3.3 C.7.1.1, C.7.2.1, C.7.2.2).

Not copied are what an animal has, sizes that belong to one exposure, photographs, and a responsible person and the
calendars of other eras, which are pairs that a gap would break.
"""

IDENTITY = (
    "PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex",
    "StudyInstanceUID", "AccessionNumber",
)  # fmt: skip
"""Where an answer belongs: if one of these changes, it has to be given anew."""

PATIENT_SEX = ("M", "F", "O")


def patient_study(source: Dataset) -> Dataset:
    """Patient and General Study modules of `source` in UTF-8, with every Type 2 attribute."""
    made = copied(source, ("StudyInstanceUID", *TYPE_2, *TYPE_3))
    made.SpecificCharacterSet = "ISO_IR 192"
    for keyword in TYPE_2:
        if keyword not in made:
            setattr(made, keyword, "")
    if made.PatientSex not in PATIENT_SEX:
        made.PatientSex = ""
    return made


def identity_digest(source: Dataset) -> str:
    """SHA-256 over `IDENTITY` as text and the side: two data sets with the same one want the same answers."""
    values = [*(text(source, keyword).strip(" ^") for keyword in IDENTITY), *sides(source)]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def patient_digest(source: Dataset) -> str:
    """SHA-256 of the patient's number, the same for radiographs of one patient; empty if there is none.

    Without the issuer: an archive adds it to what comes from a room without one.
    """
    number = text(source, "PatientID").strip()
    return hashlib.sha256(number.encode()).hexdigest() if number else ""
