"""The sentences of the structured report: everything about a radiograph that has no code.

Each sentence is a comment beside the coded content, and refers to the radiographs that it is about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from appliance.domain.finding import Answer, Finding, UnreadRegion, Verdict
from appliance.domain.result import Result
from appliance.domain.sentence import Sentence, joined
from appliance.domain.study import StudyResult


def study_answer(study: StudyResult) -> Sentence:
    """Return the answer for the study, with the names of what was not read or not cleared."""
    return _answer(Sentence.of("Study"), study.answer, study.unread_sites)


def study_sentences(study: StudyResult) -> Iterator[Sentence]:
    """Yield the answer for the study, the suspicions that not all views show, then its notes."""
    yield study_answer(study)
    yield from study.seen_in_some_views
    yield from study.notes


def radiograph_sentences(result: Result) -> Iterator[Sentence]:
    """Yield the answer for a radiograph, its findings, everything that was not read with the reason, and the model."""
    if result.not_analysed is not None:
        reason, code = result.not_analysed.reason, result.not_analysed.code.value
        yield Sentence.of("Not analysed: {reason} [{code}]", reason=reason, code=code)
    else:
        yield _answer(Sentence.of("Radiograph"), result.answer, result.unread_sites)
    yield from (_of_finding(finding) for finding in result.findings)
    yield from (unread_sentence(region) for region in result.not_read)
    yield from limits(result)
    p = result.provenance
    yield Sentence.of("Model {model}, software {software}", model=p.model, software=p.software_version)


def limits(result: Result) -> Iterator[Sentence]:
    """Yield the other reasons for incompleteness, the neighbours that were not assessed, and the caveats."""
    yield from (Sentence.of("Incomplete: {reason}", reason=reason) for reason in result.incomplete)
    if neighbours := tuple(sorted({region.site.label for region in result.not_assessed}, key=str)):
        yield Sentence.of("Not assessed, at the margin of the picture: {sites}", sites=neighbours)
    yield from result.caveats


def unread_sentence(region: UnreadRegion) -> Sentence:
    """Return the sentence about a subject of the radiograph that is not read, with the reason."""
    site = region.site.label
    if not region.is_in_use:
        return Sentence.of("Not read: {site} (not in use at this hospital)", site=site)
    if region.box is None:
        return Sentence.of("Not read: {site} (named by the header, not recognised in the picture)", site=site)
    return Sentence.of("Not read: {site} (recognised in the picture, read by no engine)", site=site)


def withheld_sentence(finding: Finding) -> Sentence:
    """Return the place and the reasons why a region is not cleared."""
    reasons = joined(reason.sentence for reason in finding.withheld)
    return Sentence.of("{place}: not cleared, because {reasons}", place=finding.place, reasons=reasons)


def verdict_sentence(finding: Finding) -> Sentence:
    """Return the place and the verdict."""
    return Sentence.of("{place}: {verdict}", place=finding.place, verdict=finding.verdict.label)


def _answer(subject: Sentence, answer: Answer, unread_sites: Iterable[Sentence]) -> Sentence:
    if not (unread := tuple(unread_sites)):
        return Sentence.of("{subject}: {answer}", subject=subject, answer=answer.label)
    return Sentence.of(
        "{subject}: {answer}; NOT READ OR NOT CLEARED: {sites}", subject=subject, answer=answer.label, sites=unread
    )


def _of_finding(finding: Finding) -> Sentence:
    is_withheld = finding.verdict is Verdict.NOT_CLEARED
    return Sentence.of(
        "{statement}. Probability of a fracture {probability}, {calibration}",
        statement=withheld_sentence(finding) if is_withheld else verdict_sentence(finding),
        probability=f"{finding.stated_probability:.3f}",
        calibration=finding.calibration,
    )
