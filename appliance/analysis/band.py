"""The band above the overlay: what the second reader says, in words that fit the width of the image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from appliance.domain.finding import Answer, Finding
from appliance.domain.result import SECOND_READER, Result
from kernels.reference import colour_map

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

COLOURS: dict[Answer, Colour] = {
    Answer.POSITIVE: (255, 70, 70),
    Answer.DOUBT: (255, 200, 40),
    Answer.NEGATIVE: (170, 200, 220),
    Answer.NOT_ANALYSED: (190, 190, 190),
}
"""Negative is no green: the second reader never says "all clear"."""

BACKGROUND: Colour = (16, 18, 22)
PLAIN: Colour = (205, 210, 216)
CAUTION: Colour = (255, 200, 40)

SMALLEST_PX, PER_WIDTH = 11, 58
"""Text is width / 58 px high, a caption in a viewer that fits the image to the screen, and never below 11."""

HEAT_MAP = "heat map"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the band; `scale` is relative to its plain text."""

    text: str
    colour: Colour = PLAIN
    scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What of a line fits into the width."""

    text: str
    colour: Colour
    size_px: int

    @property
    def width_px(self) -> float:
        """Advance of the text."""
        return font(self.size_px).getlength(self.text)


@lru_cache(maxsize=32)
def font(size_px: int) -> Font:
    """Pillow's own vector font, so that an installation without fonts writes the same pixels."""
    return ImageFont.load_default(size=size_px)


def band(result: Result, width: int, *, with_legend: bool) -> NDArray[np.uint8]:
    """(rows, width, 3) uint8."""
    size = max(SMALLEST_PX, round(width / PER_WIDTH))
    margin = max(3, size // 2)
    lines = _lines(result, with_legend=with_legend)
    fitted = [piece for line in lines for piece in _fit(line, size, width - 2 * margin)]
    tops = list(accumulate((round(piece.size_px * 1.35) for piece in fitted), initial=margin))
    legend = _legend(size) if with_legend else None
    if legend is not None:
        row = next((i for i, piece in enumerate(fitted) if piece.text.startswith(HEAT_MAP)), 0)
        at = (2 * margin + round(fitted[row].width_px), tops[row])
        if at[0] + legend.width + margin > width:  # no room beside the words, so below all
            at = (margin, tops[-1])
            tops.append(tops[-1] + legend.height)
    picture = Image.new("RGB", (width, tops[-1] + margin), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    for piece, top in zip(fitted, tops, strict=False):
        draw.text((margin, top), piece.text, piece.colour, font(piece.size_px))
    if legend is not None:
        picture.paste(legend, at)
    draw.rectangle((0, picture.height - max(1, size // 8), width, picture.height), COLOURS[result.answer])
    return np.asarray(picture)


def _lines(result: Result, *, with_legend: bool) -> list[Line]:
    p = result.provenance
    several = len(result.findings) > 1
    grave = COLOURS[result.answer]
    lines = [
        Line(text=f"{n} " * several + _headline(f), colour=COLOURS[f.answer], scale=1.7)
        for n, f in enumerate(result.findings, 1)
    ]
    if result.not_analysed is not None:
        lines.append(Line(text=result.answer.label.upper(), colour=grave, scale=1.7))
        lines.append(Line(text=result.not_analysed.reason))
    if with_legend:
        focus = [f"{n}: " * several + f"{f.focus:.2f}" for n, f in enumerate(result.findings, 1)]
        lines.append(Line(text=f"{HEAT_MAP}, focus {', '.join(focus)}"))
    lines.append(Line(text=SECOND_READER, colour=(255, 255, 255)))
    sites = sorted({r.site.label for r in result.unread_regions})
    unread = [f"also in the image, not analysed: {', '.join(sites)}"] if sites and result.findings else []
    lines += [Line(text=f"! {caution}", colour=CAUTION) for caution in (*result.caveats, *unread)]
    at = result.created_at.strftime("%Y-%m-%d %H:%M %Z")
    by = f"Osteon {p.software_version}, {p.model}, {at}"
    return [*lines, Line(text=by, colour=(140, 146, 152), scale=0.9)]


def _headline(finding: Finding) -> str:
    where = f"{finding.laterality.label} {finding.site.label}".strip().upper()
    sure = finding.percent
    if finding.answer is Answer.NEGATIVE:
        sure = f"(probability of one {sure})"  # a bare "3%" would read as how sure the negative is
    return f"{where}: {finding.answer.label.upper()} {sure}"


def _fit(line: Line, size: int, width_px: int) -> list[Piece]:
    """One line if shrinking to plain size can make it one, else several."""
    smallest = round(size * min(line.scale, 1.0))
    for size_px in range(round(size * line.scale), smallest, -1):
        if font(size_px).getlength(line.text) <= width_px:
            return [Piece(text=line.text, colour=line.colour, size_px=size_px)]
    return [
        Piece(text=text, colour=line.colour, size_px=smallest) for text in _wrap(line.text, font(smallest), width_px)
    ]


def _wrap(text: str, face: Font, width_px: int) -> list[str]:
    """Lines no wider than `width_px`, broken between words, and inside one that is too long by itself."""
    lines: list[str] = []
    current = ""
    for word in text.split(" "):
        longer = f"{current} {word}" if current else word
        if face.getlength(longer) <= width_px:
            current = longer
            continue
        if current:
            lines.append(current)
        while face.getlength(word) > width_px and len(word) > 1:
            fits = max((n for n in range(1, len(word)) if face.getlength(word[:n]) <= width_px), default=1)
            lines.append(word[:fits])
            word = word[fits:]
        current = word
    return [*lines, current] if current else lines


def _legend(size: int) -> Image.Image:
    """The colours of the heat map, from little to strong."""
    face = font(round(size * 0.9))
    before, after = "little ", " strong"
    bar = Image.fromarray(colour_map()[None]).resize((size * 6, max(4, round(size * 0.7))))
    left = round(face.getlength(before))
    width = left + bar.width + round(face.getlength(after)) + 1
    picture = Image.new("RGB", (width, round(size * 1.35)), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    draw.text((0, 0), before, PLAIN, face)
    picture.paste(bar, (left, round(size * 0.25)))
    draw.text((left + bar.width, 0), after, PLAIN, face)
    return picture
