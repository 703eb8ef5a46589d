"""A square plane with both axes from 0 to 1, for curves and points."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup

from .svg import Point, drawing, element, line, words

SIDE = 240.0
"""Side of the plane."""

LEFT, ABOVE, RIGHT, BELOW = 44.0, 16.0, 12.0, 40.0
"""Space around the plane, for numbers and names."""

NUMBERS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Numbers on the axes."""


def at(x: float, y: float) -> Point:
    """Return the place of a point of the plane in the drawing."""
    return LEFT + SIDE * x, ABOVE + SIDE * (1.0 - y)


def plane(across: str, up: str, sentence: str, content: Iterable[str]) -> Markup:
    """Return a drawing of `content` between two axes with the names `across` and `up`."""
    parts: list[str] = [line(at(0.0, 0.0), at(1.0, 1.0), "diagonal")]
    for value in NUMBERS:
        (x, bottom), (left, y) = at(value, 0.0), at(0.0, value)
        parts += [
            line((x, bottom), (x, ABOVE), "grid"),
            line((left, y), (left + SIDE, y), "grid"),
            words((x, bottom + 14), f"{value:g}", anchor="middle"),
            words((left - 5, y + 4), f"{value:g}", anchor="end"),
        ]
    (left, bottom), (right, top) = at(0.0, 0.0), at(1.0, 1.0)
    middle = top + SIDE / 2
    parts += [
        line((left, bottom), (right, bottom), "axis"),
        line((left, bottom), (left, top), "axis"),
        words((left + SIDE / 2, bottom + 31), across, anchor="middle"),
        element(
            "text",
            up,
            x=11,
            y=middle,
            class_="label",
            text_anchor="middle",
            transform=f"rotate(-90 11 {middle:g})",
        ),
    ]
    return drawing(LEFT + SIDE + RIGHT, ABOVE + SIDE + BELOW, sentence, [*parts, *content])
