"""Catalogues of translations in the format of GNU gettext, read as they are committed: nothing is compiled.

Contexts and plural forms are not used: each template is a sentence of its own.

References
----------
GNU gettext manual, section 3 (The Format of PO Files).
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field

KEYWORDS = ("msgid", "msgstr")

REVIEWER = "X-Clinician"
"""Field of a catalogue's header that names the clinician who reviewed it; empty until then."""

_STRING = re.compile(r'(?:(msgid|msgstr) )?("(?:[^"\\]|\\.)*")')


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """The translations into one language.

    Attributes
    ----------
    texts
        Translation by English template.
    reviewer
        The clinician who reviewed them; empty if there was no review.
    """

    texts: dict[str, str] = field(default_factory=dict, repr=False)
    reviewer: str = ""


def read_catalogue(text: str) -> Catalogue:
    """Read the content of a ``.po`` file.

    Raises
    ------
    ValueError
        At a line that is neither a string nor a comment, or a template that stands there twice.
    """
    entries: list[list[str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        found = _STRING.fullmatch(line.strip())
        if found is None:
            raise ValueError(f"line {number} is no line of a catalogue: {line!r}")
        keyword, string = found.groups()
        if keyword:
            entries.append([keyword, ""])
        entries[-1][1] += ast.literal_eval(string)
    pairs = [(a[1], b[1]) for a, b in zip(entries[::2], entries[1::2], strict=True)]
    if [keyword for keyword, _ in entries] != [*KEYWORDS] * len(pairs):
        raise ValueError("a msgid without its msgstr, or the reverse")
    texts = dict(pairs)
    if len(texts) != len(pairs):
        raise ValueError("a template stands in the catalogue twice")
    header = dict(line.split(":", 1) for line in texts.pop("", "").splitlines() if ":" in line)
    return Catalogue(texts=texts, reviewer=header.get(REVIEWER, "").strip())
