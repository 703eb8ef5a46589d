"""The answer as a FHIR R4 transaction, and the way to a FHIR server.

Every entry is a conditional create by an identifier that follows from the result: a repeat creates nothing.
The resources are checked with the R4B models before they leave; only elements that R4 has as well are used.

References
----------
HL7 FHIR R4 (4.0.1): http.html#transaction, http.html#ccreate, diagnosticreport.html, observation.html,
imagingstudy.html, device.html. R4B (4.3.0) has the same definitions of these five resources.
"""

from __future__ import annotations

import json
from html import escape
from typing import Any
from urllib.parse import quote

from fhir.resources.R4B.bundle import Bundle
from pydantic import ValidationError
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.valuerep import PersonName

from appliance.dicom.codes import FRACTURE, PRESENCES, SIDES, SITES
from appliance.dicom.patient_study import copied, text
from appliance.dicom.series import examined_at
from appliance.domain.finding import Answer, Finding
from appliance.domain.identifiers import derived_uuid
from appliance.domain.result import SECOND_READER
from appliance.domain.study import StudyResult
from appliance.errors import Rejected

from .fhir_destination import FhirDestination as FhirDestination  # the way out, beside what goes it

Json = dict[str, Any]

SYSTEMS = {"SCT": "http://snomed.info/sct", "DCM": "http://dicom.nema.org/resources/ontology/DCM"}
HL7 = "http://terminology.hl7.org/CodeSystem"
IMAGING = (f"{HL7}/observation-category", "imaging", "Imaging")
RADIOLOGY = (f"{HL7}/v2-0074", "RAD", "Radiology")
INTERPRETATIONS = {Answer.POSITIVE: ("A", "Abnormal"), Answer.NEGATIVE: ("N", "Normal")}
DIAGNOSTIC_IMAGING_STUDY = ("http://loinc.org", "18748-4", "Diagnostic imaging study")
GENDERS = {"M": "male", "F": "female", "O": "other"}
OWN = "urn:osteon"


def bundle_identifier(result: StudyResult) -> str:
    """Bundle.identifier: the same for the same result."""
    return f"urn:uuid:{derived_uuid(result.uid('fhir'))}"


def transaction(result: StudyResult, source: Dataset, *, patient_system: str | None = None) -> bytes:
    """The Bundle as JSON in UTF-8; `source` is the newest radiograph's.

    Parameters
    ----------
    patient_system
        URI under which the server knows the site's patient numbers; else it is made from the source's issuer.

    Raises
    ------
    Rejected
        ``fhir_invalid``: the header's values make no valid resource.
    """
    entries = []
    patient = _patient(source, patient_system)
    subject = {"display": "unidentified"}
    if patient is not None:
        entries.append(_entry(result, patient))
        subject = _reference(result, patient)
    device = _device(result)
    study = _imaging_study(source, result, subject)
    examined = (examined_at(source, result) or result.created_at).isoformat()
    observations = [
        _observation(result, number, finding, subject, device, study) | {"effectiveDateTime": examined}
        for number, finding in enumerate((f for r in result.results for f in r.findings), 1)
    ]
    report = _report(result, subject, study, observations) | {"effectiveDateTime": examined}
    entries += [_entry(result, r) for r in (device, study, *observations, report)]
    bundle = {
        "resourceType": "Bundle",
        "identifier": {"system": "urn:ietf:rfc:3986", "value": bundle_identifier(result)},
        "type": "transaction",
        "timestamp": result.created_at.isoformat(),
        "entry": entries,
    }
    try:
        Bundle.model_validate(bundle)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise Rejected(
            "fhir_invalid", f"the FHIR Bundle would be invalid at {where}: look at the radiograph's header"
        ) from None
    return json.dumps(bundle, ensure_ascii=False, separators=(",", ":")).encode()


def _entry(result: StudyResult, resource: Json) -> Json:
    identifier = resource["identifier"][0]
    token = f"{quote(identifier.get('system', ''), safe=':/')}|{quote(identifier['value'], safe=':')}"
    return {
        "fullUrl": _reference(result, resource)["reference"],
        "resource": resource,
        "request": {"method": "POST", "url": resource["resourceType"], "ifNoneExist": f"identifier={token}"},
    }


def _reference(result: StudyResult, resource: Json) -> dict[str, str]:
    value = resource["identifier"][0]["value"]
    return {"reference": f"urn:uuid:{derived_uuid(result.uid('fhir'), resource['resourceType'], value)}"}


def _patient(source: Dataset, system: str | None) -> Json | None:
    number = text(source, "PatientID").strip()
    if not number:
        return None
    identifier = {"value": number}
    if system or _issuer(source):
        identifier = {"system": system or _issuer(source), "value": number}
    patient: Json = {"resourceType": "Patient", "identifier": [identifier]}
    name = _name(text(source, "PatientName"))
    if name:
        patient["name"] = [name]
    if text(source, "PatientSex") in GENDERS:
        patient["gender"] = GENDERS[text(source, "PatientSex")]
    born = text(source, "PatientBirthDate")
    if len(born) == 8 and born.isdecimal():
        patient["birthDate"] = f"{born[:4]}-{born[4:6]}-{born[6:]}"
    return patient


def _issuer(source: Dataset) -> str:
    for item in copied(source, ("IssuerOfPatientIDQualifiersSequence",)).get("IssuerOfPatientIDQualifiersSequence", []):
        if text(item, "UniversalEntityIDType") == "ISO":
            return f"urn:oid:{text(item, 'UniversalEntityID')}"
    local = text(source, "IssuerOfPatientID").strip()
    return f"{OWN}:issuer:{quote(local, safe='')}" if local else ""


