"""The table of conditions in docs/operate.md, written from the page's remedies.

``python -m provisioning.documents.conditions`` writes the lines between ``<!-- conditions -->`` and
``<!-- end of conditions -->``.
"""

from __future__ import annotations

import re
from pathlib import Path

import click

from appliance.status.remedies import REMEDIES

DOCUMENT = Path(__file__).parents[2] / "docs" / "operate.md"

_PLACE = re.compile(r"(<!-- conditions -->\n).*?(<!-- end of conditions -->)", re.DOTALL)


def table() -> str:
    """Return a Markdown table of conditions, their effects and the steps that mend them."""
    rows = (f"| `{name}` | {remedy.effect} | {' '.join(remedy.steps)} |\n" for name, remedy in sorted(REMEDIES.items()))
    return "| condition | if it is not met | what to do |\n|---|---|---|\n" + "".join(rows)


def with_table(document: str) -> str:
    """Return the document with the table of conditions written anew."""
    return _PLACE.sub(lambda place: f"{place[1]}\n{table()}\n{place[2]}", document)


@click.command()
def main() -> None:
    """Write the table of conditions into the document."""
    DOCUMENT.write_text(with_table(DOCUMENT.read_text()))


if __name__ == "__main__":
    main()
