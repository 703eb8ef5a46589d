"""The report of a study as a FHIR R4 transaction.

Patient, device and imaging study are created where the server does not know them, or referred to, by profile. The
report and its observations are updated in place under an identifier that follows from study, radiograph and region:
every revision is the same report, and a repeat changes nothing. The R4B models check the resources before they leave;
only elements that R4 has as well are used.

References
----------
HL7 FHIR R4 (4.0.1): http.html#transaction, http.html#ccreate, http.html#cond-update, diagnosticreport.html,
observation.html, imagingstudy.html, device.html, provenance.html, task.html. R4B (4.3.0) defines these the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

from pydantic import ValidationError

from appliance.config import FhirDestination as Profile
from appliance.domain.codes import FRACTURE, PRESENCES, SIDES, SITES
from appliance.domain.finding import Finding, Verdict
from appliance.domain.identifiers import derived_uid, derived_uuid
from appliance.domain.order import Examination, Issuer, PatientIdentity, PersonName, Sex
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Result
from appliance.domain.sentence import Sentence
from appliance.domain.study import StudyResult
from appliance.errors import Rejected
from appliance.reporting.wording import (
    finding_sentence,
    headline,
    limits,
    mark_place,
    marked,
    not_cleared,
    not_read,
    of_radiograph,
    radiograph_names,
    radiograph_sentences,
    reported_probability,
    withdrawal_notice,
)
from appliance.words import Language, language

from .datatypes import (
    Json,
    accession_identifier,
    body_site,
    codeable,
    coded,
    component,
    narrative,
    quantity,
    uid_identifier,
)
from .systems import AI_ASSERTED, CODES, DEVICES, HL7, REVISIONS, SCHEMES, issuer_system

IMAGING = (f"{HL7}/observation-category", "imaging", "Imaging")
RADIOLOGY = (f"{HL7}/v2-0074", "RAD", "Radiology")
NOT_PERFORMED = (f"{HL7}/data-absent-reason", "not-performed", "Not Performed")
UNKNOWN = (f"{HL7}/data-absent-reason", "unknown", "Unknown")
ERROR = (f"{HL7}/data-absent-reason", "error", "Error")
ASSEMBLER = (f"{HL7}/provenance-participant-type", "assembler", "Assembler")
INTERPRETATIONS = {
    Verdict.POSITIVE: ("POS", "Positive"),
    Verdict.DOUBT: ("IND", "Indeterminate"),
    Verdict.NEGATIVE: ("NEG", "Negative"),
}
"""Codes of v3-ObservationInterpretation. Regions that are not read or not cleared have none."""

DIAGNOSTIC_IMAGING_STUDY = ("http://loinc.org", "18748-4", "Diagnostic imaging study")
GENDERS = {Sex.MALE: "male", Sex.FEMALE: "female", Sex.OTHER: "other"}
"""Patient.gender (R4 valueset-administrative-gender.html); left out where the sex is unknown."""

TITLE = Sentence.of("Fracture second reading by AI")

WITHDRAWN = "entered-in-error"
"""Status of a resource that is withdrawn (R4 valueset-observation-status.html and others)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Context:
    """References and status that every resource of one transaction shares."""

    study: StudyResult
    status: str
    subject: Json
    device: Json
    imaging_study: Json
    effective: Json
    names: tuple[Sentence | None, ...]
    order: Json | None
    words: Language

    def written(self, *sentences: Sentence) -> Json:
        """Return the language of a resource, and its text: the sentences, then the second reader's notice."""
        return self.told(*map(self.words.say, (*self.study.heading, *sentences)), self.words.notice)

    def under_evaluation(self, concept: Json, sentence: Sentence) -> Json:
        """Return a coded concept; in an evaluation its text, which readers show first, says so before the sentence."""
        if not self.study.is_evaluation:
            return concept
        return concept | {"text": marked(self.study, self.words.say(sentence), self.words)}

    def told(self, *sentences: str) -> Json:
        """Return the language of a resource, and its text."""
        return {"language": self.words.code, "text": narrative(sentences, self.words.code)}


def bundle_identifier(study: StudyResult, kind: str = "fhir") -> str:
    """Return Bundle.identifier: the same for the same result."""
    return f"urn:uuid:{derived_uuid(study.uid(kind))}"


