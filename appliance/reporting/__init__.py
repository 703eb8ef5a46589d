"""Reports to other systems: HL7 v2 and FHIR R4."""
