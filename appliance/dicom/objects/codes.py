"""Conversion of coded concepts to pydicom and highdicom, and the terms that only DICOM objects use.

References
----------
DICOM PS3.16 Annex L (Body Part Examined), CID 29 (modalities); PS3.3 section 8.8 (Code Sequence Macro).
"""

from __future__ import annotations

from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
)

from appliance.domain.codes import Concept
from appliance.domain.identifiers import Site

BODY_PARTS: dict[Site, str] = {site: site.value.upper() for site in Site} | {Site.LOWER_LEG: "LEG"}
"""Defined terms of Body Part Examined (0018,0015)."""

MODALITIES: dict[str, Concept] = {
    ComputedRadiographyImageStorage: Concept("CR", "DCM", "Computed Radiography"),
    DigitalXRayImageStorageForPresentation: Concept("DX", "DCM", "Digital Radiography"),
    DigitalXRayImageStorageForProcessing: Concept("DX", "DCM", "Digital Radiography"),
}


def code_item(concept: Concept) -> Dataset:
    """Return the item of a code sequence (DICOM PS3.3 section 8.8)."""
    item = Dataset()
    item.CodeValue = concept.code
    item.CodingSchemeDesignator = concept.scheme
    item.CodeMeaning = concept.meaning
    return item


def coded_concept(concept: Concept) -> CodedConcept:
    """Return the concept as highdicom's content items take it."""
    return CodedConcept(concept.code, concept.scheme, concept.meaning)
