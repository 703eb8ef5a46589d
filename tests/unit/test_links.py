"""Links and module paths of the documents lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def anchors(document: str) -> set[str]:
    """Return the names by which links reach the headings of a document, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", document, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_relative_links_lead_to_files(path: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_to_a_heading_lead_to_one(path: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#\s]*\.md)?#([^)\s]+)\)", path.read_text())
    targets = {(path.parent / file if file else path, heading) for file, heading in links}
    assert [str(heading) for file, heading in targets if heading not in anchors(file.read_text())] == []


def test_decisions_have_numbers_of_their_own_and_are_indexed() -> None:
    folder = ROOT / "docs" / "decisions"
    decisions = sorted(path.name for path in folder.glob("0*.md"))
    assert len({name[:4] for name in decisions}) == len(decisions) > 30
    assert re.findall(r"\((0[^)]+\.md)\)", (folder / "README.md").read_text()) == decisions


def test_paths_of_the_architecture_exist() -> None:
    paths = re.findall(
        r"`((?:appliance|engines|kernels|provisioning)/[\w/.]*)`", (ROOT / "docs/architecture.md").read_text()
    )
    assert len(paths) > 15
    assert [path for path in paths if not (ROOT / path).exists()] == []
