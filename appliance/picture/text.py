"""Text in a picture: lines that are fitted into a width.

The font comes with Osteon, so that every installation draws the same pixels. It is the font that Pillow has by default,
Aileron, with the letters of all languages of Osteon, which Pillow's part of it lacks.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files

from PIL import ImageDraw, ImageFont

from .palette import PLAIN, Colour

FONT = (files(__package__) / "aileron.ttf").read_bytes()
"""Aileron Regular 1.102 (CC0), of @fontsource/aileron 5.3.0, with the line height of Pillow's part of it."""

LEADING = 1.35
"""Distance from line to line, in sizes of the text."""


STEPS = 5
"""Steps of the scale beside a headline."""

STEP = 0.34
"""Width of a step, in sizes of the text; the gap before it is a third of that."""

HEADLINE_ROWS = ((1, 1.3), (2, 1.3), (3, 1.0))
"""Rows of a headline and its least size relative to plain text, tried one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line to be written.

    Attributes
    ----------
    scale
        Size relative to plain text.
    step
        Number of filled steps of the scale after the text; None: no scale.
    is_headline
        All headlines that are fitted together get one size.
    """

    text: str
    colour: Colour = PLAIN
    scale: float = 1.0
    step: int | None = None
    is_headline: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a line that fits into the width; the last part has the scale."""

    text: str
    colour: Colour
    size_px: int
    step: int | None = None

    @property
    def width_px(self) -> float:
        """Width of the text."""
        return font(self.size_px).getlength(self.text)

    @property
    def height_px(self) -> int:
        """Distance to the next line."""
        return round(self.size_px * LEADING)


@lru_cache(maxsize=64)
def font(size_px: int) -> ImageFont.FreeTypeFont:
    """Load the font in a size."""
    return ImageFont.truetype(io.BytesIO(FONT), size_px)


def fitted(lines: Iterable[Line], size_px: int, width_px: int) -> list[Piece]:
    """Fit `lines` into `width_px`, with plain text of `size_px` and one size for all headlines."""
    lines = list(lines)
    headline_px = _headline_px([line for line in lines if line.is_headline], size_px, width_px)
    pieces: list[Piece] = []
    for line in lines:
        pieces += _pieces(line, headline_px, width_px) if line.is_headline else _fit(line, size_px, width_px)
    return pieces


def height_px(pieces: Iterable[Piece]) -> int:
    """Return the height of `pieces` below each other."""
    return sum(piece.height_px for piece in pieces)


def write(draw: ImageDraw.ImageDraw, pieces: Iterable[Piece], left: int, top: int) -> int:
    """Write `pieces` below each other; return the row at which the next would begin."""
    for piece in pieces:
        draw.text((left, top), piece.text, piece.colour, font(piece.size_px))
        if piece.step is not None:
            _draw_scale(draw, piece, piece.step, round(left + piece.width_px), top)
        top += piece.height_px
    return top


def _draw_scale(draw: ImageDraw.ImageDraw, piece: Piece, step: int, left: int, top: int) -> None:
    """Draw the steps of the scale: `step` filled ones, then empty ones."""
    size = piece.size_px
    wide, gap = max(2, round(size * STEP)), max(1, round(size * STEP / 3))
    for k in range(STEPS):
        x = left + round(size * STEP) + k * (wide + gap)
        box = (x, top + round(size * 0.3), x + wide - 1, top + round(size * 0.95))
        draw.rectangle(box, piece.colour if k < step else None, piece.colour, width=max(1, size // 20))


def _scale_px(line: Line, size_px: int) -> int:
    """Return the width of the scale of `line`, with the gap before it."""
    return 0 if line.step is None else round(size_px * STEP * (STEPS * 4 / 3 + 1)) + STEPS


def _headline_px(headlines: Sequence[Line], size_px: int, width_px: int) -> int:
    """Return the largest size at which each of `headlines` takes few rows: one, or else two or three."""
    largest = max((line.scale for line in headlines), default=1.0)
    for rows, least in HEADLINE_ROWS:
        for size in range(round(size_px * largest), round(size_px * least) - 1, -1):
            if all(len(_pieces(line, size, width_px)) <= rows for line in headlines):
                return size
    return size_px


def _pieces(line: Line, size_px: int, width_px: int) -> list[Piece]:
    """Wrap `line` at `size_px`."""
    texts = _wrap(line.text, font(size_px), width_px - _scale_px(line, size_px))
    pieces = [Piece(text=text, colour=line.colour, size_px=size_px) for text in texts]
    return [*pieces[:-1], replace(pieces[-1], step=line.step)] if pieces else []


def _fit(line: Line, size: int, width_px: int) -> list[Piece]:
    """Shrink `line` down to plain size until it fits into one piece, else wrap it at plain size."""
    smallest = round(size * min(line.scale, 1.0))
    for size_px in range(round(size * line.scale), smallest, -1):
        if font(size_px).getlength(line.text) + _scale_px(line, size_px) <= width_px:
            return [Piece(text=line.text, colour=line.colour, size_px=size_px, step=line.step)]
    return _pieces(line, smallest, width_px)


def _wrap(text: str, face: ImageFont.FreeTypeFont, width_px: int) -> list[str]:
    """Break `text` into lines no wider than `width_px`: between words, and inside a word that is too long by itself."""
    lines: list[str] = []
    current = ""
    for word in text.split(" "):
        longer = f"{current} {word}" if current else word
        if face.getlength(longer) <= width_px:
            current = longer
            continue
        if current:
            lines.append(current)
        current = word
        while face.getlength(current) > width_px and len(current) > 1:
            fits = max((n for n in range(1, len(current)) if face.getlength(current[:n]) <= width_px), default=1)
            lines.append(current[:fits])
            current = current[fits:]
    return [*lines, current] if current else lines
