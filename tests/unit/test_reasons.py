"""The register of reason codes: complete, used, and documented."""

import re
from pathlib import Path

import pytest

from appliance.domain.reason import ReasonCode
from provisioning.documents.reasons import DOCUMENTS, groups, with_tables

ROOT = Path(__file__).parents[2]
REGISTER = ROOT / "appliance" / "domain" / "reason.py"
CODES = [code for code in ReasonCode if code is not ReasonCode.NONE]


def test_each_code_is_its_name_in_lower_case() -> None:
    assert [code.value for code in CODES] == [code.name.lower() for code in CODES]


def test_each_code_has_a_sentence_and_a_remedy() -> None:
    texts = [text for code in CODES for text in (code.sentence, code.remedy)]
    assert [text for text in texts if not re.fullmatch(r"[A-Z`][^\n|]+\.", text)] == []


def test_each_code_is_used_in_the_product() -> None:
    sources = [p for top in ("appliance", "provisioning") for p in (ROOT / top).rglob("*.py") if p != REGISTER]
    used = {name for source in sources for name in re.findall(r"ReasonCode\.([A-Z0-9_]+)", source.read_text())}
    assert {code.name for code in CODES} <= used, {code.name for code in CODES} - used


def test_each_code_is_in_one_group() -> None:
    assert sorted(code for group in groups().values() for code in group) == sorted(CODES)


def test_each_group_is_in_one_document() -> None:
    documents = [path.read_text() for path in DOCUMENTS.glob("*.md")]
    places = [place for document in documents for place in re.findall(r"<!-- reasons: (.+?) -->", document)]
    assert sorted(group for place in places for group in place.split(", ")) == sorted(groups())


@pytest.mark.parametrize("path", sorted(DOCUMENTS.glob("*.md")), ids=lambda path: path.name)
def test_the_tables_of_a_document_are_those_of_the_register(path: Path) -> None:
    assert path.read_text() == with_tables(path.read_text()), "run: python -m provisioning.documents.reasons"
