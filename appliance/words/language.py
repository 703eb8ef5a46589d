"""Language of an output: it turns the sentences of a result into text."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Final, Literal

from appliance.domain.codes import Concept
from appliance.domain.result import SECOND_READER
from appliance.domain.sentence import Sentence

from .catalogue import Catalogue, read_catalogue

LanguageCode = Literal["en", "de", "fr", "es", "ms"]
"""Language of a destination (RFC 5646)."""

LANGUAGES: Final[dict[LanguageCode, Concept]] = {
    "en": Concept("en", "RFC5646", "English"),
    "de": Concept("de", "RFC5646", "German"),
    "fr": Concept("fr", "RFC5646", "French"),
    "es": Concept("es", "RFC5646", "Spanish"),
    "ms": Concept("ms", "RFC5646", "Malay"),
}
"""Languages with their codes (DICOM PS3.16 TID 1204)."""

NOT_REVIEWED = Sentence.of("This translation was not reviewed by a clinician")


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """A language with its translations; English needs no catalogue, since every template is English."""

    code: LanguageCode
    catalogue: Catalogue | None = field(default=None, repr=False, compare=False)

    @property
    def concept(self) -> Concept:
        """The language as a code."""
        return LANGUAGES[self.code]

    @property
    def notice(self) -> str:
        """The sentence that stands on every output; it says so if no clinician has reviewed the translation."""
        said = self.say(SECOND_READER)
        if self.catalogue is None or self.catalogue.reviewer:
            return said
        return f"{said}. {self.say(NOT_REVIEWED)}"

    def say(self, sentence: Sentence) -> str:
        """Return the text of a sentence; a template without translation stays English."""
        return sentence.translated(self._translate)

    def kind(self, kind: str) -> str:
        """Return the kind of an artefact in this language; its UID follows, so that objects in two languages differ."""
        return kind if self.code == "en" else f"{kind} {self.code}"

    def _translate(self, template: str) -> str:
        return self.catalogue.texts.get(template, template) if self.catalogue else template


ENGLISH: Final = Language(code="en")


@cache
def language(code: LanguageCode) -> Language:
    """Return the language with its catalogue, which is read once."""
    if code == "en":
        return ENGLISH
    text = (files(__package__) / f"{code}.po").read_text("utf-8")
    return Language(code=code, catalogue=read_catalogue(text))
