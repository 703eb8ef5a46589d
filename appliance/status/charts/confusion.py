"""Answers by the truth as two bars of one length: the table of answers in one look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from .svg import drawing, element, words

WIDTH, BAR, GAP = 460.0, 22.0, 10.0
"""Length and height of a bar, and the space below it."""

LEFT = 110.0
"""Space for the names of the bars."""

NARROWEST = 14.0
"""Least width of a part that has its number inside."""


def confusion(rows: Mapping[str, Mapping[str, int]], kinds: Sequence[str], sentence: str) -> Markup:
    """Return the bars of `rows`, each with the numbers of its parts by their name.

    Parameters
    ----------
    kinds
        Names of the parts in their order; each is also a class of `charts.css`.
    """
    parts: list[str] = []
    for number, (name, counts) in enumerate(rows.items()):
        top, total = number * (BAR + GAP), sum(counts.values())
        parts.append(words((LEFT - 8, top + BAR * 0.7), name, anchor="end"))
        left = LEFT
        for kind in kinds:
            width = (WIDTH - LEFT) * counts.get(kind, 0) / total if total else 0.0
            if not width:
                continue
            parts.append(element("rect", x=left, y=top, width=width, height=BAR, class_=f"part {kind}"))
            if width >= NARROWEST:
                parts.append(words((left + width / 2, top + BAR * 0.7), str(counts[kind]), "number-in", "middle"))
            left += width
    return drawing(WIDTH, len(rows) * (BAR + GAP), sentence, parts)