def transaction(study: StudyResult, examination: Examination, profile: Profile) -> bytes:
    """Return the Bundle as JSON in UTF-8; `examination` is the newest radiograph's.

    Raises
    ------
    Rejected
        ``fhir_invalid``: the header's values make no valid resource. ``no_patient``, where the profile refers to
        patients: the examination has no patient number to refer by.
    """
    status = profile.revised_status if study.revision > 1 else "preliminary"
    entries, context = _context(study, examination, profile, status)
    observations = list(_observations(context))
    report = _report(context, observations)
    notice = context.words.say(Sentence.of("Revision {revision} says this no more", revision=study.revision))
    retracted = _retracted_observations(context, notice, observations)
    entries += [_updated(study, resource) for resource in (*observations, *retracted, report)]
    entries.append(_provenance(context, report))
    if _has_task(study, profile):
        task = _task(context, report)
        task["status"] = "requested" if study.is_flagged(profile.flagged) else "cancelled"
        entries.append(_updated(study, task) if study.revision > 1 else _created(study, task))
    return _bundle(study, "fhir", entries)


def withdrawal(study: StudyResult, examination: Examination, profile: Profile, reason: str = "") -> bytes:
    """Return the Bundle that withdraws `transaction` of the same study: its resources become entered in error.

    Raises
    ------
    Rejected
        As `transaction`.
    """
    entries, context = _context(study, examination, profile, WITHDRAWN)
    notice = withdrawal_notice(reason, context.words)
    observations = [_emptied(context, each, notice) for each in _observations(context)]
    report = _report(context, observations) | context.told(notice) | {"conclusion": notice}
    retracted = _retracted_observations(context, notice, observations)
    entries += [_updated(study, resource) for resource in (*observations, *retracted, report)]
    if _has_task(study, profile):
        entries.append(_updated(study, _task(context, report) | {"status": WITHDRAWN}))
    return _bundle(study, "fhir withdrawal", entries)


def _retracted_observations(context: _Context, notice: str, observations: list[Json]) -> Iterator[Json]:
    """Yield observations of earlier revisions that no current one replaces, as entered in error.

    A server that never had one creates it in error. An observation among `observations` is left out, since a
    transaction with two entries of one resource fails (R4 http.html#trules); a withdrawal empties those itself.
    """
    current = [observation["identifier"] for observation in observations]
    for sop_instance_uid, region in context.study.retracted:
        observation = _observation(context, sop_instance_uid, region, context.study.provenance.model)
        if observation["identifier"] not in current:
            yield _emptied(context, observation, notice) | {"status": WITHDRAWN}


def _emptied(context: _Context, observation: Json, notice: str) -> Json:
    """Return the observation without its statements, for a reader who overlooks its status."""
    statements = ("valueCodeableConcept", "interpretation", "component", "dataAbsentReason")
    remaining = {key: value for key, value in observation.items() if key not in statements}
    return remaining | context.told(notice) | {"dataAbsentReason": codeable(*ERROR)}


def _bundle(study: StudyResult, kind: str, entries: list[Json]) -> bytes:
    """Return the transaction as bytes, checked by the R4B model."""
    bundle = {
        "resourceType": "Bundle",
        "identifier": {"system": "urn:ietf:rfc:3986", "value": bundle_identifier(study, kind)},
        "type": "transaction",
        "timestamp": study.created_at.isoformat(),
        "entry": entries,
    }
    from fhir.resources.R4B.bundle import Bundle  # takes a second; a process that renders makes no Bundle

    try:
        Bundle.model_validate(bundle)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise Rejected(
            ReasonCode.FHIR_INVALID, f"the FHIR Bundle would be invalid at {where}: look at the radiograph's header"
        ) from None
    return json.dumps(bundle, ensure_ascii=False, separators=(",", ":")).encode()


