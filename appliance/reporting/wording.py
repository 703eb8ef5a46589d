"""Sentences about a study that HL7 and FHIR share: the answer first, then each region, then the limits.

The first sentence is complete by itself, since many readers see no other: it names the answer, the regions, and the
subjects that were not read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from appliance.domain.finding import Answer, Finding, Verdict
from appliance.domain.identifiers import Site
from appliance.domain.order import Examination
from appliance.domain.result import Result
from appliance.domain.sentence import Sentence, joined
from appliance.domain.study import StudyResult
from appliance.words import ENGLISH, Language

LEAST, MOST = 0.001, 0.999
"""Range of a probability in a report: no calibrated probability is certain."""

POPULATION = Sentence.of(
    "probabilities are calibrated on the radiographs that the model was measured on, "
    "which show more fractures than a hospital's"
)
"""The limit of every probability, told once in each report that has one."""

THIRDS_DOWN = (Sentence.of("upper"), Sentence.of("middle"), Sentence.of("lower"))
THIRDS_ACROSS = (
    Sentence.of("at the left of the picture"),
    Sentence.of("in the middle"),
    Sentence.of("at the right of the picture"),
)
"""Words for thirds of a region. Left and right are the picture's, since a side without these words is the patient's."""


def reported_probability(finding: Finding) -> float:
    """Return the probability to three decimals, never 0 and never 1."""
    return round(min(max(finding.probability, LEAST), MOST), 3)


def marked(study: StudyResult, text: str, language: Language) -> str:
    """Return the text of a study after the words that say that it is under evaluation, if it is."""
    return " - ".join((*map(language.say, study.heading), text))


def headline(study: StudyResult, language: Language = ENGLISH) -> str:
    """Return the first sentence of a report, for example ``INCOMPLETE - wrist: no fracture found. NOT READ: elbow``.

    In an evaluation it begins with the words that say so.
    """
    answer = study.answer
    sentences = [*_other_verdicts(study, answer), *study.seen_in_some_views]
    if unread := tuple(dict.fromkeys(site.label for r in study.results for site in r.unread_subjects)):
        sentences.append(Sentence.of("NOT READ: {sites}", sites=unread))
    sentences += dict.fromkeys(reason for r in study.results for reason in r.incomplete)
    sentences += [*_not_analysed(study), *study.notes]
    parts = (", ".join(map(language.say, _places(study, answer))), *map(language.say, sentences))
    said = f"{language.say(answer.label).upper()} - {'. '.join(filter(None, parts))}"
    return marked(study, said, language)


def finding_sentence(finding: Finding) -> Sentence:
    """Return place, verdict, probability and, of a suspicion, the place of its mark."""
    parts = [finding.verdict.label, Sentence.of("probability {probability}", probability=finding.percent)]
    if finding.verdict is Verdict.NOT_CLEARED:
        parts.append(withheld_reasons(finding))
    if mark := mark_place(finding):
        parts.append(mark)
    return Sentence.of("{place}: {verdict}", place=finding.place, verdict=tuple(parts))


def withheld_reasons(finding: Finding) -> Sentence:
    """Return the reasons why the region is not cleared, each once."""
    return joined(reason.sentence for reason in finding.withheld)


def not_cleared(finding: Finding) -> Sentence:
    """Return the verdict of a region that is not cleared, with the reasons."""
    return Sentence.of("not cleared: {reasons}", reasons=withheld_reasons(finding))


def not_read(sites: Iterable[Site]) -> Sentence:
    """Return the sentence about subjects that no engine read."""
    return Sentence.of("not read: {sites}", sites=tuple(site.label for site in sites))


def withdrawal_notice(reason: str, language: Language = ENGLISH) -> str:
    """Return the first sentence of a withdrawn report; `reason` is the site's own, and stays as it is."""
    if not reason:
        return language.say(Sentence.of("WITHDRAWN"))
    return language.say(Sentence.of("WITHDRAWN: {reason}", reason=reason))


def mark_place(finding: Finding) -> Sentence | None:
    """Return the place of the mark of a suspicion in words and px of the received image; None without a mark."""
    if not (finding.mark and finding.verdict.is_suspicious):
        return None
    xs, ys = zip(*finding.mark, strict=True)
    box = finding.box
    across = _third((min(xs) + max(xs)) / 2, box.x0, box.x1)
    down = _third((min(ys) + max(ys)) / 2, box.y0, box.y1)
    return Sentence.of(
        "mark in the {third} third of the region {side}, at x {left} to {right} and y {top} to {bottom} px",
        third=THIRDS_DOWN[down],
        side=THIRDS_ACROSS[across],
        left=f"{min(xs):.0f}",
        right=f"{max(xs):.0f}",
        top=f"{min(ys):.0f}",
        bottom=f"{max(ys):.0f}",
    )


