"""Every template that the product can put into an output, collected from its code."""

from __future__ import annotations

import ast
import itertools
import string
from collections.abc import Iterator
from pathlib import Path

import appliance
from appliance.domain.identifiers import Laterality, Site, place

ROOT = Path(appliance.__file__).parent


def templates() -> set[str]:
    """Return the first argument of every ``Sentence.of`` of the product, and the name of every place.

    Raises
    ------
    AssertionError
        If one is no literal: it could not be collected.
    """
    found = {place(site, side).template for site, side in itertools.product(Site, Laterality)}
    for file in sorted(ROOT.rglob("*.py")):
        for call in _calls(ast.parse(file.read_text("utf-8"))):
            (template, *rest) = call.args
            assert isinstance(template, ast.Constant) and isinstance(template.value, str) and not rest, (
                f"{file.relative_to(ROOT)}:{call.lineno}: Sentence.of takes one literal template"
            )
            found.add(template.value)
            named = {keyword.arg for keyword in call.keywords}
            assert named == placeholders(template.value), f"{file.relative_to(ROOT)}:{call.lineno}: {named}"
    return found


def placeholders(template: str) -> set[str]:
    """Return the names in the braces of a template."""
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Sentence.of":
            yield node
