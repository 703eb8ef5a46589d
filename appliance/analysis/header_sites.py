"""Read from a header which part of the body a radiograph is said to show.

Coded values come before free text: Body Part Examined and the Anatomic Region Sequence first, descriptions of study,
series and protocol only where no coded value names a part of the body that the table knows.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from appliance.domain.identifiers import Site

from .site_words import CODES, ELSEWHERE, WORDS

PREFIX_LETTERS = 6
"""A table word of at least this length also fits longer words that begin with it: German and Dutch compounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedParts:
    """The parts of the body that a header names.

    Attributes
    ----------
    sites
        Sites of ours; empty if the header names none.
    elsewhere
        The first word that names a part of the body that no engine reads, in capitals; empty if there is none.
    """

    sites: frozenset[Site] = frozenset()
    elsewhere: str = ""

    @property
    def is_out_of_scope(self) -> bool:
        """Whether the header names only parts of the body that no engine reads."""
        return bool(self.elsewhere) and not self.sites


def named_parts(
    body_part: str, regions: Iterable[str], region_codes: Iterable[str], texts: Iterable[str]
) -> NamedParts:
    """Return the parts of the body that a header names.

    Parameters
    ----------
    body_part
        Body Part Examined (0018,0015).
    regions, region_codes
        Code meanings and SNOMED code values of the Anatomic Region Sequence (0008,2218).
    texts
        Descriptions of study, series and protocol; they decide only where nothing coded does.
    """
    coded = _joined([_by_code(region_codes), *(_in_text(text) for text in (body_part, *regions))])
    return coded if coded.sites or coded.elsewhere else _joined([_in_text(text) for text in texts])


def normalised(text: str) -> tuple[str, ...]:
    """Split `text` into words of capital letters without accents; digits and signs separate words."""
    plain = unicodedata.normalize("NFKD", text.upper().replace("ß", "SS"))
    return tuple(re.findall(r"[A-Z]+", "".join(c for c in plain if not unicodedata.combining(c))))


def _by_code(values: Iterable[str]) -> NamedParts:
    parts = [CODES[value] for value in values if value in CODES]
    return _parts([(part, "BY CODE") for part in parts])


def _in_text(text: str) -> NamedParts:
    """Look for phrases first, longest first; a word that belongs to a phrase names nothing by itself."""
    words = list(normalised(text))
    found: list[tuple[Site | str, str]] = []
    squeezed = "".join(words)  # "C SPINE" and "TIB/FIB" are terms of one word in PS3.16 annex L
    if len(words) > 1 and squeezed in _exact():
        return _parts([(_exact()[squeezed], squeezed)])
    for phrase, part in _phrases():
        size = len(phrase)
        for start in range(len(words) - size + 1):
            if tuple(words[start : start + size]) == phrase:
                found.append((part, " ".join(phrase)))
                words[start : start + size] = [""] * size
    found += [(named, word) for word in words if word and (named := _part_of(word)) is not None]
    return _parts(found)


def _part_of(word: str) -> Site | str | None:
    for form in (word, word.removesuffix("S")):  # ANKLES; longer words are found by their stem
        if form in _exact():
            return _exact()[form]
    return next((part for stem, part in _stems() if word.startswith(stem)), None)


def _parts(found: Iterable[tuple[Site | str, str]]) -> NamedParts:
    pairs = list(found)
    return NamedParts(
        sites=frozenset(part for part, _ in pairs if isinstance(part, Site)),
        elsewhere=next((word for part, word in pairs if part == ELSEWHERE), ""),
    )


def _joined(parts: Iterable[NamedParts]) -> NamedParts:
    some = list(parts)
    return NamedParts(
        sites=frozenset[Site]().union(*(part.sites for part in some)),
        elsewhere=next((part.elsewhere for part in some if part.elsewhere), ""),
    )


@cache
def _terms() -> tuple[tuple[tuple[str, ...], Site | str], ...]:
    return tuple(
        (tuple(term.split()), part)
        for part, languages in WORDS.items()
        for terms in languages.values()
        for term in (t.strip() for t in terms.split(","))
    )


@cache
def _phrases() -> tuple[tuple[tuple[str, ...], Site | str], ...]:
    return tuple(sorted(((t, part) for t, part in _terms() if len(t) > 1), key=lambda term: -len(term[0])))


@cache
def _exact() -> dict[str, Site | str]:
    return {"".join(term): part for term, part in _terms()}


@cache
def _stems() -> tuple[tuple[str, Site | str], ...]:
    long = [(t[0], part) for t, part in _terms() if len(t) == 1 and len(t[0]) >= PREFIX_LETTERS]
    return tuple(sorted(long, key=lambda term: -len(term[0])))