def radiograph_names(study: StudyResult, examination: Examination) -> list[Sentence | None]:
    """Return a name for each radiograph: its view where no other has the same, else its number in order of analysis.

    The only radiograph of a study has no name.
    """
    if len(study.results) == 1:
        return [None]
    views = dict(examination.views)
    found = [views.get(result.sop_instance_uid) for result in study.results]
    shared = Counter(found)
    return [_name(number, view, is_own=shared[view] == 1) for number, view in enumerate(found, 1)]


def is_numbered(name: Sentence) -> bool:
    """Return whether the name of a radiograph has its number."""
    return "number" in dict(name.values)


def of_radiograph(name: Sentence | None, statement: Sentence) -> Sentence:
    """Return the statement after the name of the radiograph that it is about, if it has one."""
    return statement if name is None else Sentence.of("{radiograph}: {statement}", radiograph=name, statement=statement)


def radiograph_sentences(result: Result, *, alone: bool) -> Iterator[Sentence]:
    """Yield a sentence for each region of a radiograph; beside others also the limits that the headline names."""
    yield from map(finding_sentence, result.findings)
    if alone:
        return
    if result.not_analysed is not None:
        yield Sentence.of("not analysed: {reason}", reason=result.not_analysed.reason)
    if result.unread_subjects:
        yield not_read(result.unread_subjects)
    yield from result.incomplete


def limits(study: StudyResult) -> Iterator[Sentence]:
    """Yield the caveats, the neighbours that were not assessed, and the population of the probabilities.

    The notes on the study stand in its headline.
    """
    yield from (caveat for caveat in study.caveats if caveat not in study.notes)
    neighbours = tuple(dict.fromkeys(region.site.label for result in study.results for region in result.not_assessed))
    if neighbours:
        yield Sentence.of("at the margin, not assessed: {sites}", sites=neighbours)
    if any(result.findings for result in study.results):
        yield POPULATION


def _name(number: int, view: Sentence | None, *, is_own: bool) -> Sentence:
    if view is None:
        return Sentence.of("radiograph {number}", number=number)
    return view if is_own else Sentence.of("radiograph {number} ({view})", number=number, view=view)


def _third(value: float, low: float, high: float) -> int:
    """Return 0, 1 or 2: the third of low to high in which the value lies."""
    return min(2, max(0, int(3 * (value - low) / (high - low))))


def _verdicts(study: StudyResult) -> dict[Sentence, Verdict]:
    """Return the gravest verdict of each place of the study."""
    gravest: dict[Sentence, Verdict] = {}
    for finding in (f for result in study.results for f in result.findings):
        place, verdict = finding.place, finding.verdict
        gravest[place] = max(gravest.get(place, verdict), verdict, key=lambda each: each.severity)
    return gravest


def _places(study: StudyResult, answer: Answer) -> list[Sentence]:
    """Return the places with the verdict that is the answer of the study."""
    return [place for place, verdict in _verdicts(study).items() if verdict.value == answer.value]


def _other_verdicts(study: StudyResult, answer: Answer) -> Iterator[Sentence]:
    """Yield the places with each other verdict, gravest first."""
    verdicts = _verdicts(study)
    for verdict in (v for v in Verdict if v.value != answer.value):
        places = tuple(place for place, found in verdicts.items() if found is verdict)
        if places and verdict is Verdict.NOT_CLEARED:
            yield Sentence.of("NOT CLEARED: {places}", places=places)
        elif places:
            yield Sentence.of("{place}: {verdict}", place=places, verdict=verdict.label)


def _not_analysed(study: StudyResult) -> list[Sentence]:
    """Return the reasons if no radiograph was analysed, else the count of radiographs that were not, if any."""
    reasons = [result.not_analysed.reason for result in study.results if result.not_analysed]
    if study.answer is Answer.NOT_ANALYSED:
        return list(dict.fromkeys(reasons))
    count = Sentence.of("{count} of {all} radiographs NOT ANALYSED", count=len(reasons), all=len(study.results))
    return [count] if reasons else []
