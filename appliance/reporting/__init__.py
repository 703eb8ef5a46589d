"""HL7 v2 and FHIR out."""
