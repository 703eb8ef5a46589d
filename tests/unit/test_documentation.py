"""The documents' configurations are valid, and the conformance statement is generated."""

import re
from pathlib import Path

import pytest

from appliance.config import read_configuration
from provisioning.documents.conformance import statement

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", ["connecting.md", "radiographs.md"])
def test_configurations_of_a_document_are_valid_in_one_file(name: str, tmp_path: Path) -> None:
    snippets = re.findall(r"```toml\n(.*?)```", (DOCS / name).read_text(), re.DOTALL)
    assert snippets
    (tmp_path / "osteon.toml").write_text("\n".join(snippets))
    read_configuration(tmp_path / "osteon.toml")


def test_conformance_statement_equals_the_generated_one() -> None:
    how = "python -m provisioning.documents.conformance > docs/dicom-conformance-statement.md"
    assert (DOCS / "dicom-conformance-statement.md").read_text() == statement(), how
