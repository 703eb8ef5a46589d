"""The validation of a site of anatomy: a sample of radiographs, and their reads by radiologists."""

from __future__ import annotations

from enum import StrEnum


class SampleKind(StrEnum):
    """The way in which radiographs get into a sample."""

    RANDOM = "random"
    """A simple random sample of the patients whose radiographs come in."""
    ENRICHED = "enriched"
    """Chosen by the appliance's own suspicion: reported apart, never pooled with a random sample."""


class ReadAnswer(StrEnum):
    """The answer of a radiologist who reads a radiograph of the sample."""

    FRACTURE = "fracture"
    NONE = "none"
    UNSURE = "unsure"
    UNUSABLE = "unusable"


class ReadMark(StrEnum):
    """A subgroup to which a reader says that a radiograph belongs."""

    HARDWARE = "hardware"
    OSTEOPOROSIS = "osteoporosis"
    PATHOLOGICAL = "pathological"
    ARTEFACT = "artefact"
    MOBILE = "mobile"


class ReadSource(StrEnum):
    """The way in which a read came."""

    PAGE = "page"
    CSV = "csv"
    HL7 = "hl7"


class Conclusion(StrEnum):
    """A fracture, as the conclusion of a radiologist's report has it."""

    FRACTURE = "fracture"
    NONE = "none"
    UNSURE = "unsure"
    """Left to a person."""


class ConcludedBy(StrEnum):
    """The reader of the conclusion of a report."""

    PATTERNS = "patterns"
    PERSON = "person"


class Decision(StrEnum):
    """A radiologist's decision about an answer of the appliance."""

    ACCEPT = "accept"
    REJECT = "reject"


class DecisionSource(StrEnum):
    """The way in which a decision came."""

    LINK = "link"
    HL7 = "hl7"
    AIRA = "aira"
    """An SR of the IHE profile AI Result Assessment."""
