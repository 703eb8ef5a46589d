"""Patient and study of an object that we make, copied from its source radiograph.

An archive files an object into the study only if patient, issuer and order agree, so all of them are copied, not only
the attributes that libraries copy. Text becomes UTF-8. A source attribute that is absent or unreadable is left empty,
and the object is still made.
"""

from __future__ import annotations

import hashlib
import json

from pydicom.dataset import Dataset

from appliance.dicom.reading.attributes import copied, text
from appliance.dicom.reading.header import sides

TYPE_2 = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
"""Written always, empty where the source has no value (DICOM PS3.3 C.7.1.1, C.7.2.1)."""

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

Attributes of animals, sizes of one exposure and photographs are not copied; nor are a responsible person and dates in
other calendars, because these come in pairs, which a gap would break.
"""

IDENTITY = (
    "PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex",
    "StudyInstanceUID", "AccessionNumber",
)  # fmt: skip
"""Attributes that place an object in its study: if one of them changes, the object must be made anew."""

PATIENT_SEX = ("M", "F", "O")
"""Enumerated values of Patient's Sex (0010,0040), DICOM PS3.3 C.7.1.1."""


def patient_study(source: Dataset) -> Dataset:
    """Return the Patient and General Study modules of `source` in UTF-8, with every Type 2 attribute."""
    made = copied(source, ("StudyInstanceUID", *TYPE_2, *TYPE_3))
    made.SpecificCharacterSet = "ISO_IR 192"
    for keyword in TYPE_2:
        if keyword not in made:
            setattr(made, keyword, "")
    if made.PatientSex not in PATIENT_SEX:
        made.PatientSex = ""
    return made


def identity_digest(source: Dataset) -> str:
    """Return the SHA-256 of `IDENTITY` and the sides; data sets with the same digest need the same objects."""
    values = [*(text(source, keyword).strip(" ^") for keyword in IDENTITY), *sides(source)]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def patient_digest(source: Dataset) -> str:
    """Return the SHA-256 of the Patient ID, or an empty string if there is none.

    The issuer does not count: an archive adds it to radiographs that a room sends without one.
    """
    patient_id = text(source, "PatientID").strip()
    return hashlib.sha256(patient_id.encode()).hexdigest() if patient_id else ""
