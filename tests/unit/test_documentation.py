"""The documents' configurations are valid, and the conformance statement is generated."""

import re
from pathlib import Path

import pytest

from appliance.config import read_configuration
from provisioning.documents.conformance import statement

DOCS = Path(__file__).parents[2] / "docs"
TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("name", ["connecting.md", "radiographs.md"])
def test_configurations_of_a_document_are_valid_in_one_file(name: str, tmp_path: Path) -> None:
    snippets = re.findall(r"```toml\n(.*?)```", (DOCS / name).read_text(), re.DOTALL)
    assert snippets
    (tmp_path / "osteon.toml").write_text("\n".join(snippets))
    read_configuration(tmp_path / "osteon.toml")


def test_conformance_statement_equals_the_generated_one() -> None:
    how = "python -m provisioning.documents.conformance > docs/dicom-conformance-statement.md"
    assert (DOCS / "dicom-conformance-statement.md").read_text() == statement(), how


def test_tests_of_the_reliability_document_exist() -> None:
    named = re.findall(r"`((?:unit|integration|e2e)/\w+\.py)(?:::(\w+))?`", (DOCS / "reliability.md").read_text())
    assert len(named) > 50
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not (TESTS / file).exists() or f"def {name or 'test_'}" not in (TESTS / file).read_text()
    ]
    assert missing == []
