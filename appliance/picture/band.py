"""The band above the overlay: what the second reader says, in words that fit the width of the image."""

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

SMALLEST_PX, PER_LENGTH = 11, 58
"""Text is a 58th of the picture's longer side, a caption in a viewer that fits the picture to the screen."""

HEADLINE = 2.2
"""Size of an answer beside plain text, where the width allows it: it can be read in a list's thumbnails."""

NARROWEST = 33
"""What must be said needs so many times the size of its text; a narrower radiograph gets black columns on its right."""

HEAT_MAP = "heat map"

CARD_PX = 1024
"""Width of the picture of a radiograph that cannot be shown."""


def text_px(height: int, width: int) -> int:
    """Size of plain text in a picture."""
    return max(SMALLEST_PX, round(max(height, width) / PER_LENGTH))


def width_for_text(width: int, size_px: int) -> int:
    """Width of a picture in which a radiograph takes `width` px and text has room."""
    return max(width, NARROWEST * size_px)


def without_colour(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W) uint8 of (H, W, 3) uint8: the strongest channel, so that coloured words stay as bright as white ones."""
    return np.maximum(np.maximum(rgb[..., 0], rgb[..., 1]), rgb[..., 2])


def card(result: Result) -> NDArray[np.uint8]:
    """(H, W, 3) uint8: what is said where nothing can be shown."""
    return band(result, CARD_PX, CARD_PX // NARROWEST, None)


def band(result: Result, width: int, size_px: int, legend: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """(rows, width, 3) uint8 with plain text of `size_px`; `legend` (256, 3) is the colours of the heat that shows."""
    margin = max(3, size_px // 2)
    lines = _lines(result, with_heat=legend is not None)
    pieces = fitted(lines, size_px, width - 2 * margin)
    tops = list(accumulate((piece.height_px for piece in pieces), initial=margin))
    bar = _legend(size_px, legend) if legend is not None else None
    if bar is not None:
        row = next((i for i, piece in enumerate(pieces) if piece.text.startswith(HEAT_MAP)), 0)
        at = (2 * margin + round(pieces[row].width_px), tops[row])
        if at[0] + bar.width + margin > width:  # no room beside the words, so below all
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
    several = len(result.findings) > 1
    lines = answers(result)
    if result.answer.severity > Answer.NEGATIVE.severity:
        focus = [f"{n}: " * several + f"{f.focus:.2f}" for n, f in enumerate(result.findings, 1)]
        lines.append(Line(text=f"{HEAT_MAP}, " * with_heat + f"focus {', '.join(focus)}"))
    lines.append(Line(text=SECOND_READER, colour=WHITE))
    lines += cautions(result.caveats, result)
    return [*lines, made_by(result.provenance, result.created_at, result.revision)]


def answers(result: Result) -> list[Line]:
    """The answer of each region, or that there is none and why."""
    if result.not_analysed is not None:
        return [
            Line(text=result.answer.label.upper(), colour=ANSWER_COLOURS[result.answer], scale=HEADLINE),
            Line(text=result.not_analysed.reason),
        ]
    several = len(result.findings) > 1
    return [
        Line(text=f"{n} " * several + _headline(f), colour=ANSWER_COLOURS[f.answer], scale=HEADLINE)
        for n, f in enumerate(result.findings, 1)
    ]


def cautions(caveats: Iterable[str], result: Result) -> list[Line]:
    """`caveats`, and what else the image of `result` shows."""
    sites = sorted({r.site.label for r in result.unread_regions})
    unread = [f"also in the image, not analysed: {', '.join(sites)}"] if sites and result.findings else []
    return [Line(text=f"! {caution}", colour=CAUTION) for caution in (*caveats, *unread)]


def made_by(provenance: Provenance, at: datetime, revision: int) -> Line:
    """Software, pack, time, and the revision after the first."""
    text = f"Osteon {provenance.software_version}, {provenance.model}, {at:%Y-%m-%d %H:%M %Z}"
    text += f", revision {revision}" * (revision > 1)
    return Line(text=text, colour=FAINT, scale=0.9)


def _headline(finding: Finding) -> str:
    sure = finding.percent
    if finding.answer is Answer.NEGATIVE:
        sure = f"(probability of one {sure})"  # a bare "3%" would read as how sure the negative is
    return f"{finding.place.upper()}: {finding.answer.label.upper()} {sure}"


def _legend(size: int, colours: NDArray[np.uint8]) -> Image.Image:
    """The colours of the heat map, from little to strong."""
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
