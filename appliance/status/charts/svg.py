"""Elements of SVG as text, each value escaped; colours come from the classes of `charts.css`."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup

Point = tuple[float, float]
"""x to the right, y down, in units of the drawing."""


def element(name: str, *content: str, **attributes: object) -> Markup:
    """Return one element; ``text_anchor`` and ``class_`` stand for ``text-anchor`` and ``class``."""
    given = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _value(value)) for key, value in attributes.items()
    )
    return Markup("<{0}{1}>{2}</{0}>").format(name, given, Markup("").join(content))


def drawing(width: float, height: float, sentence: str, content: Iterable[str]) -> Markup:
    """Return a drawing; `sentence` is the drawing in words, for people who do not see it."""
    box = f"0 0 {_value(width)} {_value(height)}"
    return element(
        "svg",
        element("title", sentence),
        *content,
        class_="drawing",
        viewBox=box,
        width=width,
        height=height,
        role="img",
        aria_label=sentence,
    )


def line(start: Point, end: Point, class_: str) -> Markup:
    """Return a straight line."""
    return element("line", x1=start[0], y1=start[1], x2=end[0], y2=end[1], class_=class_)


def path(points: Iterable[Point], class_: str) -> Markup:
    """Return straight lines from point to point."""
    return element("polyline", points=" ".join(f"{_value(x)},{_value(y)}" for x, y in points), class_=class_)


def words(at: Point, text: str, class_: str = "label", anchor: str = "start") -> Markup:
    """Return a line of text whose baseline begins, ends or has its middle at `at`."""
    return element("text", text, x=at[0], y=at[1], class_=class_, text_anchor=anchor)


def _value(value: object) -> str:
    """Return a value as attributes have it: numbers to a tenth of a unit."""
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
