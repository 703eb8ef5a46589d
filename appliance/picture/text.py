"""Words in a picture: lines that are fitted into a width.

The letters are Pillow's own vector font, so that an installation without fonts writes the same pixels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from PIL import ImageDraw, ImageFont

from .palette import PLAIN, Colour

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

LEADING = 1.35
"""From line to line, in sizes of the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line; `scale` is relative to plain text."""

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

    @property
    def height_px(self) -> int:
        """To the next line."""
        return round(self.size_px * LEADING)


@lru_cache(maxsize=64)
def font(size_px: int) -> Font:
    """The font in a size."""
    return ImageFont.load_default(size=size_px)


def fitted(lines: Iterable[Line], size_px: int, width_px: int) -> list[Piece]:
    """`lines`, with plain text of `size_px`, in `width_px`."""
    return [piece for line in lines for piece in _fit(line, size_px, width_px)]


def write(draw: ImageDraw.ImageDraw, pieces: Iterable[Piece], left: int, top: int) -> int:
    """Write `pieces` below each other; the px where the next would begin."""
    for piece in pieces:
        draw.text((left, top), piece.text, piece.colour, font(piece.size_px))
        top += piece.height_px
    return top


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
        current = word
        while face.getlength(current) > width_px and len(current) > 1:
            fits = max((n for n in range(1, len(current)) if face.getlength(current[:n]) <= width_px), default=1)
            lines.append(current[:fits])
            current = current[fits:]
    return [*lines, current] if current else lines
