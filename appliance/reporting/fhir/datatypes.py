"""FHIR data types and code systems as JSON: codings, identifiers, quantities and narratives.

References
----------
HL7 FHIR R4 (4.0.1): datatypes.html, narrative.html, terminologies-systems.html; DICOM PS3.20 for ``urn:dicom:uid``.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

from appliance.domain.codes import Concept

from .systems import CODES, DISPLAYS, HL7, SCHEMES, UCUM

Json = dict[str, Any]

ACCESSION_TYPE: Json = {"coding": [{"system": f"{HL7}/v2-0203", "code": "ACSN", "display": "Accession ID"}]}
"""Identifier.type of an accession number (table 0203)."""

LATERALITY = "272741003"
"""Attribute Laterality of SNOMED CT."""


def codeable(system: str, code: str, display: str) -> Json:
    """Return a CodeableConcept with one coding."""
    return {"coding": [{"system": system, "code": code, "display": display}]}


def coded(concept: Concept) -> Json:
    """Return a CodeableConcept for a concept of SNOMED CT or DICOM."""
    return codeable(SCHEMES[concept.scheme], concept.code, DISPLAYS.get(concept.code, concept.meaning))


def body_site(site: Concept, side: Concept | None, place: str) -> Json:
    """Return the CodeableConcept of a site; with a side, an expression of SNOMED CT that has it as laterality.

    The first coding is the site alone, for readers that know no expressions (R4 snomedct.html, "Code").
    """
    concept = coded(site) | {"text": place}
    if side is not None:
        expression = f"{site.code}:{LATERALITY}={side.code}"
        concept["coding"].append({"system": SCHEMES["SCT"], "code": expression})
    return concept


def accession_identifier(number: str) -> Json:
    """Return the Identifier of an accession number."""
    return {"type": ACCESSION_TYPE, "value": number}


def component(code: str, display: str, value: Json) -> Json:
    """Return an Observation.component under one of Osteon's own codes; `value` is its ``value[x]``."""
    return {"code": codeable(CODES, code, display)} | value


def quantity(value: float) -> Json:
    """Return a ``valueQuantity`` without unit, to three decimals."""
    return {"valueQuantity": {"value": round(value, 3), "system": UCUM, "code": "1"}}


def uid_identifier(uid: str) -> dict[str, str]:
    """Return the Identifier of a DICOM UID (R4 imagingstudy.html, "Identifying imaging studies")."""
    return {"system": "urn:dicom:uid", "value": f"urn:oid:{uid}"}


def narrative(sentences: Iterable[str], language: str) -> dict[str, str]:
    """Return a generated Narrative with one paragraph for each sentence (R4 narrative.html#lang)."""
    paragraphs = "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)
    return {
        "status": "generated",
        "div": f'<div xmlns="http://www.w3.org/1999/xhtml" lang="{language}" xml:lang="{language}">{paragraphs}</div>',
    }