def _context(
    study: StudyResult, examination: Examination, profile: Profile, status: str
) -> tuple[list[Json], _Context]:
    """Return the entries of patient, device and study, and the context with references to them."""
    entries = []
    patient = _patient(examination.patient, profile.patient_system)
    words = language(profile.language)
    subject: Json = {"display": words.say(Sentence.of("unidentified"))}
    if patient is not None and profile.patient == "reference":
        subject = {"reference": f"Patient?{_search(patient)}"}
    elif patient is not None:
        entries.append(_created(study, patient))
        subject = _reference(study, patient)
    elif profile.patient == "reference":
        raise Rejected(ReasonCode.NO_PATIENT, "the radiograph has no patient number to search the FHIR server by")
    device, imaging_study = _device(study, words), _imaging_study(examination, study, subject)
    entries.append(_created(study, device))
    if profile.imaging_study == "create":
        entries.append(_created(study, imaging_study))
        images = _reference(study, imaging_study)
    else:
        images = {"reference": f"ImagingStudy?{_search(imaging_study)}"}
    examined_at = examination.times.examined_at(study.created_at)
    context = _Context(
        study=study,
        status=status,
        subject=subject,
        device=_reference(study, device),
        imaging_study=images,
        effective={"effectiveDateTime": examined_at.isoformat()} if examined_at else {},
        names=tuple(radiograph_names(study, examination)),
        order=_order(examination),
        words=words,
    )
    return entries, context


def _created(study: StudyResult, resource: Json) -> Json:
    """Return an entry that creates the resource unless the server has one with its identifier."""
    request = {"method": "POST", "url": resource["resourceType"], "ifNoneExist": _search(resource)}
    return {"fullUrl": _reference(study, resource)["reference"], "resource": resource, "request": request}


def _updated(study: StudyResult, resource: Json) -> Json:
    """Return an entry that replaces the resource with its identifier, or creates it."""
    request = {"method": "PUT", "url": f"{resource['resourceType']}?{_search(resource)}"}
    return {"fullUrl": _reference(study, resource)["reference"], "resource": resource, "request": request}


def _search(resource: Json) -> str:
    """Return the search that finds the resource by its first identifier."""
    identifier = resource["identifier"][0]
    return f"identifier={_token(identifier.get('system', ''), identifier['value'])}"


def _token(system: str, value: str) -> str:
    """Return a token of a search (R4 search.html#token).

    Without the bar a value would match under any system: another hospital's patient.
    """
    return f"{quote(_escaped(system), safe=':/')}|{quote(_escaped(value), safe=':')}"


def _escaped(value: str) -> str:
    """Escape the signs that separate values of a search: `1,2` would find patient 1 or 2 (R4 search.html#escaping)."""
    return re.sub(r"([\\,$|])", r"\\\1", value)


def _reference(study: StudyResult, resource: Json) -> Json:
    value = resource["identifier"][0]["value"]
    return {"reference": f"urn:uuid:{derived_uuid(study.uid('fhir'), resource['resourceType'], value)}"}


def _patient(patient: PatientIdentity, system: str | None) -> Json | None:
    """Return the Patient, or None without a number; `system` of the profile goes before the issuer."""
    if not patient.patient_id:
        return None
    system = system or _issuer_system(patient.issuer)
    identifier = {"value": patient.patient_id}
    if system:
        identifier = {"system": system, "value": patient.patient_id}
    resource: Json = {"resourceType": "Patient", "identifier": [identifier]}
    if patient.names:
        _, name = patient.names[0]
        resource["name"] = [_human_name(name)]
    if patient.sex in GENDERS:
        resource["gender"] = GENDERS[patient.sex]
    if patient.birth_date is not None:
        resource["birthDate"] = str(patient.birth_date)
    return resource


def _issuer_system(issuer: Issuer) -> str:
    """Return Identifier.system, a URI: the issuer's OID, else one from its name; empty without an issuer."""
    if issuer.oid:
        return f"urn:oid:{issuer.oid}"
    return issuer_system(issuer.name) if issuer.name else ""


def _human_name(name: PersonName) -> Json:
    """Return a HumanName of the parts that are not empty."""
    human: Json = {"family": name.family} if name.family else {}
    parts = {
        "given": [*name.given.split(), *name.middle.split()],
        "prefix": [name.prefix] if name.prefix else [],
        "suffix": [name.suffix] if name.suffix else [],
    }
    return human | {key: values for key, values in parts.items() if values}


def _device(study: StudyResult, words: Language) -> Json:
    p = study.provenance
    return {
        "resourceType": "Device",
        "identifier": [{"system": DEVICES, "value": f"{p.software_version}-{p.pack_digest[:32]}"}],
        "manufacturer": "Osteon",
        "deviceName": [{"name": "Osteon", "type": "user-friendly-name"}],
        "version": [
            {"type": {"text": "software"}, "value": p.software_version},
            {"type": {"text": "model"}, "value": p.model},
        ],
        "note": [{"text": words.notice}],
    }


