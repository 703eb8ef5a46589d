"""Text in a picture: lines that are fitted into a width.

The font is Pillow's own vector font, so that every installation draws the same pixels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from PIL import ImageDraw, ImageFont

from .palette import PLAIN, Colour

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

LEADING = 1.35
"""Distance from line to line, in sizes of the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line to be written; `scale` is its size relative to plain text."""

    text: str
    colour: Colour = PLAIN
    scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a line that fits into the width."""

    text: str
    colour: Colour
    size_px: int

    @property
    def width_px(self) -> float:
        """Width of the text."""
        return font(self.size_px).getlength(self.text)

    @property
    def height_px(self) -> int:
        """Distance to the next line."""
        return round(self.size_px * LEADING)


@lru_cache(maxsize=64)
def font(size_px: int) -> Font:
    """Load the font in a size."""
    return ImageFont.load_default(size=size_px)


def fitted(lines: Iterable[Line], size_px: int, width_px: int) -> list[Piece]:
    """Fit `lines` into `width_px`, with plain text of `size_px`."""
    return [piece for line in lines for piece in _fit(line, size_px, width_px)]


def write(draw: ImageDraw.ImageDraw, pieces: Iterable[Piece], left: int, top: int) -> int:
    """Write `pieces` below each other; return the row at which the next would begin."""
    for piece in pieces:
        draw.text((left, top), piece.text, piece.colour, font(piece.size_px))
        top += piece.height_px
    return top


def _fit(line: Line, size: int, width_px: int) -> list[Piece]:
    """Shrink `line` down to plain size until it fits into one piece, else wrap it at plain size."""
    smallest = round(size * min(line.scale, 1.0))
    for size_px in range(round(size * line.scale), smallest, -1):
        if font(size_px).getlength(line.text) <= width_px:
            return [Piece(text=line.text, colour=line.colour, size_px=size_px)]
    return [
        Piece(text=text, colour=line.colour, size_px=smallest) for text in _wrap(line.text, font(smallest), width_px)
    ]


def _wrap(text: str, face: Font, width_px: int) -> list[str]:
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
