"""Sentences for people: a template and its values, so that each output can put it into the language of its site.

The template is English, and the key of its translations (`appliance.words`). A result keeps sentences, not their text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """A sentence or a word; `str` gives it in English.

    Attributes
    ----------
    template
        English text with names in braces, for example ``child of {years} years``.
    values
        The names and their values. A string is a code or a name and stays as it is; a sentence is translated too, and
        several are joined by commas.
    """

    template: str
    values: tuple[tuple[str, Value], ...] = ()

    @classmethod
    def of(cls, template: str, **values: Value) -> Self:
        """Make a sentence; `template` is a literal wherever this is called, so that a test can collect all of them."""
        return cls(template=template, values=tuple(values.items()))

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """Make the sentence of which `record` is `dataclasses.asdict`, before or after JSON."""
        return cls(template=record["template"], values=tuple((name, _value(v)) for name, v in record["values"]))

    def translated(self, translate: Callable[[str], str]) -> str:
        """Return the text, with each template replaced by `translate`."""
        template = translate(self.template)
        if not self.values:
            return template
        return template.format_map({name: _text(value, translate) for name, value in self.values})

    def __str__(self) -> str:
        """Return the text in English."""
        return self.translated(str)


Value = int | str | Sentence | tuple[Sentence, ...]
"""Value of a name in a template."""


def joined(sentences: Iterable[Sentence]) -> Sentence:
    """Return sentences as one, with semicolons between them, each once."""
    return reduce(lambda first, more: Sentence.of("{first}; {more}", first=first, more=more), dict.fromkeys(sentences))


def listed(sentences: Iterable[Sentence]) -> Sentence:
    """Return sentences or words as one, with commas between them."""
    return Sentence(template="{parts}", values=(("parts", tuple(sentences)),))


def _text(value: Value, translate: Callable[[str], str]) -> str:
    if isinstance(value, tuple):
        return ", ".join(each.translated(translate) for each in value)
    return value.translated(translate) if isinstance(value, Sentence) else str(value)


def _value(record: Any) -> Value:
    if isinstance(record, list | tuple):
        return tuple(Sentence.from_record(each) for each in record)
    return Sentence.from_record(record) if isinstance(record, dict) else record
