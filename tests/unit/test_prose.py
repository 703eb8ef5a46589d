"""Plain English in docstrings: named nouns instead of pronouns, and the words of the glossary."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PACKAGES = ("appliance", "engines", "kernels", "provisioning", "tests")

PRONOUNS = re.compile(
    r"\b(what|whatever|who|whoever|whom|whose|whence|theirs|ours|nobody|somebody|anybody|everybody|likewise"
    r"|of which|by which|is told|are told)\b",
    re.IGNORECASE,
)
"""Relative and indefinite pronouns, and phrases that stand for a noun."""

MOST_PER_1000_WORDS = 5
"""Mopidy, procrastinate, highdicom and pynetdicom have 0 to 1."""

BEGINNING = re.compile(r"(What|Of|As|Whom|Whose)\b")
"""Words that begin no docstring: a function's begins with a verb, a class's or a constant's with a noun."""

FILM = re.compile(r"(?<![\"`])\bfilms?\b(?!\.csv)", re.IGNORECASE)
"""The glossary says radiograph; quoted keys of published files, and their names, stay."""


def docstrings(package: str) -> Iterator[tuple[str, str]]:
    """Yield each docstring of a package with its place, those below constants and attributes included."""
    for path in sorted((ROOT / package).rglob("*.py")):
        if "peers" in path.parts:  # npm may install modules there
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            for text in _texts(node):
                yield f"{path.relative_to(ROOT)}:{text.lineno}", str(text.value)


def _texts(node: ast.AST) -> Iterator[ast.Constant]:
    """Yield the strings that stand as statements in the body of a module, a class or a function."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        for statement in node.body:
            match statement:
                case ast.Expr(value=ast.Constant(value=str()) as text):
                    yield text


@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings_of_a_package_name_their_nouns(package: str) -> None:
    texts = list(docstrings(package))
    words = sum(len(text.split()) for _, text in texts)
    found = [f"{place}: {pronoun}" for place, text in texts for pronoun in PRONOUNS.findall(text)]
    assert words > 500
    assert 1000 * len(found) / words < MOST_PER_1000_WORDS, "\n".join(found)


@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings_begin_with_a_verb_or_a_noun(package: str) -> None:
    assert [place for place, text in docstrings(package) if BEGINNING.match(text.lstrip())] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings_say_radiograph_and_not_film(package: str) -> None:
    assert [place for place, text in docstrings(package) if FILM.search(text)] == []
