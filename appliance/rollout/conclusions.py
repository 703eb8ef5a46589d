"""The conclusion of a radiologist's report: a fracture, none, or a person has to read it.

The rule knows few forms of a sentence, and leaves every other to a person: a wrong "none" would count a missed fracture
as agreement.

1. Only the concluding section counts, if the report has one.
2. A word of doubt in a sentence that names a fracture leaves the whole report to a person: "possible", "old", "?".
3. A fracture is denied only where nothing but known words stands between the negation and the fracture.
4. The absence of any *other* fracture says nothing.
5. A fracture that is named without negation and doubt is one.
6. Sentences that disagree are left to a person.

References
----------
Chapman et al., A simple algorithm for identifying negated findings and diseases in discharge summaries (NegEx), J
Biomed Inform 34 (2001) 301-310; here the words between negation and finding are a closed list instead of any five.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache

from appliance.domain.validation import Conclusion

from .conclusion_words import LANGUAGES, ConclusionWords

LONGEST_TEXT = 20_000
"""Characters of a report that is read; a longer one is left to a person."""

_ABBREVIATIONS = {r"\bz\. ?n\.": "zn", r"\bst\. ?n\.": "stn", r"\bv\. ?a\.": "va", r"\bs/p\b": "sp", r"(?<=\s)#": "?"}
_BULLET = re.compile(r"\s*(?:[-*•]|\d{1,2}[.)])\s+")
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
    said = {_sentence(s) for s in _sentences(_folded(impression) or _concluding(_folded(text)))} - {None}
    return said.pop() or Conclusion.UNSURE if len(said) == 1 else Conclusion.UNSURE


def _sentence(sentence: str) -> Conclusion | None:
    """Return the conclusion of one folded sentence; None if it says nothing of a fracture."""
    bare = _rule("details", after=r"(?!\s*(?:,|and|und|et|y|e|dan|{lists})(?!\w))").sub(" ", sentence)
    if _rule("normal").fullmatch(bare.strip(" :-")):
        return Conclusion.NONE
    fractures = list(_rule("fracture").finditer(bare))
    injuries = list(_rule("injury").finditer(bare))
    named = fractures or injuries
    if not named:
        return None
    if _rule("doubt").search(sentence) or "?" in sentence:
        return Conclusion.UNSURE
    negations = list(_rule("negation").finditer(bare))
    denied = [_is_denied(bare, term, negations) for term in named]
    if all(denied) and not (fractures and injuries and not all(_is_denied(bare, t, negations) for t in injuries)):
        return None if all(_is_of_others(bare, term, negations) for term in named) else Conclusion.NONE
    if any(denied) or negations or not fractures:
        return Conclusion.UNSURE
    return Conclusion.FRACTURE


def _is_denied(sentence: str, term: re.Match[str], negations: list[re.Match[str]]) -> bool:
    """Tell whether a negation before or behind a term denies it."""
    rest = sentence[term.end() :]
    if _rule("negated_after").match(rest.lstrip(" ,")):
        return True
    for negation in negations:
        between = sentence[negation.end() : term.start()]
        if negation.end() > term.start():
            continue
        if _rule("harmless").fullmatch(between) or (_is_list(between, rest)):
            return True
    return False


def _is_of_others(sentence: str, term: re.Match[str], negations: list[re.Match[str]]) -> bool:
    """Tell whether only other fractures are denied: "no further fracture"."""
    return any(_rule("further").search(sentence, negation.end(), term.start()) for negation in negations)


def _is_list(between: str, rest: str) -> bool:
    """Tell whether a term is a member of a negated list: "no dislocation or fracture", "no effusion, fracture or"."""
    joined = _rule("list_end").search(between)
    members = between[: joined.start()] if joined else between
    if not joined and not (between.rstrip().endswith(",") and _rule("list_goes_on").match(rest)):
        return False
    nouns = [_rule("between").sub(" ", member).split() for member in members.split(",")]
    return all(len(member) <= 2 for member in nouns) and not _rule("negation").search(between)


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

    A line goes on in the next one unless it ends a sentence, or the next one is an item of a list.
    """
    joined = ""
    for line in [*text.splitlines(), ""]:
        content = _BULLET.sub("", line, count=1).strip()
        is_item = _BULLET.match(line) is not None
        if joined and (not content or is_item or joined[-1] in ".:;!?"):
            yield from _split(joined)
            joined = ""
        joined = f"{joined} {content}".strip()


def _split(text: str) -> Iterator[str]:
    plain = f" {text}"
    for pattern, short in _ABBREVIATIONS.items():
        plain = re.sub(pattern, short, plain)
    yield from (sentence.strip() for sentence in _END.split(plain) if sentence.strip())


def _folded(text: str) -> str:
    """Return small letters without accents."""
    plain = unicodedata.normalize("NFKD", text.lower().replace("ß", "ss").replace("’", "'"))
    return "".join(c for c in plain if not unicodedata.combining(c))


@cache
def _rule(name: str, after: str = "") -> re.Pattern[str]:
    """Return the compiled pattern of all languages."""

    def words(field: str) -> str:
        return "|".join(getattr(language, field) for language in LANGUAGES.values())

    lists = words("lists")
    match name:
        case "harmless":
            return re.compile(rf"(?:[\s'-]+|(?:{words('between')}|{words('further')}|{lists})(?!\w))*")
        case "list_end":
            return re.compile(rf",?\s+(?:{lists})(?:\s+(?:{words('between')}|{words('further')}))*[\s'-]*$")
        case "list_goes_on":
            return re.compile(rf"\s*,?\s*(?:{lists})(?!\w)")
        case "heading":
            headings = rf"(?P<conclusion>{words('conclusion')})|{words('other')}"
            return re.compile(rf"\s*[*_=]*(?:{headings})[*_=]*\s*(?::|-\s|$)")
    assert name in ConclusionWords.__slots__
    return re.compile(rf"(?<!\w)(?:{words(name)})(?!\w){after.format(lists=lists)}")
