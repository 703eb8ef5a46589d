"""The band above the overlay: answers, caveats and provenance as text that fits the width of the picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from appliance.domain.finding import Answer, Finding, Verdict
from appliance.domain.result import Provenance, Result
from appliance.domain.sentence import Sentence
from appliance.words import ENGLISH, Language

from .palette import ANSWER_COLOURS, BACKGROUND, CAUTION, FAINT, PLAIN, WHITE, Colour
from .scale import step_of
from .text import Line, fitted, font, write

SMALLEST_PX = 11
"""Smallest plain text."""

PER_LENGTH = 58
"""Longer side of the picture in sizes of plain text: a caption in a viewer that fits the picture to the screen."""

HEADLINE = 2.2
"""Size of a headline in sizes of plain text, if the width allows it: it can be read in thumbnails of a list."""

NARROWEST = 33
"""Least width of the band in sizes of plain text; a narrower radiograph gets black columns on its right."""

HEAT_MAP = Sentence.of("heat map, relative to its own maximum:")

CARD_PX = 1024
"""Width of the picture for a radiograph without usable pixels."""


def text_px(height: int, width: int) -> int:
    """Return the size of plain text in a picture."""
    return max(SMALLEST_PX, round(max(height, width) / PER_LENGTH))


def width_for_text(width: int, size_px: int) -> int:
    """Return the width of a picture that has room for text and for a radiograph of `width` px."""
    return max(width, NARROWEST * size_px)


def without_colour(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn (H, W, 3) uint8 into (H, W) uint8: the strongest channel, so that coloured text stays as bright as white."""
    return np.maximum(np.maximum(rgb[..., 0], rgb[..., 1]), rgb[..., 2])


