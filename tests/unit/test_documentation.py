"""What the documents tell a site to write can be written."""

import re
from pathlib import Path

import pytest

from appliance.config import read_configuration
from provisioning.documents.conformance import statement

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", ["connecting.md", "radiographs.md"])
def test_every_configuration_of_a_document_fits_into_one_file(name: str, tmp_path: Path) -> None:
    snippets = re.findall(r"```toml\n(.*?)```", (DOCS / name).read_text(), re.DOTALL)
    assert snippets
    (tmp_path / "osteon.toml").write_text("\n".join(snippets))
    read_configuration(tmp_path / "osteon.toml")


def test_the_conformance_statement_is_what_the_code_says() -> None:
    how = "python -m provisioning.documents.conformance > docs/dicom-conformance-statement.md"
    assert (DOCS / "dicom-conformance-statement.md").read_text() == statement(), how
