"""The answer as a FHIR R4 transaction.

Whom and what the answer is about is created where the server does not know it, or referred to (by profile). What is
said, the report and its observations, is updated in place by an identifier that follows from study, radiograph and
region: every revision is the same report, and a repeat changes nothing. The resources are checked with the R4B models
before they leave; only elements that R4 has as well are used.

References
----------
HL7 FHIR R4 (4.0.1): http.html#transaction, http.html#ccreate, http.html#cond-update, diagnosticreport.html,
observation.html, imagingstudy.html, device.html, provenance.html, task.html. R4B (4.3.0) defines these the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import quote

from fhir.resources.R4B.bundle import Bundle
from pydantic import ValidationError
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.valuerep import PersonName

from appliance.config import FhirDestination as Profile
from appliance.dicom.objects.codes import FRACTURE, PRESENCES, SIDES, SITES
from appliance.dicom.objects.patient_study import copied, text
from appliance.dicom.objects.series import examined_at
from appliance.domain.finding import Answer, Finding
from appliance.domain.identifiers import derived_uid, derived_uuid
from appliance.domain.reason import ReasonCode
from appliance.domain.result import SECOND_READER, Result
from appliance.domain.study import StudyResult
from appliance.errors import Rejected

from .destination import FhirDestination as FhirDestination  # the way out, beside what goes it

Json = dict[str, Any]

SYSTEMS = {"SCT": "http://snomed.info/sct", "DCM": "http://dicom.nema.org/resources/ontology/DCM"}
HL7 = "http://terminology.hl7.org/CodeSystem"
IMAGING = (f"{HL7}/observation-category", "imaging", "Imaging")
RADIOLOGY = (f"{HL7}/v2-0074", "RAD", "Radiology")
NOT_PERFORMED = (f"{HL7}/data-absent-reason", "not-performed", "Not Performed")
ERROR = (f"{HL7}/data-absent-reason", "error", "Error")
ASSEMBLER = (f"{HL7}/provenance-participant-type", "assembler", "Assembler")
INTERPRETATIONS = {Answer.POSITIVE: ("A", "Abnormal"), Answer.NEGATIVE: ("N", "Normal")}
DIAGNOSTIC_IMAGING_STUDY = ("http://loinc.org", "18748-4", "Diagnostic imaging study")
GENDERS = {"M": "male", "F": "female", "O": "other"}
OWN = "urn:osteon"
WITHDRAWN = "entered-in-error"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Context:
    """What every resource of one transaction refers to."""

    study: StudyResult
    status: str
    subject: Json
    device: Json
    imaging_study: Json
    effective: str


def bundle_identifier(study: StudyResult, kind: str = "fhir") -> str:
    """Bundle.identifier: the same for the same result."""
    return f"urn:uuid:{derived_uuid(study.uid(kind))}"


def transaction(study: StudyResult, source: Dataset, profile: Profile) -> bytes:
    """The Bundle as JSON in UTF-8; `source` is the newest radiograph's.

    Raises
    ------
    Rejected
        ``fhir_invalid``: the header's values make no valid resource. ``no_patient``, where the profile has patients
        referred to: the source has no number to do so.
    """
    status = profile.revised_status if study.revision > 1 else "preliminary"
    entries, context = _context(study, source, profile, status)
    observations = [
        o for number, result in enumerate(study.results, 1) for o in _of_radiograph(context, number, result)
    ]
    report = _report(context, observations)
    said = f"Revision {study.revision} says this no more"
    entries += [_updated(study, r) for r in (*observations, *_unsaid(context, said, observations), report)]
    entries.append(_provenance(context, report))
    if _has_task(study, profile):
        task = _task(context, source, report)
        task["status"] = "requested" if study.answer in profile.flagged else "cancelled"
        entries.append(_updated(study, task) if study.revision > 1 else _created(study, task))
    return _bundle(study, "fhir", entries)


def withdrawal(study: StudyResult, source: Dataset, profile: Profile, reason: str = "") -> bytes:
    """The Bundle that takes `transaction` of the same study back: report and observations are entered in error.

    Raises
    ------
    Rejected
        As `transaction`.
    """
    entries, context = _context(study, source, profile, WITHDRAWN)
    said = f"Withdrawn: {reason}" if reason else "Withdrawn"
    observations = [
        _taken_back(o, said) for n, result in enumerate(study.results, 1) for o in _of_radiograph(context, n, result)
    ]
    report = _report(context, observations) | {"text": _narrative([said]), "conclusion": said}
    entries += [_updated(study, r) for r in (*observations, *_unsaid(context, said, observations), report)]
    if _has_task(study, profile):
        entries.append(_updated(study, _task(context, source, report) | {"status": WITHDRAWN}))
    return _bundle(study, "fhir withdrawal", entries)


def _unsaid(context: _Context, said: str, observations: list[Json]) -> Iterator[Json]:
    """The observations of earlier revisions that nothing takes the place of; made, where the server never had them.

    A withdrawal takes back what was told, of which nothing may stand any more: what is among its own `observations` is
    left out, since a transaction with two entries of one resource fails (R4 http.html#trules).
    """
    own = [observation["identifier"] for observation in observations]
    for sop_instance_uid, region in context.study.retracted:
        observation = _observation(context, sop_instance_uid, region, said, context.study.provenance.model)
        if observation["identifier"] not in own:
            yield _taken_back(observation, said) | {"status": WITHDRAWN}


def _taken_back(observation: Json, said: str) -> Json:
    """An observation that no longer says anything, for a reader who overlooks its status."""
    gone = ("valueCodeableConcept", "interpretation", "component", "dataAbsentReason")
    kept = {key: value for key, value in observation.items() if key not in gone}
    return kept | {"text": _narrative([said]), "dataAbsentReason": _concept(*ERROR)}


def _bundle(study: StudyResult, kind: str, entries: list[Json]) -> bytes:
    bundle = {
        "resourceType": "Bundle",
        "identifier": {"system": "urn:ietf:rfc:3986", "value": bundle_identifier(study, kind)},
        "type": "transaction",
        "timestamp": study.created_at.isoformat(),
        "entry": entries,
    }
    try:
        Bundle.model_validate(bundle)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise Rejected(
            ReasonCode.FHIR_INVALID, f"the FHIR Bundle would be invalid at {where}: look at the radiograph's header"
        ) from None
    return json.dumps(bundle, ensure_ascii=False, separators=(",", ":")).encode()


def _context(study: StudyResult, source: Dataset, profile: Profile, status: str) -> tuple[list[Json], _Context]:
    """The entries of patient, device and study, and what refers to them."""
    entries = []
    patient = _patient(source, profile.patient_system)
    subject: Json = {"display": "unidentified"}
    if patient is not None and profile.patient == "reference":
        subject = {"reference": f"Patient?{_search(patient)}"}
    elif patient is not None:
        entries.append(_created(study, patient))
        subject = _reference(study, patient)
    elif profile.patient == "reference":
        raise Rejected(
            ReasonCode.NO_PATIENT, "the radiograph has no patient number by which the FHIR server could be asked"
        )
    device, imaging_study = _device(study), _imaging_study(source, study, subject)
    entries.append(_created(study, device))
    if profile.imaging_study == "create":
        entries.append(_created(study, imaging_study))
        images = _reference(study, imaging_study)
    else:
        images = {"reference": f"ImagingStudy?{_search(imaging_study)}"}
    context = _Context(
        study=study,
        status=status,
        subject=subject,
        device=_reference(study, device),
        imaging_study=images,
        effective=(examined_at(source, study) or study.created_at).isoformat(),
    )
    return entries, context


def _created(study: StudyResult, resource: Json) -> Json:
    """An entry that makes the resource where there is none of its identifier."""
    request = {"method": "POST", "url": resource["resourceType"], "ifNoneExist": _search(resource)}
    return {"fullUrl": _reference(study, resource)["reference"], "resource": resource, "request": request}


def _updated(study: StudyResult, resource: Json) -> Json:
    """An entry that puts the resource in the place of the one of its identifier, or makes it."""
    request = {"method": "PUT", "url": f"{resource['resourceType']}?{_search(resource)}"}
    return {"fullUrl": _reference(study, resource)["reference"], "resource": resource, "request": request}


def _search(resource: Json) -> str:
    identifier = resource["identifier"][0]
    system = quote(identifier.get("system", ""), safe=":/")
    # without the bar a value would match under any system: another hospital's patient (R4 search.html#token)
    return f"identifier={system}|{quote(identifier['value'], safe=':')}"


def _reference(study: StudyResult, resource: Json) -> Json:
    value = resource["identifier"][0]["value"]
    return {"reference": f"urn:uuid:{derived_uuid(study.uid('fhir'), resource['resourceType'], value)}"}


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


def _device(study: StudyResult) -> Json:
    p = study.provenance
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
        study["identifier"].append({"type": _accession_type(), "value": accession})
    if text(source, "Modality") in ("CR", "DX"):
        study["modality"] = [{"system": SYSTEMS["DCM"], "code": text(source, "Modality")}]
    return study


def _of_radiograph(context: _Context, number: int, result: Result) -> Iterator[Json]:
    """One observation for each region, or one that says why there is none."""
    uid, model = result.sop_instance_uid, result.provenance.model
    view = f"Radiograph {number} in order of analysis: " if len(context.study.results) > 1 else ""
    if result.not_analysed is not None:
        said = f"{view}not analysed: {result.not_analysed.reason} [{result.not_analysed.code}]"
        absent = _concept(*NOT_PERFORMED) | {"text": result.not_analysed.reason}
        yield _observation(context, uid, 1, said, model) | {"dataAbsentReason": absent}
    for region, finding in enumerate(result.findings, 1):
        said = f"{view}{finding.place}: {finding.answer.label}, probability {finding.percent}"
        observation = _observation(context, uid, region, said, model) | _found(finding)
        observation["component"] += _components(finding)
        yield observation


def _observation(context: _Context, sop_instance_uid: str, region: int, said: str, model: str) -> Json:
    uid = derived_uid(sop_instance_uid, "fhir region", region)  # of no revision and no pack
    return {
        "resourceType": "Observation",
        "text": _narrative([said, SECOND_READER]),
        "identifier": [_uid(uid)],
        "status": context.status,
        "category": [_concept(*IMAGING)],
        "code": _coded(FRACTURE),
        "subject": context.subject,
        "effectiveDateTime": context.effective,
        "note": [{"text": SECOND_READER}],
        "method": {"text": f"neural network {model}"},
        "device": context.device,
        "derivedFrom": [context.imaging_study],
        "component": [_component("RADIOGRAPH", "SOP Instance UID", {"valueString": sop_instance_uid})],
    }


def _found(finding: Finding) -> Json:
    observation: Json = {
        "valueCodeableConcept": _coded(PRESENCES[finding.answer]),
        "bodySite": _coded(SITES[finding.site]),
    }
    if finding.answer in INTERPRETATIONS:
        code, display = INTERPRETATIONS[finding.answer]
        observation["interpretation"] = [_concept(f"{HL7}/v3-ObservationInterpretation", code, display)]
    return observation


def _components(finding: Finding) -> list[Json]:
    components = [
        _component("PROBABILITY", "Probability of a fracture", _quantity(finding.probability)),
        _component("FOCUS", "Focus of the heat map", _quantity(finding.focus)),
    ]
    if finding.laterality in SIDES:
        side = {"valueCodeableConcept": _coded(SIDES[finding.laterality])}
        components.append(_component("SIDE", "Laterality", side))
    return components


def _report(context: _Context, observations: list[Json]) -> Json:
    study = context.study
    sentences = [f"{SECOND_READER}."]
    if study.answer is not Answer.NOT_ANALYSED:
        sentences.append(f"{study.answer.label.capitalize()}.")
    reasons = dict.fromkeys(r.not_analysed for r in study.results if r.not_analysed)
    sentences += [f"Not analysed: {reason.reason} [{reason.code}]." for reason in reasons]
    unread = dict.fromkeys(u.site.label for r in study.results for u in r.unread_regions)
    sentences += [f"Region located but not analysed: {label}." for label in unread]
    sentences += [f"Caveat: {caveat}." for caveat in study.caveats]
    return {
        "resourceType": "DiagnosticReport",
        "text": _narrative(sentences),
        "identifier": [_uid(derived_uid(study.study_instance_uid, "fhir report"))],
        "status": context.status,
        "category": [_concept(*RADIOLOGY)],
        "code": _concept(*DIAGNOSTIC_IMAGING_STUDY) | {"text": "Fracture second reading by AI"},
        "subject": context.subject,
        "effectiveDateTime": context.effective,
        "issued": study.created_at.isoformat(),
        "imagingStudy": [context.imaging_study],
        "conclusion": " ".join(sentences),
        "result": [_reference(study, observation) for observation in observations],
    }


def _provenance(context: _Context, report: Json) -> Json:
    """By what the report was made, and in the place of which; a tag tells it, for it can have no identifier."""
    study = context.study
    tag = {"system": f"{OWN}:provenance", "code": derived_uuid(study.uid("fhir provenance"))}
    provenance: Json = {
        "resourceType": "Provenance",
        "meta": {"tag": [tag]},
        "target": [_reference(study, report)],
        "recorded": study.created_at.isoformat(),
        "agent": [{"type": _concept(*ASSEMBLER), "who": context.device}],
        "entity": [{"role": "source", "what": context.imaging_study}],
    }
    if predecessor := study.predecessor_uid("fhir"):
        what = {"identifier": _uid(predecessor), "display": f"revision {study.revision - 1}"}
        provenance["entity"].append({"role": "revision", "what": what})
    request = {"method": "POST", "url": "Provenance", "ifNoneExist": f"_tag={tag['system']}|{tag['code']}"}
    return {"fullUrl": f"urn:uuid:{tag['code']}", "resource": provenance, "request": request}


def _has_task(study: StudyResult, profile: Profile) -> bool:
    """Whether this revision makes the Task, or an earlier one may have."""
    return profile.flag == "task" and (study.answer in profile.flagged or study.revision > 1)


def _task(context: _Context, source: Dataset, report: Json) -> Json:
    """The wish that somebody reads the study first, one for all revisions."""
    uid = derived_uid(context.study.study_instance_uid, "fhir task")
    task: Json = {
        "resourceType": "Task",
        "identifier": [_uid(uid)],
        "status": "requested",
        "intent": "proposal",
        "priority": "urgent",
        "code": {"coding": [{"system": f"{OWN}:code", "code": "READ-FIRST"}], "text": "Read this study first"},
        "description": f"{SECOND_READER}: {context.study.answer.label}",
        "focus": _reference(context.study, report),
        "for": context.subject,
        "authoredOn": context.study.created_at.isoformat(),
    }
    accession = text(source, "AccessionNumber").strip()
    if accession:
        task["basedOn"] = [{"type": "ServiceRequest", "identifier": {"type": _accession_type(), "value": accession}}]
    return task


def _accession_type() -> Json:
    return {"coding": [{"system": f"{HL7}/v2-0203", "code": "ACSN", "display": "Accession ID"}]}


def _uid(uid: str) -> dict[str, str]:
    return {"system": "urn:dicom:uid", "value": f"urn:oid:{uid}"}


def _concept(system: str, code: str, display: str) -> Json:
    return {"coding": [{"system": system, "code": code, "display": display}]}


def _coded(code: Code) -> Json:
    return _concept(SYSTEMS[code.scheme_designator], code.value, code.meaning)


def _component(code: str, display: str, value: Json) -> Json:
    return {"code": _concept(f"{OWN}:code", code, display)} | value


def _quantity(value: float) -> Json:
    return {"valueQuantity": {"value": round(value, 3), "system": "http://unitsofmeasure.org", "code": "1"}}


def _narrative(sentences: list[str]) -> dict[str, str]:
    paragraphs = "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{paragraphs}</div>'}
