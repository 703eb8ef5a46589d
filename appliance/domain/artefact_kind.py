"""Kinds of artefacts: the rendered outputs that leave for PACS, RIS and FHIR servers."""

from __future__ import annotations

from enum import StrEnum


class ArtefactKind(StrEnum):
    """Kind of one artefact, as the database and the status page name it."""

    SECONDARY_CAPTURE = "sc"
    """Picture of one radiograph with heat map and regions."""
    PRESENTATION_STATE = "pr"
    """Regions of one radiograph, drawn by the viewer."""
    SUMMARY = "summary"
    """A page of the summary of a study, a Secondary Capture too."""
    STRUCTURED_REPORT = "sr"
    KEY_OBJECTS = "ko"
    REJECTION = "rejection"
    """Rejection note (IHE Imaging Object Change Management)."""
    ORU = "oru"
    """HL7 message with the observations of a study."""
    ORU_WITHDRAWAL = "oru_withdrawal"
    ORDER = "order"
    """HL7 message that raises the priority of a study's order."""
    ORDER_WITHDRAWAL = "order_withdrawal"
    FHIR = "fhir"
    """Bundle with the report of a study."""
    FHIR_WITHDRAWAL = "fhir_withdrawal"

    @property
    def is_dicom(self) -> bool:
        """True for a DICOM object, which only a PACS takes."""
        return self in _DICOM

    @property
    def is_fhir(self) -> bool:
        """True for a FHIR Bundle."""
        return self in (ArtefactKind.FHIR, ArtefactKind.FHIR_WITHDRAWAL)

    @property
    def is_picture(self) -> bool:
        """True for a Secondary Capture Image, which every PACS shows."""
        return self in (ArtefactKind.SECONDARY_CAPTURE, ArtefactKind.SUMMARY)

    @property
    def revokes(self) -> bool:
        """True for an artefact that takes earlier artefacts back, and is never taken back itself."""
        return self in REVOCATIONS


_DICOM = frozenset(
    {
        ArtefactKind.SECONDARY_CAPTURE,
        ArtefactKind.PRESENTATION_STATE,
        ArtefactKind.SUMMARY,
        ArtefactKind.STRUCTURED_REPORT,
        ArtefactKind.KEY_OBJECTS,
        ArtefactKind.REJECTION,
    }
)

REVOCATIONS = frozenset(
    {
        ArtefactKind.REJECTION,
        ArtefactKind.ORU_WITHDRAWAL,
        ArtefactKind.ORDER_WITHDRAWAL,
        ArtefactKind.FHIR_WITHDRAWAL,
    }
)
"""Kinds that take earlier artefacts back."""


def kind_and_page(kind: ArtefactKind, page: int) -> str:
    """Return the name of an artefact for people: ``sr``, ``summary``, ``summary 2``."""
    return f"{kind}" if page == 1 else f"{kind} {page}"