def _name(value: str) -> Json:
    groups = [group for group in str(PersonName(value)).split("=") if group.strip("^ ")]
    if not groups:
        return {}
    parts = [part.strip() for part in groups[0].split("^")[:5]]
    family, given, middle, prefix, suffix = parts + [""] * (5 - len(parts))
    name: Json = {"family": family} if family else {}
    lists = {"given": [*given.split(), *middle.split()], "prefix": [prefix], "suffix": [suffix]}
    return name | {key: kept for key, values in lists.items() if (kept := [v for v in values if v])}


def _device(result: StudyResult) -> Json:
    p = result.provenance
    return {
        "resourceType": "Device",
        "identifier": [{"system": f"{OWN}:device", "value": f"{p.software_version}-{p.pack_digest[:32]}"}],
        "manufacturer": "Osteon",
        "deviceName": [{"name": "Osteon", "type": "user-friendly-name"}],
        "version": [
            {"type": {"text": "software"}, "value": p.software_version},
            {"type": {"text": "model"}, "value": p.model},
        ],
        "note": [{"text": SECOND_READER}],
    }


def _imaging_study(source: Dataset, result: StudyResult, subject: Json) -> Json:
    study: Json = {
        "resourceType": "ImagingStudy",
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{result.study_instance_uid}"}],
        "status": "available",
        "subject": subject,
    }
    accession = text(source, "AccessionNumber").strip()
    if accession:
        kind = {"coding": [{"system": f"{HL7}/v2-0203", "code": "ACSN", "display": "Accession ID"}]}
        study["identifier"].append({"type": kind, "value": accession})
    if text(source, "Modality") in ("CR", "DX"):
        study["modality"] = [{"system": SYSTEMS["DCM"], "code": text(source, "Modality")}]
    return study


def _observation(result: StudyResult, number: int, finding: Finding, subject: Json, device: Json, study: Json) -> Json:
    said = f"{finding.laterality.label} {finding.site.label}".strip()
    said += f": {finding.answer.label}, probability {finding.probability:.0%}"
    observation: Json = {
        "resourceType": "Observation",
        "text": _narrative([said, SECOND_READER]),
        "identifier": [_uid(result.uid(f"fhir finding {number}"))],
        "status": "preliminary",
        "category": [_concept(*IMAGING)],
        "code": _coded(FRACTURE),
        "subject": subject,
        "valueCodeableConcept": _coded(PRESENCES[finding.answer]),
        "note": [{"text": SECOND_READER}],
        "bodySite": _coded(SITES[finding.site]),
        "method": {"text": f"neural network {result.provenance.model}"},
        "device": _reference(result, device),
        "derivedFrom": [_reference(result, study)],
        "component": [
            _component("PROBABILITY", "Probability of a fracture", finding.probability),
            _component("FOCUS", "Focus of the heat map", finding.focus),
        ],
    }
    if finding.laterality in SIDES:
        side = _coded(SIDES[finding.laterality])
        name = {"coding": [{"system": f"{OWN}:code", "code": "SIDE", "display": "Laterality"}]}
        observation["component"].append({"code": name, "valueCodeableConcept": side})
    if finding.answer in INTERPRETATIONS:
        code, display = INTERPRETATIONS[finding.answer]
        observation["interpretation"] = [_concept(f"{HL7}/v3-ObservationInterpretation", code, display)]
    return observation


def _report(result: StudyResult, subject: Json, study: Json, observations: list[Json]) -> Json:
    sentences = [f"{SECOND_READER}."]
    if result.answer is not Answer.NOT_ANALYSED:
        sentences.append(f"{result.answer.label.capitalize()}.")
    reasons = dict.fromkeys(r.not_analysed for r in result.results if r.not_analysed)
    sentences += [f"Not analysed: {reason.reason} [{reason.code}]." for reason in reasons]
    unread = dict.fromkeys(u.site.label for r in result.results for u in r.unread_regions)
    sentences += [f"Region located but not analysed: {label}." for label in unread]
    sentences += [f"Caveat: {caveat}." for caveat in result.caveats]
    report: Json = {
        "resourceType": "DiagnosticReport",
        "text": _narrative(sentences),
        "identifier": [_uid(result.uid("fhir report"))],
        "status": "preliminary",
        "category": [_concept(*RADIOLOGY)],
        "code": _concept(*DIAGNOSTIC_IMAGING_STUDY) | {"text": "Fracture second reading by AI"},
        "subject": subject,
        "issued": result.created_at.isoformat(),
        "imagingStudy": [_reference(result, study)],
        "conclusion": " ".join(sentences),
    }
    if observations:
        report["result"] = [_reference(result, observation) for observation in observations]
    return report


def _uid(uid: str) -> dict[str, str]:
    return {"system": "urn:dicom:uid", "value": f"urn:oid:{uid}"}


def _concept(system: str, code: str, display: str) -> Json:
    return {"coding": [{"system": system, "code": code, "display": display}]}


def _coded(code: Code) -> Json:
    return _concept(SYSTEMS[code.scheme_designator], code.value, code.meaning)


def _component(code: str, display: str, value: float) -> Json:
    quantity = {"value": round(value, 3), "system": "http://unitsofmeasure.org", "code": "1"}
    return {"code": _concept(f"{OWN}:code", code, display), "valueQuantity": quantity}


def _narrative(sentences: list[str]) -> dict[str, str]:
    paragraphs = "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{paragraphs}</div>'}
