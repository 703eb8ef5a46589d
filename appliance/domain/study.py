"""The result of a study: the latest result of each of its radiographs, as the reports render them.

A study is reported on when no new radiograph came for a while; a late radiograph makes the next revision.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from .finding import Answer, Finding
from .identifiers import Laterality, Site, derived_uid
from .result import UNDER_EVALUATION, Predecessor, Provenance, Result
from .sentence import Sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyResult:
    """The result of one study.

    Attributes
    ----------
    created_at
        UTC. Every time in an output is this one, so that rendering twice gives the same bytes.
    results
        The latest result of each radiograph, newest last; the last one names pack and software.
    predecessor
        The revision that this one replaces; None for the first.
    notes
        Sentences about the study that stand on every output beside the caveats of its radiographs.
    left_out
        Number of radiographs that are not part of the result; with one of them the study is incomplete at best.
    retracted
        Statements of earlier revisions that no current result supports: SOP Instance UID and number of the region.
    """

    study_instance_uid: str
    created_at: datetime
    results: tuple[Result, ...]
    revision: int = 1
    predecessor: Predecessor | None = None
    notes: tuple[Sentence, ...] = ()
    left_out: int = 0
    retracted: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        if not self.results:
            raise ValueError("a study result needs the result of at least one radiograph")
        if any(r.study_instance_uid != self.study_instance_uid for r in self.results):
            raise ValueError("a result belongs to another study")
        if self.created_at.tzinfo is None:
            raise ValueError("created_at needs a time zone")
        if (self.revision > 1) != (self.predecessor is not None):
            raise ValueError("a revision after the first names its predecessor")

    @property
    def answer(self) -> Answer:
        """The gravest answer of its radiographs; incomplete at best if one was left out or not analysed."""
        answers = {r.answer for r in self.results}
        if answers == {Answer.NOT_ANALYSED}:
            return Answer.NOT_ANALYSED
        if Answer.NOT_ANALYSED in answers or self.left_out:
            answers = (answers - {Answer.NOT_ANALYSED}) | {Answer.INCOMPLETE}
        return next(answer for answer in Answer if answer in answers)

    @property
    def is_evaluation(self) -> bool:
        """Whether one of its radiographs is told in an evaluation: a study follows the least advanced phase."""
        return any(r.is_evaluation for r in self.results)

    @property
    def heading(self) -> tuple[Sentence, ...]:
        """The words above every answer of an evaluation; empty outside of one."""
        return (UNDER_EVALUATION,) if self.is_evaluation else ()

    @property
    def evaluation(self) -> tuple[Sentence, ...]:
        """The caveats of evaluations, each once."""
        return tuple(dict.fromkeys(caveat for r in self.results for caveat in r.evaluation))

    def is_flagged(self, answers: Collection[str]) -> bool:
        """Return whether outputs flag the study where those `answers` are flagged; an evaluation flags nothing."""
        return self.answer in answers and not self.is_evaluation

    @property
    def unread_sites(self) -> tuple[Sentence, ...]:
        """Names of the subjects that were not read or not cleared on any radiograph, each once."""
        return tuple(dict.fromkeys(site for r in self.results for site in r.unread_sites))

    @property
    def seen_in_some_views(self) -> tuple[Sentence, ...]:
        """Sentences about each suspicion that some views of its joint show and others do not.

        The views of a joint are the radiographs of one site and side on which an engine read it. The sentence informs
        the radiologist; it never changes the answer.
        """
        suspicions = {f.place: f for r in self.results for f in r.findings if f.verdict.is_suspicious}
        sentences = []
        for place, suspicion in suspicions.items():
            shown = ([f for f in r.findings if _is_of_the_joint(f, suspicion)] for r in self.results)
            seen = [any(f.verdict.is_suspicious for f in findings) for findings in shown if findings]
            if any(seen) and not all(seen):
                sentences.append(
                    Sentence.of(
                        "{place}: seen in {seen} of {count} views", place=place, seen=sum(seen), count=len(seen)
                    )
                )
        return tuple(sentences)

    @property
    def provenance(self) -> Provenance:
        """The provenance of the newest result."""
        return self.results[-1].provenance

    @property
    def caveats(self) -> tuple[Sentence, ...]:
        """The notes on the study and the caveats of its radiographs, each sentence once."""
        return tuple(dict.fromkeys((*self.notes, *(c for r in self.results for c in r.caveats))))

    def uid(self, kind: str) -> str:
        """Derive the UID of the object of that `kind` from study, pack, kind and revision."""
        return _uid(self.study_instance_uid, self.provenance.pack_digest, kind, self.revision)

    def predecessor_uid(self, kind: str) -> str | None:
        """Derive the UID of the object of that `kind` that this revision replaces; None for the first revision."""
        p = self.predecessor
        return _uid(self.study_instance_uid, p.pack_digest, kind, p.revision) if p else None


def _is_of_the_joint(finding: Finding, suspicion: Finding) -> bool:
    """Whether a finding is about the joint of a suspicion; a pelvis without a side shows both hips."""
    if not (finding.site_is_certain and suspicion.site_is_certain and finding.site is suspicion.site):
        return False
    shows_both = finding.site is Site.PELVIS and finding.laterality is Laterality.UNKNOWN
    return shows_both or finding.laterality is suspicion.laterality


def _uid(study_instance_uid: str, pack_digest: str, kind: str, revision: int) -> str:
    return derived_uid("study", study_instance_uid, pack_digest, kind, revision)
