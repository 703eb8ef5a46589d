"""The score of a sample: the appliance's answers against the radiologists' reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from appliance.domain.finding import Answer
from appliance.domain.identifiers import Site
from appliance.domain.validation import ReadAnswer, ReadMark

from .calibration import Calibration, calibration
from .statistics import Estimate, Homogeneity, Rate, auroc, homogeneity, rate

DEFINITIONS = (
    "The unit is the radiograph; a sample holds one radiograph of each patient.",
    "The answer is that of the site's own engine: fracture suspected and possible fracture count as positive.",
    "No fracture found counts as negative, where the appliance would say so about the whole radiograph.",
    "A second table counts possible fracture as negative, too.",
    "The truth is the radiologist's read. Only blinded reads count: no answer about the study had left before.",
    "Rates leave out radiographs that are incomplete, not analysed, or read as unsure or unusable.",
    "The table of coverage counts them.",
    "So sensitivity leaves out fractures that are not answered; fractures found of all counts them as not found.",
    "Coverage is the share of sampled radiographs that the appliance answers with positive or negative.",
    "PPV and NPV hold at the share of fractures in this sample.",
    "Intervals are two-sided and hold with 95% confidence: Clopper-Pearson for rates, Newcombe's method 5 for AUROC.",
)
"""Sentences that stand on page and report."""

UNMARKED = "none"
"""Name of the subgroup of radiographs that the reader gave no mark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A radiograph of a sample.

    Attributes
    ----------
    site
        Site under which it was drawn: that of the header.
    answer
        Answer of the site's own engine; see `appliance.rollout.site_answer`.
    probability
        Highest probability of the site's findings; None without one.
    read
        Answer of the radiologist; None before the read.
    is_blinded
        Whether no answer about the study had left before the read.
    """

    result_id: int
    site: Site
    answer: Answer
    probability: float | None = None
    read: ReadAnswer | None = None
    is_blinded: bool = True
    marks: frozenset[ReadMark] = frozenset()
    age_band: str = ""
    view: str = ""
    device: str = ""

    @property
    def call(self) -> bool | None:
        """Whether the answer is positive; None where the radiograph is not answered."""
        if self.answer in (Answer.INCOMPLETE, Answer.NOT_ANALYSED):
            return None
        return self.answer.is_suspicious

    @property
    def truth(self) -> bool | None:
        """Whether the read says fracture; None where it says neither fracture nor none, or is missing."""
        return {ReadAnswer.FRACTURE: True, ReadAnswer.NONE: False}.get(self.read) if self.read else None

    @property
    def is_scored(self) -> bool:
        """Whether both call and truth are known."""
        return self.call is not None and self.truth is not None

    @property
    def is_disagreement(self) -> bool:
        """Whether call and truth are known and differ."""
        return self.is_scored and self.call is not self.truth


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """The four counts of a table of calls and truths, and the rates that follow from them."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int
    accuracy: Rate
    sensitivity: Rate
    specificity: Rate
    ppv: Rate
    npv: Rate
    prevalence: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """The radiographs that accuracy leaves out.

    Attributes
    ----------
    answered
        Positive or negative answers of all sampled radiographs, read or not.
    incomplete, not_analysed
        Sampled radiographs that the appliance does not answer.
    read
        Radiographs with a read of all sampled ones.
    unsure, unusable
        Reads that say neither fracture nor none.
    scored
        Radiographs with an answer and a read of fracture or none.
    decided
        Of all sampled radiographs, those that are scored or that the appliance does not answer.
    fractures_found
        Positive answers of all radiographs read as fracture, answered or not.
    """

    answered: Rate
    incomplete: int
    not_analysed: int
    read: Rate
    unsure: int
    unusable: int
    scored: int
    decided: Rate
    fractures_found: Rate

    @property
    def sampled(self) -> int:
        """Number of sampled radiographs."""
        return self.answered.n


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupScore:
    """The score of a group of radiographs.

    Attributes
    ----------
    doubt_as_negative
        The same radiographs, where a possible fracture counts as negative.
    auroc
        Of the scored radiographs' probabilities; None unless fractures and others are among them.
    """

    measures: Measures
    doubt_as_negative: Measures
    coverage: Coverage
    auroc: Estimate | None


