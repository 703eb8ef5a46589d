"""Sentences about a study that HL7 and FHIR share: the answer first, then each region, then the limits.

The first sentence is complete by itself, since many readers see no other: it names the answer, the regions, and the
subjects that were not read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from appliance.domain.finding import Answer, Finding, Verdict
from appliance.domain.order import Examination
from appliance.domain.result import Result
from appliance.domain.study import StudyResult

LEAST, MOST = 0.001, 0.999
"""Range of a probability in a report: no calibrated probability is certain."""

POPULATION = (
    "probabilities are calibrated on the radiographs that the model was measured on, "
    "which show more fractures than a hospital's"
)
"""The limit of every probability, told once in each report that has one."""

THIRDS_DOWN = ("upper", "middle", "lower")
THIRDS_ACROSS = ("at the left of the picture", "in the middle", "at the right of the picture")
"""Words for thirds of a region. Left and right are the picture's, since a side without these words is the patient's."""


def reported_probability(finding: Finding) -> float:
    """Return the probability to three decimals, never 0 and never 1."""
    return round(min(max(finding.probability, LEAST), MOST), 3)


def headline(study: StudyResult) -> str:
    """Return the first sentence of a report, for example ``INCOMPLETE - wrist: no fracture found. NOT READ: elbow``."""
    answer = study.answer
    sentences = [", ".join(_places(study, answer)), *_other_verdicts(study, answer)]
    sentences += map(str, study.seen_in_some_views)
    if unread := dict.fromkeys(str(site.label) for r in study.results for site in r.unread_subjects):
        sentences.append(f"NOT READ: {', '.join(unread)}")
    sentences += dict.fromkeys(str(reason) for r in study.results for reason in r.incomplete)
    sentences += _not_analysed(study)
    return f"{str(answer.label).upper()} - {'. '.join(filter(None, sentences))}"


def finding_sentence(finding: Finding) -> str:
    """Return place, verdict, probability and, of a suspicion, the place of its mark."""
    parts = [str(finding.verdict.label), f"probability {finding.percent}"]
    if finding.verdict is Verdict.NOT_CLEARED:
        parts.append(withheld_reasons(finding))
    if mark := mark_place(finding):
        parts.append(mark)
    return f"{finding.place}: {', '.join(parts)}"


def withheld_reasons(finding: Finding) -> str:
    """Return the reasons why the region is not cleared, each once."""
    return "; ".join(dict.fromkeys(str(reason.sentence) for reason in finding.withheld))


def mark_place(finding: Finding) -> str:
    """Return the place of the mark of a suspicion in words and px of the received image; empty without a mark."""
    if not (finding.mark and finding.verdict.is_suspicious):
        return ""
    xs, ys = zip(*finding.mark, strict=True)
    box = finding.box
    across = _third((min(xs) + max(xs)) / 2, box.x0, box.x1)
    down = _third((min(ys) + max(ys)) / 2, box.y0, box.y1)
    return (
        f"mark in the {THIRDS_DOWN[down]} third of the region {THIRDS_ACROSS[across]}, "
        f"at x {min(xs):.0f} to {max(xs):.0f} and y {min(ys):.0f} to {max(ys):.0f} px"
    )


def radiograph_names(study: StudyResult, examination: Examination) -> list[str]:
    """Return a name for each radiograph: its view where no other has the same, else its number in order of analysis."""
    views = dict(examination.views)
    found = [views.get(result.sop_instance_uid, "") for result in study.results]
    shared = Counter(found)
    return [
        view if view and shared[view] == 1 else f"radiograph {number}" + (f" ({view})" if view else "")
        for number, view in enumerate(found, 1)
    ]


def radiograph_sentences(result: Result, *, alone: bool) -> Iterator[str]:
    """Yield a sentence for each region of a radiograph; beside others also the limits that the headline names."""
    yield from map(finding_sentence, result.findings)
    if alone:
        return
    if result.not_analysed is not None:
        yield f"not analysed: {result.not_analysed.reason}"
    if unread := ", ".join(str(site.label) for site in result.unread_subjects):
        yield f"not read: {unread}"
    yield from map(str, result.incomplete)


def limits(study: StudyResult) -> Iterator[str]:
    """Yield the caveats, the neighbours that were not assessed, and the population of the probabilities."""
    yield from map(str, study.caveats)
    neighbours = dict.fromkeys(str(region.site.label) for result in study.results for region in result.not_assessed)
    if neighbours:
        yield f"at the margin, not assessed: {', '.join(neighbours)}"
    if any(result.findings for result in study.results):
        yield POPULATION


def _third(value: float, low: float, high: float) -> int:
    """Return 0, 1 or 2: the third of low to high in which the value lies."""
    return min(2, max(0, int(3 * (value - low) / (high - low))))


def _verdicts(study: StudyResult) -> dict[str, Verdict]:
    """Return the gravest verdict of each place of the study."""
    gravest: dict[str, Verdict] = {}
    for finding in (f for result in study.results for f in result.findings):
        place, verdict = str(finding.place), finding.verdict
        gravest[place] = max(gravest.get(place, verdict), verdict, key=lambda each: each.severity)
    return gravest


def _places(study: StudyResult, answer: Answer) -> list[str]:
    """Return the places with the verdict that is the answer of the study."""
    return [place for place, verdict in _verdicts(study).items() if verdict.value == answer.value]


def _other_verdicts(study: StudyResult, answer: Answer) -> Iterator[str]:
    """Yield the places with each other verdict, gravest first."""
    verdicts = _verdicts(study)
    for verdict in (v for v in Verdict if v.value != answer.value):
        places = ", ".join(place for place, found in verdicts.items() if found is verdict)
        if places and verdict is Verdict.NOT_CLEARED:
            yield f"NOT CLEARED: {places}"
        elif places:
            yield f"{places}: {verdict.label}"


def _not_analysed(study: StudyResult) -> list[str]:
    """Return the reasons if no radiograph was analysed, else the count of radiographs that were not, if any."""
    reasons = [str(result.not_analysed.reason) for result in study.results if result.not_analysed]
    if study.answer is Answer.NOT_ANALYSED:
        return list(dict.fromkeys(reasons))
    return [f"{len(reasons)} of {len(study.results)} radiographs NOT ANALYSED"] if reasons else []
