"""The conclusion of a radiologist's report: a fracture, none, or a person has to read it.

The rule knows a few plain forms of a sentence, all of whose words stand on closed lists, and leaves every other report
to a person: a wrong "none" would count a missed fracture as agreement.

1. Only the concluding section counts, if the report has one.
2. Every sentence of it must have one of these forms in one language, from its first word to its last:

   - a denied fracture: "No acute fracture of the distal radius", "No dislocation or fracture", "Fracture: none";
   - a fracture at a named place: "Undisplaced fracture of the distal radius";
   - a sentence that speaks of no fracture: "Mild soft tissue swelling".
3. A word that no list has, a question mark or a bracket leaves the report to a person. So do sentences that disagree.

Each word becomes one letter, its class, and a form is a regular expression over these letters without repetitions that
overlap within one another. Sentences are short, too, so that no text takes long.

References
----------
Chapman et al., A simple algorithm for identifying negated findings and diseases in discharge summaries (NegEx), J
Biomed Inform 34 (2001) 301-310; here every word of the sentence stands on a closed list.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from enum import Enum, auto
from functools import cache

from appliance.domain.validation import Conclusion

from .conclusion_words import LANGUAGES, NUMBERS, PLACES, VERTEBRAE_AND_RAYS, ConclusionWords

LONGEST_TEXT = 20_000
"""Characters of a report that is read; a longer one is left to a person."""

LONGEST_SECTION = 5_000
"""Characters of the section that is judged, and of a report without sections; a longer one is left to a person."""

LONGEST_SENTENCE = 600
"""Characters of a sentence that is judged; a longer one leaves the report to a person."""

CLASSES = {
    "place": "b", "fracture": "F", "injury": "I", "bony": "B", "negation": "n", "without": "z", "negator": "h",
    "nothing": "x", "evidence": "e", "seen": "s", "there": "r", "observed": "v", "small": "t", "ordinal": "N",
    "alternative": "o", "conjunction": "w", "adjective": "a", "kind": "d", "detail": "k", "having": "y",
    "every": "c", "views": "V", "beside": "m", "quiet": "q", "intact": "i",
}  # fmt: skip
"""The letter of each list of `ConclusionWords`; the first list that has a word counts.

