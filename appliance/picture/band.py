"""The band above the overlay: answers, caveats and provenance as text that fits the width of the picture."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from appliance.domain.finding import Answer, Finding, Verdict
from appliance.domain.result import SECOND_READER, Provenance, Result
from appliance.domain.sentence import Sentence

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

HEAT_MAP = "heat map, relative to its own maximum:"

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


def card(result: Result) -> NDArray[np.uint8]:
    """Draw (H, W, 3) uint8: the text alone, for a radiograph without usable pixels."""
    return band(result, CARD_PX, CARD_PX // NARROWEST, None)


def band(
    result: Result, width: int, size_px: int, legend: NDArray[np.uint8] | None, *, with_probability: bool = False
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
    lines = _lines(result, with_heat=legend is not None, with_probability=with_probability)
    pieces = fitted(lines, size_px, width - 2 * margin)
    tops = list(accumulate((piece.height_px for piece in pieces), initial=margin))
    bar = _legend(size_px, legend) if legend is not None else None
    if bar is not None:
        row = next((i for i, piece in enumerate(pieces) if piece.text.startswith(HEAT_MAP)), 0)
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


def _lines(result: Result, *, with_heat: bool, with_probability: bool) -> list[Line]:
    lines = answers(result, with_probability=with_probability)
    if with_heat:
        lines.append(Line(text=HEAT_MAP))
    lines.append(Line(text=str(SECOND_READER), colour=WHITE))
    lines += cautions(result.caveats, result)
    return [*lines, made_by(result.provenance, result.created_at, result.revision)]


def answers(result: Result, *, with_probability: bool = False) -> list[Line]:
    """Return the headlines in the order of gravity, or the reason why the radiograph was not analysed.

    Regions are numbered in the order of `result.findings`, as in every other output.
    """
    if result.not_analysed is not None:
        colour = ANSWER_COLOURS[Answer.NOT_ANALYSED]
        return [_headline(str(result.answer.label).upper(), colour), Line(text=str(result.not_analysed.reason))]
    if result.answer is Answer.INCOMPLETE:
        return [_headline(_incomplete(result, with_probability=with_probability), ANSWER_COLOURS[Answer.INCOMPLETE])]
    names = _names(result)
    ranked = sorted(zip(result.findings, names, strict=True), key=lambda pair: -pair[0].verdict.severity)
    lines = [_region(finding, name, with_probability=with_probability) for finding, name in ranked]
    if sites := _unread(result):
        negatives = sum(finding.verdict is Verdict.NEGATIVE for finding in result.findings)
        unread = _headline(f"NOT READ: {sites}", ANSWER_COLOURS[Answer.INCOMPLETE])
        lines.insert(len(lines) - negatives, unread)
    return lines


def _region(finding: Finding, name: str, *, with_probability: bool) -> Line:
    text, colour = f"{name}: {finding.verdict.label}".upper(), ANSWER_COLOURS[finding.verdict]
    if with_probability:
        return _headline(f"{text} ({_probability(finding)})", colour)
    return _headline(text, colour, step_of(finding))


def _incomplete(result: Result, *, with_probability: bool) -> str:
    """Return the headline of an incomplete radiograph: the regions that were cleared, and the ones that were not."""
    by_verdict: dict[Verdict, list[str]] = {}
    for finding, name in zip(result.findings, _names(result), strict=True):
        text = f"{name} ({_probability(finding)})" if with_probability else name
        by_verdict.setdefault(finding.verdict, []).append(text)
    parts = []
    if cleared := by_verdict.get(Verdict.NEGATIVE):
        parts.append(f"{', '.join(cleared)}: {Verdict.NEGATIVE.label}")
    if not_cleared := by_verdict.get(Verdict.NOT_CLEARED):
        parts.append(f"{str(Verdict.NOT_CLEARED.label).upper()}: {', '.join(not_cleared)}")
    if sites := _unread(result):
        parts.append(f"NOT READ: {sites}")
    return f"{str(Answer.INCOMPLETE.label).upper()} - {'. '.join(parts)}"


def _headline(text: str, colour: Colour, step: int | None = None) -> Line:
    return Line(text=text, colour=colour, scale=HEADLINE, step=step, is_headline=True)


def _probability(finding: Finding) -> str:
    return f"fracture probability {finding.percent}"  # a bare "3%" would read as the certainty of a negative


def _unread(result: Result) -> str:
    return ", ".join(dict.fromkeys(str(region.site.label) for region in result.not_read))


def _names(result: Result) -> list[str]:
    """Return the place of each finding, after its number if there are several."""
    places = [str(finding.place) for finding in result.findings]
    return places if len(places) < 2 else [f"{number} {place}" for number, place in enumerate(places, 1)]


def cautions(caveats: Iterable[Sentence], result: Result) -> list[Line]:
    """Return a line for each of `caveats`, for other reasons why `result` is incomplete, and for its neighbours."""
    margin = sorted({str(r.site.label) for r in result.not_assessed})
    neighbours = [f"at the margin, not assessed: {', '.join(margin)}"] if margin else []
    withheld = dict.fromkeys(
        str(reason.sentence) for f in result.findings if f.verdict is Verdict.NOT_CLEARED for reason in f.withheld
    )
    lines = dict.fromkeys((*map(str, caveats), *map(str, result.incomplete), *withheld, *neighbours))
    return [Line(text=f"! {line}", colour=CAUTION) for line in lines]


def made_by(provenance: Provenance, at: datetime, revision: int) -> Line:
    """Return the line with software, pack and time, and the revision if it is not the first."""
    text = f"Osteon {provenance.software_version}, {provenance.model}, {at:%Y-%m-%d %H:%M %Z}"
    if revision > 1:
        text += f", revision {revision}, takes the place of earlier ones"
    return Line(text=text, colour=FAINT, scale=0.9)


def _legend(size: int, colours: NDArray[np.uint8]) -> Image.Image:
    """Draw the legend of the heat map, from low to high."""
    face = font(round(size * 0.9))
    before, after = "low ", " high"
    bar = Image.fromarray(colours[None]).resize((size * 6, max(4, round(size * 0.7))))
    left = round(face.getlength(before))
    width = left + bar.width + round(face.getlength(after)) + 1
    picture = Image.new("RGB", (width, round(size * 1.35)), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    draw.text((0, 0), before, PLAIN, face)
    picture.paste(bar, (left, round(size * 0.25)))
    draw.text((left + bar.width, 0), after, PLAIN, face)
    return picture
