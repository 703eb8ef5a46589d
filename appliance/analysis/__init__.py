"""The algorithm: eligibility, localisation and classification, from a radiograph to its result."""
