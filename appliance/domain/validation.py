"""The validation of a site of anatomy: a sample of radiographs, and their reads by radiologists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from .finding import Box
from .identifiers import Laterality, Site
from .traits import AgeBand


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """A validation of some sites: a sample of radiographs that are drawn while it is open.

    Attributes
    ----------
    size
        Number of radiographs after which nothing more is drawn.
    share
        Share of patients that are drawn, above 0 to 1.
    secret
        Key of the hash that draws, hex: whoever knows it can foresee who is drawn.
    fingerprints
        Fingerprint of each site at the start; see `appliance.domain.phase.SitePhase`.
    ended_at
        None while the validation is open.
    """

    validation_id: int
    kind: SampleKind
    sites: tuple[Site, ...]
    size: int
    share: float
    secret: str = field(repr=False)
    fingerprints: Mapping[Site, str]
    person: str
    reason: str
    started_at: datetime
    ended_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether radiographs are drawn and read for it."""
        return self.ended_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The progress of a sample.

    Attributes
    ----------
    drawn
        Radiographs in the sample that can still be, or were, read blinded.
    read, blinded
        Reads of the sample, and those of them that are blinded.
    unblinded
        Radiographs about which an answer left the box before they were read: they do not count for `drawn`.
    released
        Those of `unblinded` whose answers left because the study has a radiograph whose header names a live site, or
        because an earlier answer had left.
    changed_sites
        Sites whose fingerprint changed since the start: nothing is drawn of them any more.
    outdated_sites
        Sites that were set back since the start, by the appliance or from live by a person.
    tries
        Random samples that were drawn for the same engine up to this one: of the site with the most.
    """

    drawn: int
    read: int
    blinded: int
    unblinded: int
    released: int = 0
    changed_sites: tuple[Site, ...] = ()
    outdated_sites: tuple[Site, ...] = ()
    tries: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """The read of a radiograph by a radiologist.

    Attributes
    ----------
    box
        Place of the fracture, px of the received image; None where the reader marks none.
    """

    reader: str
    source: ReadSource
    answer: ReadAnswer
    box: Box | None = None
    marks: tuple[ReadMark, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnPicture:
    """A radiograph of the sample as a reader sees it: without an answer, and without identity beyond these facts.

    Attributes
    ----------
    png
        The radiograph as a viewer displays it, in full resolution; empty if it cannot be displayed.
    reason
        Why it cannot be displayed; empty otherwise.
    view
        View position; empty if the header names none.
    has_burned_in_text
        Whether the header says that text which identifies the patient is in the pixels.
    """

    png: bytes = field(default=b"", repr=False)
    reason: str = ""
    side: Laterality = Laterality.UNKNOWN
    view: str = ""
    age_band: AgeBand = AgeBand.UNKNOWN
    has_burned_in_text: bool = False
