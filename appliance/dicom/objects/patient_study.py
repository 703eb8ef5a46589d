"""Patient, study and order of an answer, copied from its source.

An archive files an answer into the study only if patient, issuer and order agree, so all of them are copied,
not only the attributes that libraries copy by themselves. Text becomes UTF-8. Sources are what they are: an
attribute that is absent or cannot be read is left empty, and the answer is still made.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Iterator
from typing import Any

from pydicom import config
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import PersonName, validate_value

from appliance.dicom.reading.header import several, sides

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

UNREADABLE = (
    ArithmeticError, AttributeError, EOFError, LookupError, NotImplementedError, OSError, RecursionError, TypeError,
    ValueError, struct.error, BytesLengthException,
)  # fmt: skip
"""What pydicom raises on an element whose bytes are no value of its VR, or are nested without end."""

FORMAL = ("DA", "TM", "DT", "AS", "CS", "UI")
"""Value representations whose values have a form that validators insist on."""

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


def copied(source: Dataset, keywords: Iterable[str]) -> Dataset:
    """The attributes of `source` that are there and readable, as elements of their own."""
    made = Dataset()
    for tag in _tags(keywords):
        element = _readable(source, tag)
        if element is not None:
            made.add(element)
    return made


def text(source: Dataset, keyword: str) -> str:
    """The value as text, decoded; empty if it is absent or unreadable."""
    element = _readable(source, Tag(keyword)) if keyword in source else None
    return "" if element is None or element.value is None else str(element.value)


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


def _tags(keywords: Iterable[str]) -> Iterator[BaseTag]:
    for keyword in keywords:
        tag = tag_for_keyword(keyword)
        assert tag is not None, keyword
        yield Tag(tag)


def _readable(source: Dataset, tag: BaseTag) -> DataElement | None:
    if tag not in source:
        return None
    try:
        element = source[tag]
        if element.VR in FORMAL and element.value:  # "31.01.70" would spoil the answer
            for value in several(element.value):
                validate_value(element.VR, value, config.RAISE)
        if element.VR == "SQ":
            items = [made for item in element.value if _is_whole(element.keyword, made := _item(item))]
            return DataElement(tag, "SQ", Sequence(items)) if items else None
        return DataElement(tag, element.VR, _utf8(element.value))
    except UNREADABLE:
        return None


def _is_whole(keyword: str, item: Dataset) -> bool:
    """Whether an item of the sequence `keyword` has what it is nothing without (DICOM PS3.3 chapters 8 and 10)."""

    def has(*keywords: str) -> bool:
        return all(text(item, k) for k in keywords)

    if keyword.endswith("CodeSequence"):
        value = has("CodeValue") or has("LongCodeValue")
        return has("CodeMeaning") and (has("URNCodeValue") or (value and has("CodingSchemeDesignator")))
    if keyword.startswith("IssuerOf"):
        named = has("LocalNamespaceEntityID") or has("UniversalEntityID") or keyword.endswith("QualifiersSequence")
        return named and has("UniversalEntityID") == has("UniversalEntityIDType")
    if keyword in ("ReferencedPatientSequence", "ReferencedStudySequence"):
        return has("ReferencedSOPClassUID", "ReferencedSOPInstanceUID")
    if keyword == "OtherPatientIDsSequence":
        return has("PatientID", "TypeOfPatientID")
    return "Physician" not in keyword or has("PersonIdentificationCodeSequence")


def _utf8(value: Any) -> Any:
    """`value` without its bytes in the source's character set, which a `PersonName` would write again."""
    if isinstance(value, PersonName):
        return str(value)
    if isinstance(value, MultiValue):
        return [_utf8(v) for v in value]
    return value


def _item(source: Dataset) -> Dataset:
    made = Dataset()
    for tag in list(source.keys()):
        element = None if tag.is_private or tag == 0x00080005 else _readable(source, tag)
        if element is not None and element.value not in (None, ""):  # within an item most may not be empty
            made.add(element)
    return made