class SubgroupKind(StrEnum):
    """The trait that makes a subgroup."""

    MARK = "mark"
    AGE = "age"
    VIEW = "view"
    DEVICE = "device"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subgroup:
    """The score of the radiographs that share a trait; an empty name stands for an unknown one."""

    kind: SubgroupKind
    name: str
    score: GroupScore


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The score of a sample.

    Attributes
    ----------
    overall
        Of all radiographs but those of `unblinded`, as everything else here.
    sites
        Of each site.
    unblinded
        Of the radiographs about which an answer had left before the read; None without one. They prove nothing.
    calibration
        Of the scored radiographs' probabilities; None unless fractures and others are among them.
    consistency
        Of accuracy between sites; None of fewer than two.
    """

    overall: GroupScore
    sites: dict[Site, GroupScore]
    subgroups: tuple[Subgroup, ...]
    unblinded: GroupScore | None
    calibration: Calibration | None
    consistency: Homogeneity | None


def score(cases: Sequence[Case]) -> Score:
    """Return the score of a sample, one case for each sampled radiograph."""
    blinded = [case for case in cases if case.is_blinded]
    unblinded = [case for case in cases if not case.is_blinded]
    sites = {site: _score_group([case for case in blinded if case.site is site]) for site in _sites(blinded)}
    return Score(
        overall=_score_group(blinded),
        sites=sites,
        subgroups=tuple(_subgroups(blinded)),
        unblinded=_score_group(unblinded) if unblinded else None,
        calibration=calibration(*_probabilities(blinded)),
        consistency=homogeneity({site: group.measures.accuracy for site, group in sites.items()}),
    )


def measures(calls_and_truths: Iterable[tuple[bool, bool]]) -> Measures:
    """Count calls and truths, and return the rates."""
    count = Counter(calls_and_truths)
    tp, fp, fn, tn = count[True, True], count[True, False], count[False, True], count[False, False]
    return Measures(
        true_positives=tp,
        false_positives=fp,
        false_negatives=fn,
        true_negatives=tn,
        accuracy=rate(tp + tn, tp + fp + fn + tn),
        sensitivity=rate(tp, tp + fn),
        specificity=rate(tn, tn + fp),
        ppv=rate(tp, tp + fp),
        npv=rate(tn, tn + fn),
        prevalence=rate(tp + fn, tp + fp + fn + tn),
    )


def _score_group(cases: Sequence[Case]) -> GroupScore:
    scored = [case for case in cases if case.is_scored]
    answers = Counter(case.answer for case in cases)
    reads = Counter(case.read for case in cases)
    return GroupScore(
        measures=measures((bool(case.call), bool(case.truth)) for case in scored),
        doubt_as_negative=measures((case.answer is Answer.POSITIVE, bool(case.truth)) for case in scored),
        coverage=Coverage(
            answered=rate(sum(case.call is not None for case in cases), len(cases)),
            incomplete=answers[Answer.INCOMPLETE],
            not_analysed=answers[Answer.NOT_ANALYSED],
            read=rate(len(cases) - reads[None], len(cases)),
            unsure=reads[ReadAnswer.UNSURE],
            unusable=reads[ReadAnswer.UNUSABLE],
            scored=len(scored),
            decided=rate(sum(case.call is None or case.is_scored for case in cases), len(cases)),
            fractures_found=rate(sum(bool(case.call) for case in cases if case.truth), reads[ReadAnswer.FRACTURE]),
        ),
        auroc=auroc(*_probabilities(cases)),
    )


def _probabilities(cases: Iterable[Case]) -> tuple[list[float], list[bool]]:
    """Return probability and truth of the scored cases."""
    known = [(case.probability, bool(case.truth)) for case in cases if case.is_scored and case.probability is not None]
    return [probability for probability, _ in known], [truth for _, truth in known]


def _sites(cases: Iterable[Case]) -> list[Site]:
    present = {case.site for case in cases}
    return [site for site in Site if site in present]


def _subgroups(cases: Sequence[Case]) -> Iterable[Subgroup]:
    for kind in SubgroupKind:
        for name in sorted({name for case in cases for name in _names(case, kind)}):
            group = [case for case in cases if name in _names(case, kind)]
            yield Subgroup(kind=kind, name=name, score=_score_group(group))


def _names(case: Case, kind: SubgroupKind) -> Iterable[str]:
    """Return the subgroups of one kind that a case belongs to; an unread one has no mark."""
    if kind is SubgroupKind.MARK:
        return (case.marks or {UNMARKED}) if case.read else ()
    return ({SubgroupKind.AGE: case.age_band, SubgroupKind.VIEW: case.view, SubgroupKind.DEVICE: case.device}[kind],)
