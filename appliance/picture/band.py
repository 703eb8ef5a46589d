"""The band above the overlay: answers, caveats and provenance as text that fits the width of the picture."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from appliance.domain.finding import Answer, Finding
from appliance.domain.result import SECOND_READER, Provenance, Result

from .palette import ANSWER_COLOURS, BACKGROUND, CAUTION, FAINT, PLAIN, WHITE
from .text import Line, fitted, font, write

SMALLEST_PX = 11
"""Smallest plain text."""

PER_LENGTH = 58
"""Longer side of the picture in sizes of plain text: a caption in a viewer that fits the picture to the screen."""

HEADLINE = 2.2
"""Size of an answer in sizes of plain text, if the width allows it: it can be read in thumbnails of a list."""

NARROWEST = 33
"""Least width of the band in sizes of plain text; a narrower radiograph gets black columns on its right."""

HEAT_MAP = "heat map"

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


def band(result: Result, width: int, size_px: int, legend: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """Draw (rows, width, 3) uint8 with plain text of `size_px`.

    Parameters
    ----------
    legend
        (256, 3) uint8 colours of the heat map, from little to strong; None if no heat map is shown.
    """
    margin = max(3, size_px // 2)
    lines = _lines(result, with_heat=legend is not None)
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


def _lines(result: Result, *, with_heat: bool) -> list[Line]:
    lines = answers(result)
    if result.answer.severity > Answer.NEGATIVE.severity:
        focuses = (f"{finding.focus:.2f}" for finding in result.findings)
        focus = f"focus {', '.join(_numbered(focuses, result, ': '))}"
        lines.append(Line(text=f"{HEAT_MAP}, {focus}" if with_heat else focus))
    lines.append(Line(text=SECOND_READER, colour=WHITE))
    lines += cautions(result.caveats, result)
    return [*lines, made_by(result.provenance, result.created_at, result.revision)]


def answers(result: Result) -> list[Line]:
    """Return a line with the answer of each region, or the reason why the radiograph was not analysed."""
    if result.not_analysed is not None:
        return [
            Line(text=result.answer.label.upper(), colour=ANSWER_COLOURS[result.answer], scale=HEADLINE),
            Line(text=result.not_analysed.reason),
        ]
    headlines = _numbered((_headline(finding) for finding in result.findings), result, " ")
    return [
        Line(text=headline, colour=ANSWER_COLOURS[finding.answer], scale=HEADLINE)
        for headline, finding in zip(headlines, result.findings, strict=True)
    ]


def cautions(caveats: Iterable[str], result: Result) -> list[Line]:
    """Return a line for each of `caveats`, and one for the regions of `result` that were not analysed."""
    sites = sorted({r.site.label for r in result.unread_regions})
    unread = [f"also in the image, not analysed: {', '.join(sites)}"] if sites and result.findings else []
    return [Line(text=f"! {caution}", colour=CAUTION) for caution in (*caveats, *unread)]


def made_by(provenance: Provenance, at: datetime, revision: int) -> Line:
    """Return the line with software, pack and time, and the revision if it is not the first."""
    text = f"Osteon {provenance.software_version}, {provenance.model}, {at:%Y-%m-%d %H:%M %Z}"
    if revision > 1:
        text += f", revision {revision}"
    return Line(text=text, colour=FAINT, scale=0.9)


def _headline(finding: Finding) -> str:
    probability = finding.percent
    if finding.answer is Answer.NEGATIVE:
        probability = f"(probability of one {probability})"  # a bare "3%" would read as the certainty of the negative
    return f"{finding.place.upper()}: {finding.answer.label.upper()} {probability}"


def _numbered(texts: Iterable[str], result: Result, separator: str) -> list[str]:
    """Return `texts`, one per finding, each after the number of its finding if there are several."""
    if len(result.findings) < 2:
        return list(texts)
    return [f"{number}{separator}{text}" for number, text in enumerate(texts, 1)]


def _legend(size: int, colours: NDArray[np.uint8]) -> Image.Image:
    """Draw the legend of the heat map, from little to strong."""
    face = font(round(size * 0.9))
    before, after = "little ", " strong"
    bar = Image.fromarray(colours[None]).resize((size * 6, max(4, round(size * 0.7))))
    left = round(face.getlength(before))
    width = left + bar.width + round(face.getlength(after)) + 1
    picture = Image.new("RGB", (width, round(size * 1.35)), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    draw.text((0, 0), before, PLAIN, face)
    picture.paste(bar, (left, round(size * 0.25)))
    draw.text((left + bar.width, 0), after, PLAIN, face)
    return picture