def _imaging_study(examination: Examination, study: StudyResult, subject: Json) -> Json:
    resource: Json = {
        "resourceType": "ImagingStudy",
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{study.study_instance_uid}"}],
        "status": "available",
        "subject": subject,
    }
    if accession := examination.order.accession_number:
        resource["identifier"].append(accession_identifier(accession))
    if examination.modality in ("CR", "DX"):
        resource["modality"] = [{"system": SCHEMES["DCM"], "code": examination.modality}]
    return resource


def _order(examination: Examination) -> Json | None:
    """Return a reference to the order by the study's accession number, or None without one."""
    accession = examination.order.accession_number
    return {"type": "ServiceRequest", "identifier": accession_identifier(accession)} if accession else None


def _based_on(context: _Context) -> Json:
    return {"basedOn": [context.order]} if context.order else {}


def _observations(context: _Context) -> Iterator[Json]:
    """Yield the observations on every radiograph of the study."""
    for name, result in zip(context.names, context.study.results, strict=True):
        yield from _of_radiograph(context, name, result)


def _of_radiograph(context: _Context, name: Sentence | None, result: Result) -> Iterator[Json]:
    """Yield one observation for each region, or one with the reason for no answer, and one for each part unread.

    The parts are the unread subjects with their site, then the other reasons why the radiograph is incomplete.
    `Result.statements` is their number: a later revision retracts those that it has not.
    """
    uid, model, words = result.sop_instance_uid, result.provenance.model, context.words

    def written(statement: Sentence) -> Json:
        return context.written(of_radiograph(name, statement))

    if result.not_analysed is not None:
        reason, code = result.not_analysed.reason, result.not_analysed.code.value
        sentence = Sentence.of("not analysed: {reason} [{code}]", reason=reason, code=code)
        absent = codeable(*NOT_PERFORMED) | {"text": words.say(reason)}
        yield _observation(context, uid, 1, model) | written(sentence) | {"dataAbsentReason": absent}
    for region, finding in enumerate(result.findings, 1):
        observation = _observation(context, uid, region, model) | written(finding_sentence(finding))
        observation |= _verdict(context, finding)
        observation["component"] += _components(finding, words)
        yield observation
    places = [{"bodySite": body_site(SITES[site], None, words.say(site.label))} for site in result.unread_subjects]
    parts = [(not_read((site,)), place) for site, place in zip(result.unread_subjects, places, strict=True)]
    parts += [(reason, {}) for reason in result.incomplete]
    for region, (sentence, place) in enumerate(parts, (len(result.findings) or 1) + 1):
        absent = codeable(*NOT_PERFORMED) | {"text": words.say(sentence)}
        yield _observation(context, uid, region, model) | written(sentence) | {"dataAbsentReason": absent} | place


def _observation(context: _Context, sop_instance_uid: str, region: int, model: str) -> Json:
    """Return the observation on a region, without its verdict and its text."""
    words = context.words
    uid = derived_uid(sop_instance_uid, "fhir region", region)  # the same for every revision and every pack
    return (
        {
            "resourceType": "Observation",
            "meta": {"security": [AI_ASSERTED]},
            "identifier": [uid_identifier(uid)],
            "status": context.status,
            "category": [codeable(*IMAGING)],
            "code": context.under_evaluation(coded(FRACTURE), TITLE),
            "subject": context.subject,
            "note": [*({"text": words.say(caveat)} for caveat in context.study.evaluation), {"text": words.notice}],
            "method": {"text": words.say(Sentence.of("neural network {model}", model=model))},
            "device": context.device,
            "derivedFrom": [context.imaging_study],
            "component": [component("RADIOGRAPH", "SOP Instance UID", {"valueString": sop_instance_uid})],
        }
        | context.effective
        | _based_on(context)
    )


def _verdict(context: _Context, finding: Finding) -> Json:
    """Return value, interpretation and body site; a region that is not cleared has the reason for no value instead.

    An interpretation is a flag, so an evaluation has none.
    """
    observation: Json = {}
    words = context.words
    if finding.verdict in INTERPRETATIONS:
        code, display = INTERPRETATIONS[finding.verdict]
        value = coded(PRESENCES[finding.verdict])
        observation["valueCodeableConcept"] = context.under_evaluation(value, finding.verdict.label)
        if not context.study.is_evaluation:
            observation["interpretation"] = [codeable(f"{HL7}/v3-ObservationInterpretation", code, display)]
    else:
        observation["dataAbsentReason"] = codeable(*UNKNOWN) | {"text": words.say(not_cleared(finding))}
    if finding.site_is_certain:
        side = SIDES.get(finding.laterality)
        observation["bodySite"] = body_site(SITES[finding.site], side, words.say(finding.place))
    return observation


