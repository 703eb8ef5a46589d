"""The proofs of the requirements, as a table: ``python -m provisioning.documents.traceability``.

A test names what it proves by ``@pytest.mark.proves("SAF-1")``; `docs/requirements.md` has the requirements, and
`docs/traceability.md` is written from both.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

ROOT: Final = Path(__file__).parents[2]

REQUIREMENTS: Final = ROOT / "docs" / "requirements.md"

TABLE: Final = ROOT / "docs" / "traceability.md"

_LINE: Final = re.compile(r"^\| ([A-Z]{3}-\d+) \| (.+) \|$", re.MULTILINE)


def requirements() -> dict[str, str]:
    """Return the requirements by their ids, in the order of the document."""
    return dict(_LINE.findall(REQUIREMENTS.read_text(encoding="utf-8")))


def proofs() -> dict[str, list[str]]:
    """Return the tests that name a requirement, as ``folder/file.py::name``, by its id."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("*.py")):
        if "node_modules" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                for requirement in _named(node):
                    found.setdefault(requirement, []).append(f"{path.relative_to(ROOT / 'tests')}::{node.name}")
    return found


def table() -> str:
    """Return the document: each requirement with the tests that prove it."""
    proven = proofs()
    rows = [
        f"| {identifier} | {sentence} | {'<br>'.join(f'`{test}`' for test in proven.get(identifier, []))} |\n"
        for identifier, sentence in requirements().items()
    ]
    head = (
        "# Traceability\n\nEach [requirement](requirements.md) and the tests in `tests/` that prove it; written by "
        "`python -m\nprovisioning.documents.traceability`. Every release runs all of them.\n\n"
    )
    return head + "| id | requirement | tests |\n|---|---|---|\n" + "".join(rows)


def _named(test: ast.FunctionDef) -> Iterator[str]:
    for decorator in test.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.proves":
            yield from (ast.literal_eval(argument) for argument in decorator.args)


@click.command()
def main() -> None:
    """Write `docs/traceability.md`."""
    TABLE.write_text(table(), encoding="utf-8")


if __name__ == "__main__":
    main()