def card(result: Result, language: Language = ENGLISH) -> NDArray[np.uint8]:
    """Draw (H, W, 3) uint8: the text alone, for a radiograph without usable pixels."""
    return band(result, CARD_PX, CARD_PX // NARROWEST, None, language=language)


def band(
    result: Result,
    width: int,
    size_px: int,
    legend: NDArray[np.uint8] | None,
    *,
    with_probability: bool = False,
    language: Language = ENGLISH,
) -> NDArray[np.uint8]:
    """Draw (rows, width, 3) uint8 with plain text of `size_px`.

    Parameters
    ----------
    legend
        (n, 3) uint8 colours of the heat map, from low to high; None if no heat map is shown.
    with_probability
        Write the probability of each region instead of the scale of five steps.
    """
    margin = max(3, size_px // 2)
    lines = _lines(result, language, with_heat=legend is not None, with_probability=with_probability)
    pieces = fitted(lines, size_px, width - 2 * margin)
    tops = list(accumulate((piece.height_px for piece in pieces), initial=margin))
    bar = _legend(size_px, legend, language) if legend is not None else None
    if bar is not None:
        row = next((i for i, piece in enumerate(pieces) if piece.text.startswith(language.say(HEAT_MAP))), 0)
        at = (2 * margin + round(pieces[row].width_px), tops[row])
        if at[0] + bar.width + margin > width:  # no room beside the text, so below all of it
            at = (margin, tops[-1])
            tops.append(tops[-1] + bar.height)
    picture = Image.new("RGB", (width, tops[-1] + margin), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    write(draw, pieces, margin, margin)
    if bar is not None:
        picture.paste(bar, at)
    draw.rectangle((0, picture.height - max(2, size_px // 4), width, picture.height), ANSWER_COLOURS[result.answer])
    return np.asarray(picture)


def _lines(result: Result, language: Language, *, with_heat: bool, with_probability: bool) -> list[Line]:
    lines = answers(result, language, with_probability=with_probability)
    if with_heat:
        lines.append(Line(text=language.say(HEAT_MAP)))
    lines.append(Line(text=language.notice, colour=WHITE))
    lines += cautions(result.caveats, result, language)
    return [*lines, made_by(result.provenance, result.created_at, result.revision, language)]


def answers(result: Result, language: Language = ENGLISH, *, with_probability: bool = False) -> list[Line]:
    """Return the headlines in the order of gravity, or the reason why the radiograph was not analysed.

    An evaluation is named above them, in their size. Regions are numbered in the order of `result.findings`, as in
    every other output.
    """
    heading = [_headline(language.say(words), WHITE) for words in result.heading]
    if result.not_analysed is not None:
        headline = _headline(language.say(result.answer.label).upper(), ANSWER_COLOURS[Answer.NOT_ANALYSED])
        return [*heading, headline, Line(text=language.say(result.not_analysed.reason))]
    names = _names(result)
    if result.answer is Answer.INCOMPLETE:
        if with_probability:
            names = [_with_probability(name, finding) for name, finding in zip(names, result.findings, strict=True)]
        return [*heading, _headline(_incomplete(result, names, language), ANSWER_COLOURS[Answer.INCOMPLETE])]
    ranked = sorted(zip(result.findings, names, strict=True), key=lambda pair: -pair[0].verdict.severity)
    lines = [_region(finding, name, language, with_probability=with_probability) for finding, name in ranked]
    if unread := _unread(result):
        negatives = sum(finding.verdict is Verdict.NEGATIVE for finding in result.findings)
        lines.insert(len(lines) - negatives, _headline(language.say(unread), ANSWER_COLOURS[Answer.INCOMPLETE]))
    return heading + lines


def _region(finding: Finding, name: Sentence, language: Language, *, with_probability: bool) -> Line:
    text = language.say(Sentence.of("{place}: {verdict}", place=name, verdict=finding.verdict.label)).upper()
    colour = ANSWER_COLOURS[finding.verdict]
    if with_probability:
        return _headline(language.say(_with_probability(Sentence(template=text), finding)), colour)
    return _headline(text, colour, step_of(finding))


def _incomplete(result: Result, names: Sequence[Sentence], language: Language) -> str:
    """Return the headline of an incomplete radiograph: what was cleared, what was not, and every reason."""
    by_verdict: dict[Verdict, list[Sentence]] = {}
    for finding, name in zip(result.findings, names, strict=True):
        by_verdict.setdefault(finding.verdict, []).append(name)
    parts = []
    if cleared := by_verdict.get(Verdict.NEGATIVE):
        parts.append(Sentence.of("{place}: {verdict}", place=tuple(cleared), verdict=Verdict.NEGATIVE.label))
    if not_cleared := by_verdict.get(Verdict.NOT_CLEARED):
        parts.append(Sentence.of("NOT CLEARED: {places}", places=tuple(not_cleared)))
    if unread := _unread(result):
        parts.append(unread)
    parts += result.incomplete
    return f"{language.say(Answer.INCOMPLETE.label).upper()} - {'. '.join(map(language.say, parts))}"


def _headline(text: str, colour: Colour, step: int | None = None) -> Line:
    return Line(text=text, colour=colour, scale=HEADLINE, step=step, is_headline=True)


def _unread(result: Result) -> Sentence | None:
    sites = tuple(dict.fromkeys(region.site.label for region in result.not_read))
    return Sentence.of("NOT READ: {sites}", sites=sites) if sites else None


def _with_probability(statement: Sentence, finding: Finding) -> Sentence:
    """Return the statement with the probability: a bare "3%" would read as the certainty of a negative."""
    return Sentence.of(
        "{statement} (fracture probability {probability})", statement=statement, probability=finding.percent
    )


def _names(result: Result) -> list[Sentence]:
    """Return the place of each finding, after its number if there are several."""
    names = [finding.place for finding in result.findings]
    if len(names) < 2:
        return names
    return [Sentence.of("{number} {place}", number=number, place=name) for number, name in enumerate(names, 1)]


def cautions(caveats: Iterable[Sentence], result: Result, language: Language = ENGLISH) -> list[Line]:
    """Return a line for each of `caveats`, for reasons that the headline does not name, and for neighbours."""
    margin = tuple(sorted({r.site.label for r in result.not_assessed}, key=str))
    neighbours = [Sentence.of("at the margin, not assessed: {sites}", sites=margin)] if margin else []
    withheld = (reason.sentence for f in result.findings if f.verdict is Verdict.NOT_CLEARED for reason in f.withheld)
    incomplete = () if result.answer is Answer.INCOMPLETE else result.incomplete
    lines = dict.fromkeys((*caveats, *incomplete, *withheld, *neighbours))
    return [Line(text=f"! {language.say(line)}", colour=CAUTION) for line in lines]


def made_by(provenance: Provenance, at: datetime, revision: int, language: Language = ENGLISH) -> Line:
    """Return the line with software, pack and time, and the revision if it is not the first."""
    text = f"Osteon {provenance.software_version}, {provenance.model}, {at:%Y-%m-%d %H:%M %Z}"
    if revision > 1:
        later = Sentence.of("revision {revision}, takes the place of earlier ones", revision=revision)
        text += f", {language.say(later)}"
    return Line(text=text, colour=FAINT, scale=0.9)


def _legend(size: int, colours: NDArray[np.uint8], language: Language) -> Image.Image:
    """Draw the legend of the heat map, from low to high."""
    face = font(round(size * 0.9))
    before, after = f"{language.say(Sentence.of('low'))} ", f" {language.say(Sentence.of('high'))}"
    bar = Image.fromarray(colours[None]).resize((size * 6, max(4, round(size * 0.7))))
    left = round(face.getlength(before))
    width = left + bar.width + round(face.getlength(after)) + 1
    picture = Image.new("RGB", (width, round(size * 1.35)), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    draw.text((0, 0), before, PLAIN, face)
    picture.paste(bar, (left, round(size * 0.25)))
    draw.text((left + bar.width, 0), after, PLAIN, face)
    return picture
