"""The documents' configurations, commands and keys exist, and the conformance statement is generated."""

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import click
import pytest
from pydantic import BaseModel

from appliance.config import Configuration, Picture, read_configuration
from appliance.dicom.objects.series import FIRST_SERIES_NUMBER, TITLES
from appliance.domain.identifiers import Site
from appliance.domain.roles import ROLES
from appliance.status.remedies import REMEDIES
from provisioning.cli.main import main
from provisioning.documents.conditions import with_table
from provisioning.documents.conformance import statement

DOCS = Path(__file__).parents[2] / "docs"
TESTS = Path(__file__).parents[1]
DOCUMENTS = (DOCS.parent / "README.md", *sorted(DOCS.glob("*.md")))

CONFIGURED = (
    "accounts.md",
    "connecting.md",
    "radiographs.md",
    "install.md",
    "operate.md",
    "pacs-admin.md",
    "accounts.md",
)
"""Documents with tables of the configuration; a document's tables together are one valid file."""

FOR_PEOPLE = (
    "accounts.md",
    "accounts.md",
    "install.md",
    "operate.md",
    "connecting.md",
    "pacs-admin.md",
    "radiologist.md",
    "rollout.md",
    "security.md",
    "README.md",
)
"""Documents that hospitals read: short lines and short paragraphs."""

LONGEST_LINE, LONGEST_PARAGRAPH = 120, 120
"""In characters, and in words."""


def sections(model: type[BaseModel], key: str) -> Iterator[type[BaseModel]]:
    """Yield the tables that stand below a key, each of the alternatives of a list as well."""
    pending: list[object] = [model.model_fields[key].annotation]
    while pending:
        found = pending.pop()
        pending += get_args(found)
        if isinstance(found, type) and issubclass(found, BaseModel):
            yield found


def is_key(path: str) -> bool:
    """Return whether the configuration has a key at this path, such as ``receive.tls.port``."""
    tables: list[type[BaseModel]] = [Configuration]
    if path.startswith("picture."):
        tables, path = [Picture], path.removeprefix("picture.")
    for step in path.split("."):
        tables = [table for table in tables if step in table.model_fields]
        if not tables:
            return False
        tables = [below for table in tables for below in sections(table, step)]
    return True


def spans(document: str) -> list[str]:
    """Return what a document shows as code within its sentences, and each line of its listings."""
    listings = re.findall(r"```(?!toml)\w*\n(.*?)```", document, re.DOTALL)
    text = re.sub(r"```.*?```", "", document, flags=re.DOTALL)
    within = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]
    return within + [line.strip() for listing in listings for line in listing.splitlines()]


def unknown_words(command: str) -> list[str]:
    """Return the subcommands and options of a call of ``osteon`` that the command line does not have."""
    unknown: list[str] = []
    at: click.Command = main
    for word in shlex.split(command, comments=True)[1:]:
        options = {name for parameter in at.params for name in parameter.opts} | {"--help", "-h"}
        if word.startswith("-"):
            unknown += [word] if word.partition("=")[0] not in options else []
        elif isinstance(at, click.Group) and word not in {"...", "COMMAND"}:
            found = at.get_command(click.Context(at), word)
            if found is None:
                return [word]
            at = found
    return unknown


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_of_a_document_exist_with_their_options(path: Path) -> None:
    commands = [span for span in spans(path.read_text()) if re.match(r"(\.venv/bin/)?osteon [a-z-]", span)]
    assert {command: unknown for command in commands if (unknown := unknown_words(command))} == {}


def test_unknown_command_or_option_is_noticed() -> None:
    assert unknown_words("osteon queue retry --to ris --code mllp_refused") == []
    assert unknown_words("osteon queue rerty") == ["rerty"]
    assert unknown_words("osteon queue retry --two ris") == ["--two"]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_keys_of_a_document_exist_in_the_configuration(path: Path) -> None:
    tables = "|".join([*Configuration.model_fields, "picture"])
    keys = [
        match[1] for span in spans(path.read_text()) if (match := re.match(rf"((?:{tables})\.[a-z_.]+)( =|$)", span))
    ]
    assert [key for key in keys if not is_key(key)] == []


