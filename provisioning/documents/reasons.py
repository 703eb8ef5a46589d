"""The tables of reason codes in the documents, written from the register: ``python -m provisioning.documents.reasons``.

A document holds a place for each table: ``<!-- reasons: Association, Instance received -->``, which names groups of the
register, and ``<!-- end of reasons -->``. The lines between them are generated.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from pathlib import Path

import click

from appliance.domain.reason import ReasonCode

DOCUMENTS = Path(__file__).parents[2] / "docs"

_PLACE = re.compile(r"(<!-- reasons: (?P<groups>[^>]+) -->\n).*?(<!-- end of reasons -->)", re.DOTALL)

_HEADING_OR_MEMBER = re.compile(r"^    (?:# (?P<heading>.+)|(?P<member>[A-Z][A-Z0-9_]*) = .*)$", re.MULTILINE)


def groups() -> dict[str, list[ReasonCode]]:
    """Return the register's members by the comment above them, without `ReasonCode.NONE`."""
    found: dict[str, list[ReasonCode]] = {}
    for match in _HEADING_OR_MEMBER.finditer(inspect.getsource(ReasonCode)):
        if match["heading"]:
            members = found.setdefault(match["heading"], [])
        elif found:
            members.append(ReasonCode[match["member"]])
    return found


def table(codes: Iterable[ReasonCode]) -> str:
    """Return a Markdown table of codes, sentences and remedies."""
    rows = [f"| `{code}` | {code.sentence} | {code.remedy} |\n" for code in codes]
    return "| code | means | what to do |\n|---|---|---|\n" + "".join(rows)


def with_tables(document: str) -> str:
    """Return the document with every table of reason codes written anew.

    Raises
    ------
    KeyError
        If the document names a group that the register does not have.
    """
    registered = groups()

    def written(place: re.Match[str]) -> str:
        codes = [code for group in place["groups"].split(", ") for code in registered[group]]
        return f"{place[1]}\n{table(codes)}\n{place[3]}"

    return _PLACE.sub(written, document)


@click.command()
def main() -> None:
    """Write the tables of reason codes into the documents."""
    for path in sorted(DOCUMENTS.glob("*.md")):
        path.write_text(with_tables(path.read_text()))


if __name__ == "__main__":
    main()
