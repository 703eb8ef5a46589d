"""FHIR R4: renders the transaction bundle and sends it to a server."""
