"""Requirements and the tests that prove them."""

from __future__ import annotations

import re

from provisioning.documents.traceability import ROOT, TABLE, proofs, requirements, table


def test_each_requirement_is_proven_and_each_proof_is_of_a_requirement() -> None:
    assert proofs().keys() == requirements().keys()


def test_table_of_proofs_is_the_one_that_the_tests_make() -> None:
    assert TABLE.read_text(encoding="utf-8") == table()


def test_each_risk_is_controlled_by_a_requirement_that_exists() -> None:
    lines = [
        line for line in (ROOT / "docs" / "risks.md").read_text(encoding="utf-8").splitlines() if line.startswith("| R")
    ]
    assert len(lines) >= 20
    for line in lines:
        named = set(re.findall(r"[A-Z]{3}-\d+", line))
        assert named, line
        assert named <= requirements().keys(), line
