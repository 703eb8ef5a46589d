"""What is said of a study: the latest result of each of its radiographs, as the reports render them.

A report of a study goes out when no new radiograph came for a while; a late one makes the next revision.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from .finding import Answer
from .identifiers import derived_uid
from .result import Predecessor, Provenance, Result


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyResult:
    """The answer for one study.

    Attributes
    ----------
    created_at
        UTC; every time in an output comes from here, so that rendering twice gives the same bytes.
    results
        The latest of each radiograph, newest last; that one names pack and software.
    predecessor
        The revision that this one takes the place of; None for the first.
    notes
        Sentences about the study that stand on every output beside the caveats of its radiographs.
    unsaid
        What an earlier report told and no result says any more: SOP Instance UID and number of the region.
    """

    study_instance_uid: str
    created_at: datetime
    results: tuple[Result, ...]
    revision: int = 1
    predecessor: Predecessor | None = None
    notes: tuple[str, ...] = ()
    unsaid: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        if not self.results:
            raise ValueError("a study's result has at least one radiograph's")
        if any(r.study_instance_uid != self.study_instance_uid for r in self.results):
            raise ValueError("a result of another study")
        if self.created_at.tzinfo is None:
            raise ValueError("created_at needs a time zone")
        if (self.revision > 1) != (self.predecessor is not None):
            raise ValueError("a revision after the first names its predecessor")

    @property
    def answer(self) -> Answer:
        """The gravest answer of the radiographs."""
        return max((r.answer for r in self.results), key=lambda a: a.severity)

    @property
    def provenance(self) -> Provenance:
        """By what the newest result was made."""
        return self.results[-1].provenance

    @property
    def caveats(self) -> tuple[str, ...]:
        """Every sentence about the study or that one of the radiographs carries, once."""
        return tuple(dict.fromkeys((*self.notes, *(c for r in self.results for c in r.caveats))))

    def uid(self, kind: str) -> str:
        """UID of the object of that `kind`: a function of study, pack, kind and revision."""
        return _uid(self.study_instance_uid, self.provenance.pack_digest, kind, self.revision)

    def predecessor_uid(self, kind: str) -> str | None:
        """UID of the object of that `kind` that this one takes the place of."""
        p = self.predecessor
        return _uid(self.study_instance_uid, p.pack_digest, kind, p.revision) if p else None


def _uid(study_instance_uid: str, pack_digest: str, kind: str, revision: int) -> str:
    return derived_uid("study", study_instance_uid, pack_digest, kind, revision)