def test_unknown_key_is_noticed() -> None:
    assert is_key("receive.tls.client_ca") and is_key("destinations.picture.layout") and is_key("picture.not_analysed")
    assert not is_key("receive.ports") and not is_key("receive.port.number")


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if path.name in FOR_PEOPLE], ids=lambda path: path.name)
def test_document_for_people_has_short_lines_and_paragraphs(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    long = [line for line in text.splitlines() if len(line) > LONGEST_LINE and not line.startswith(("|", "!"))]
    blocks = [block for block in re.split(r"\n\s*\n|\n(?=- |\d+\. )", text) if not block.startswith("|")]
    assert long == [] and [block for block in blocks if len(block.split()) > LONGEST_PARAGRAPH] == []


@pytest.mark.parametrize("name", CONFIGURED)
def test_configurations_of_a_document_are_valid_in_one_file(name: str, tmp_path: Path) -> None:
    snippets = re.findall(r"```toml\n(.*?)```", (DOCS / name).read_text(), re.DOTALL)
    (tmp_path / "osteon.toml").write_text("\n".join(snippets))
    read_configuration(tmp_path / "osteon.toml")


def test_document_for_radiologists_names_the_sites_that_the_claims_allow() -> None:
    pack = tomllib.loads((DOCS.parent / "engines" / "packs" / "fracatlas" / "pack.toml").read_text())
    by_claims: dict[tuple[bool, bool], list[str]] = {}
    for site, classifier in pack["classifiers"].items():
        claims = classifier["claims"]
        by_claims.setdefault((claims["finds"], claims["clears"]), []).append(str(Site(site).label))
    both, finds, neither = (", ".join(by_claims[claims]) for claims in ((True, True), (True, False), (False, False)))
    text = (DOCS / "radiologist.md").read_text()
    assert f'| suspect a fracture, and say "no fracture found" | {both} |' in text
    assert f'| suspect a fracture, and never say "no fracture found" | {finds} |' in text
    assert f"| say nothing, since it does not read it | {neither}, and every other part of the body |" in text


def test_conditions_of_the_document_are_those_of_the_page() -> None:
    document = (DOCS / "operate.md").read_text()
    assert with_table(document) == document, "python -m provisioning.documents.conditions"


def test_each_condition_has_a_remedy() -> None:
    status = DOCS.parent / "appliance" / "status"
    calls = [
        call
        for path in status.glob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and ast.unparse(call.func) in {"Condition", "_flow"}
    ]
    given = [ast.unparse(argument.value) for call in calls for argument in call.keywords if argument.arg == "name"]
    given += [ast.unparse(call.args[-1]) for call in calls if call.args]
    names = {re.sub(r"\.?\{.*", "", name.strip("f'")) for name in given if "'" in name}
    assert {"database", "disk.days", "destination", "queue.studies", "role"} <= names
    missing = {name for name in names - {"role"} if name not in REMEDIES}
    missing |= {f"role.{role}" for role in ROLES if f"role.{role}" not in REMEDIES}
    assert missing == set()


def test_document_for_pacs_administrators_has_the_numbers_of_every_series() -> None:
    titles = {"summary": "summary", "sc": "heat map", "pr": "regions", "sr": "report", "ko": "key views"}
    text = (DOCS / "pacs-admin.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| Osteon ([\w ]+) \| \w\w \| (\d+) \+ \*n\* \|", text, re.MULTILINE)
    assert {kind: int(number) for kind, _, number in rows} == FIRST_SERIES_NUMBER
    assert {kind: title for kind, title, _ in rows} == titles and set(titles.values()) < set(TITLES)


def test_conformance_statement_equals_the_generated_one() -> None:
    how = "python -m provisioning.documents.conformance > docs/dicom-conformance-statement.md"
    assert (DOCS / "dicom-conformance-statement.md").read_text() == statement(), how


@pytest.mark.parametrize(("document", "least"), [("reliability.md", 50), ("security.md", 12)])
def test_tests_that_a_document_names_exist(document: str, least: int) -> None:
    place = r"`((?:unit|integration|e2e|faults)/\w+\.py)(?:::(\w+))?`"
    named = re.findall(place, (DOCS / document).read_text())
    assert len(named) > least
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not (TESTS / file).exists() or f"def {name or 'test_'}" not in (TESTS / file).read_text()
    ]
    assert missing == []