def _components(finding: Finding, words: Language) -> list[Json]:
    """Return probability, focus and, where they are known, the place of the mark and the side."""
    components = [
        component("PROBABILITY", "Probability of a fracture", quantity(reported_probability(finding))),
        component("FOCUS", "Focus of the heat map", quantity(finding.focus)),
    ]
    if place := mark_place(finding):
        components.append(component("MARK", "Place of the suspicion", {"valueString": words.say(place)}))
    if finding.site_is_certain and finding.laterality in SIDES:
        side = {"valueCodeableConcept": coded(SIDES[finding.laterality])}
        components.append(component("SIDE", "Laterality", side))
    return components


def _report(context: _Context, observations: list[Json]) -> Json:
    study, words = context.study, context.words
    statements = [
        of_radiograph(name, each)
        for name, result in zip(context.names, study.results, strict=True)
        for each in radiograph_sentences(result, alone=name is None)
    ]
    spoken = map(words.say, (*statements, *limits(study)))
    sentences = [f"{sentence}." for sentence in dict.fromkeys((headline(study, words), words.notice, *spoken))]
    title = marked(study, words.say(TITLE), words)
    report: Json = {
        "resourceType": "DiagnosticReport",
        "meta": {"security": [AI_ASSERTED]},
        "identifier": [uid_identifier(derived_uid(study.study_instance_uid, "fhir report"))],
        "status": context.status,
        "category": [codeable(*RADIOLOGY)],
        "code": codeable(*DIAGNOSTIC_IMAGING_STUDY) | {"text": title},
        "subject": context.subject,
        "issued": study.created_at.isoformat(),
        "imagingStudy": [context.imaging_study],
        "conclusion": " ".join(sentences),
        "result": [_reference(study, observation) for observation in observations],
    }
    return report | context.effective | context.told(*sentences) | _based_on(context)


def _provenance(context: _Context, report: Json) -> Json:
    """Return the entry that names device, images and replaced revision; a tag finds it, as it has no identifier."""
    study = context.study
    tag = {"system": REVISIONS, "code": derived_uuid(study.uid("fhir provenance"))}
    provenance: Json = {
        "resourceType": "Provenance",
        "meta": {"tag": [tag]},
        "target": [_reference(study, report)],
        "recorded": study.created_at.isoformat(),
        "agent": [{"type": codeable(*ASSEMBLER), "who": context.device}],
        "entity": [{"role": "source", "what": context.imaging_study}],
    }
    if predecessor := study.predecessor_uid("fhir"):
        revision = context.words.say(Sentence.of("revision {revision}", revision=study.revision - 1))
        what = {"identifier": uid_identifier(predecessor), "display": revision}
        provenance["entity"].append({"role": "revision", "what": what})
    request = {"method": "POST", "url": "Provenance", "ifNoneExist": f"_tag={_token(tag['system'], tag['code'])}"}
    return {"fullUrl": f"urn:uuid:{tag['code']}", "resource": provenance, "request": request}


def _has_task(study: StudyResult, profile: Profile) -> bool:
    """Return whether this revision makes the Task, or an earlier one may have."""
    return profile.flag == "task" and (study.is_flagged(profile.flagged) or study.revision > 1)


def _task(context: _Context, report: Json) -> Json:
    """Return the request to read the study first, one for all revisions."""
    uid, words = derived_uid(context.study.study_instance_uid, "fhir task"), context.words
    title = words.say(Sentence.of("Read this study first"))
    task: Json = {
        "resourceType": "Task",
        "language": words.code,
        "meta": {"security": [AI_ASSERTED]},
        "identifier": [uid_identifier(uid)],
        "status": "requested",
        "intent": "proposal",
        "priority": "urgent",
        "code": {"coding": [{"system": CODES, "code": "READ-FIRST"}], "text": title},
        "description": f"{headline(context.study, words)}. {words.notice}",
        "focus": _reference(context.study, report),
        "for": context.subject,
        "authoredOn": context.study.created_at.isoformat(),
    }
    return task | _based_on(context)
