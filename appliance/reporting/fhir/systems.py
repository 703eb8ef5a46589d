"""Systems of our own codes and identifiers, and the public ones that we use.

Ours are OIDs under 2.25, the root for UUIDs, which needs no registration (ITU-T X.667); each UUID follows from the
name beside it, see `appliance.domain.identifiers.derived_uid`.

References
----------
HL7 FHIR R4 (4.0.1) terminologies-systems.html; HL7 Terminology, CodeSystem v3-ObservationValue.
"""

from __future__ import annotations

from appliance.domain.identifiers import derived_uid

CODES = "urn:oid:2.25.21049286801953586769537732688718055733"
"""Our codes: RADIOGRAPH, PROBABILITY, MARK, FOCUS, SIDE and READ-FIRST. UUID of ``fhir system/code``."""

DEVICES = "urn:oid:2.25.143476705117002644299569152885831321229"
"""Identifiers of software and pack. UUID of ``fhir system/device``."""

REVISIONS = "urn:oid:2.25.159114549100961781773215000869203789436"
"""Tags of revisions. UUID of ``fhir system/provenance``."""

SCHEMES = {"SCT": "http://snomed.info/sct", "DCM": "http://dicom.nema.org/resources/ontology/DCM"}
"""URI of a coding scheme, by its DICOM designator."""

HL7 = "http://terminology.hl7.org/CodeSystem"
UCUM = "http://unitsofmeasure.org"

DISPLAYS = {"272519000": "Absence findings"}
"""Terms of SNOMED CT where DICOM has another meaning: terminology servers refuse a display that is no term."""

AI_ASSERTED = {"system": f"{HL7}/v3-ObservationValue", "code": "AIAST", "display": "Artificial Intelligence asserted"}
"""Meta.security of a resource with content made by an algorithm."""


def issuer_system(name: str) -> str:
    """Return the system of patient numbers of an issuer with a name only: an OID that follows from the name."""
    return f"urn:oid:{derived_uid('fhir system', 'issuer', name)}"
