"""The sentences of the structured report: everything about a radiograph that has no code.

Each sentence is a comment beside the coded content, and refers to the radiographs that it is about.
"""

from __future__ import annotations

from collections.abc import Iterator

from appliance.domain.finding import Answer, Finding, UnreadRegion, Verdict
from appliance.domain.result import Result
from appliance.domain.sentence import Sentence
from appliance.domain.study import StudyResult


def study_sentences(study: StudyResult) -> Iterator[str]:
    """Yield the answer for the study, the suspicions that not all views show, then its notes."""
    yield _answer("Study", study.answer, study.unread_sites)
    yield from map(str, study.seen_in_some_views)
    yield from map(str, study.notes)


def radiograph_sentences(result: Result) -> Iterator[str]:
    """Yield the answer for a radiograph, its findings, everything that was not read with the reason, and the model."""
    if result.not_analysed is not None:
        yield f"Not analysed: {result.not_analysed.reason} [{result.not_analysed.code}]"
    else:
        yield _answer("Radiograph", result.answer, result.unread_sites)
    yield from (_of_finding(finding) for finding in result.findings)
    yield from (unread_sentence(region) for region in result.not_read)
    yield from (f"Incomplete: {reason}" for reason in result.incomplete)
    if neighbours := sorted({str(region.site.label) for region in result.not_assessed}):
        yield f"Not assessed, at the margin of the picture: {', '.join(neighbours)}"
    yield from map(str, result.caveats)
    yield f"Model {result.provenance.model}, software {result.provenance.software_version}"


def unread_sentence(region: UnreadRegion) -> str:
    """Return the sentence about a subject of the radiograph that no engine read, with the reason."""
    if region.box is None:
        return f"Not read: {region.site.label} (named by the header, not recognised in the picture)"
    return f"Not read: {region.site.label} (recognised in the picture, read by no engine)"


def withheld_sentence(finding: Finding) -> str:
    """Return the place and the reasons why a region is not cleared."""
    return f"{finding.place}: not cleared, because {'; '.join(str(reason.sentence) for reason in finding.withheld)}"


def _answer(subject: str, answer: Answer, unread_sites: tuple[Sentence, ...]) -> str:
    rest = f"; NOT READ OR NOT CLEARED: {', '.join(map(str, unread_sites))}" if unread_sites else ""
    return f"{subject}: {answer.label}{rest}"


def _of_finding(finding: Finding) -> str:
    not_cleared = finding.verdict is Verdict.NOT_CLEARED
    said = withheld_sentence(finding) if not_cleared else f"{finding.place}: {finding.verdict.label}"
    return f"{said}. Probability of a fracture {finding.stated_probability:.3f}, {finding.calibration}"