``G`` is a fracture whose place is part of the word, ``/`` the end of a line, ``U`` a word that no list has.
"""


class _Silence(Enum):
    """The verdict of a sentence that speaks of no fracture."""

    QUIET = auto()


_WHERE = r"(?:[tN]*b[tbwN]*:)?"
_THERE = r"(?:r[rsv]*|v*)"
_MEMBER = r"[aetsv]*(?:[FGI]|(?:q[aetsvq]*)?m)a*"
_AT = r"(?:[astbN/]|[ow]/?[taN]*b)*(?:c+V)?"
_NONE = re.compile(
    rf"{_WHERE}{_THERE}(?:"
    rf"[nz](?!/)[aetsvb/]*[FGI]{_AT}"  # no fracture of the distal radius
    rf"|[nz]{_MEMBER}(?:,/?{_MEMBER})*,?/?o/?[nz]?{_MEMBER}{_AT}"  # no effusion, dislocation or fracture
    rf"|[nz]{_MEMBER}(?:[,w]/?[nz]{_MEMBER})+{_AT}"  # no fracture, no dislocation
    r"|a*[FGI](?::?x|:n|[sv]*[nh][sv]+|s+x)"  # fracture: none; fracture is not seen
    r")"
)
_FRACTURE = re.compile(rf"{_WHERE}{_THERE}(?:[tab]|N+b|h?d)*[FG](?:[tabN/]|[nh]?d|w[taN]*b|,?[yz][ad]*k)*s*")
_QUIET = re.compile(r"[aetsvrbmqiwonzxyN,:/]*[mqisbxa]")
_DISTURBED = re.compile(r"[nz][^m,:]*i")

_COMPOUND = re.compile(r"(\w+?)(?:fraktur|bruch)(?:en|es|e)?")
_TOKEN = re.compile(r"\w+|[^\w\s'-]|\n")
_BULLET = re.compile(r"(?:[-*•]|\d{1,2}[.)])\s")
_END = re.compile(r"(?<!\d)[.!;]|[.!;](?!\d)|(?<=\?)")


def conclusion_of(text: str, impression: str = "") -> Conclusion:
    """Return the conclusion of a report.

    Parameters
    ----------
    text
        The whole report, lines ended by newlines.
    impression
        Its concluding section, where the message tells it apart.
    """
    if len(text) + len(impression) > LONGEST_TEXT:
        return Conclusion.UNSURE
    section = _folded(impression) or _concluding(_folded(text))
    if len(section) > LONGEST_SECTION:
        return Conclusion.UNSURE
    said: set[Conclusion] = set()
    for sentence in _sentences(section):
        verdict = _sentence(sentence)
        if verdict is Conclusion.UNSURE:
            return verdict
        if isinstance(verdict, Conclusion):
            said.add(verdict)
    return said.pop() if len(said) == 1 else Conclusion.UNSURE


def _sentence(sentence: str) -> Conclusion | _Silence:
    """Return the verdict of one folded sentence."""
    if len(sentence) > LONGEST_SENTENCE:
        return Conclusion.UNSURE
    tokens = _TOKEN.findall(sentence)
    if _rule("normal").fullmatch(" ".join(tokens)):
        return Conclusion.NONE
    verdicts = {_verdict("".join(map(_letters(language).__getitem__, tokens))) for language in LANGUAGES} - {None}
    (only,) = verdicts if len(verdicts) == 1 else (None,)
    return only or Conclusion.UNSURE


def _verdict(letters: str) -> Conclusion | _Silence | None:
    """Return the verdict of a sentence by the classes of its words in one language; None if it has no known form."""
    is_bony = re.search("[BFG]", letters)
    letters = letters.replace("B", "a")
    if re.search("[FGI]", letters):
        if is_bony and _NONE.fullmatch(letters):
            return Conclusion.NONE
        return Conclusion.FRACTURE if re.search("[Gb]", letters) and _FRACTURE.fullmatch(letters) else None
    speaks = re.search("[mi]", letters) and _QUIET.fullmatch(letters) and not _DISTURBED.search(letters)
    return _Silence.QUIET if speaks else None


class _Letters(dict[str, str]):
    """The letter of each word of one language."""

    def __init__(self, words: ConclusionWords) -> None:
        for name, letter in CLASSES.items():
            for word in getattr(words, name).split() + (PLACES.split() if name == "place" else []):
                self.setdefault(word, letter)
        self |= {",": ",", ":": ":", "\n": "/"}

    def __missing__(self, word: str) -> str:
        """Return the letter of a word that no list has by itself: a number, a vertebra, a compound noun."""
        if NUMBERS.fullmatch(word):
            return "N"
        if VERTEBRAE_AND_RAYS.fullmatch(word):
            return "b"
        compound = _COMPOUND.fullmatch(word)
        return "G" if compound and self.get(compound[1]) == "b" and "fraktur" in self else "U"


@cache
def _letters(language: str) -> Mapping[str, str]:
    return _Letters(LANGUAGES[language])


def _concluding(text: str) -> str:
    """Return the concluding sections of a folded text; the whole text without one."""
    concluding: list[str] = []
    concludes = False
    for line in text.splitlines():
        heading = _rule("heading").match(line)
        if heading:
            concludes = heading["conclusion"] is not None
            concluding.append("")
        if concludes:
            concluding.append(line[heading.end() :] if heading else line)
    found = "\n".join(concluding)
    return found if found.strip() else text


def _sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a folded text.

    A line goes on in the next one unless it ends a sentence or has a colon, or the next one is an item of a list.
    """
    joined: list[str] = []
    for line in [*text.splitlines(), ""]:
        is_item = _BULLET.match(line) is not None
        content = _BULLET.sub("", line, count=1).strip() if is_item else line
        if joined and (not content or is_item or ":" in content or ":" in joined[-1] or joined[-1][-1] in ".;!?"):
            yield from _split("\n".join(joined))
            joined = []
        if content:
            joined.append(content)


def _split(text: str) -> Iterator[str]:
    yield from (sentence.strip() for sentence in _END.split(text) if sentence.strip())


def _folded(text: str) -> str:
    """Return small letters without accents, and lines without spaces at their ends or twice in between.

    Accents that stand alone go first: putting thousands of them in order would take long.
    """
    plain = "".join(c for c in text.lower().replace("ß", "ss").replace("’", "'") if not unicodedata.combining(c))
    plain = "".join(c for c in unicodedata.normalize("NFD", plain) if not unicodedata.combining(c))
    return "\n".join(" ".join(line.split()) for line in plain.splitlines())


@cache
def _rule(name: str) -> re.Pattern[str]:
    """Return the compiled pattern of all languages."""

    def words(field: str) -> str:
        return "|".join(getattr(language, field) for language in LANGUAGES.values())

    if name == "heading":
        headings = rf"(?P<conclusion>{words('conclusion')})|{words('other')}"
        return re.compile(rf"\s?[*_=]*(?:{headings})[*_=]*\s?(?::|-\s|$)")
    return re.compile(words(name))
