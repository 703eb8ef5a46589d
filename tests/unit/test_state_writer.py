"""One module writes the state of jobs, and no module outside storage knows a table."""

import ast
from pathlib import Path

from appliance.storage.tables import metadata

ROOT = Path(__file__).parents[2]
STORAGE = ROOT / "appliance" / "storage"
WRITER = STORAGE / "transitions.py"
PRODUCT = sorted(p for top in ("appliance", "provisioning") for p in (ROOT / top).rglob("*.py"))


def state_writes(source: str) -> list[int]:
    """Return the lines that give a column `state` in ``values(...)``, or as a key of a dictionary."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(attr="values"), keywords=keywords):
                found += [k.value.lineno for k in keywords if k.arg == "state"]
            case ast.Dict(keys=keys):
                found += [k.lineno for k in keys if isinstance(k, ast.Constant) and k.value == "state"]
    return sorted(found)


def test_state_writes_are_seen_by_this_test() -> None:
    assert len(state_writes(WRITER.read_text())) == 3
    assert state_writes("c.execute(update(t).values(state='done'))\nvalues = {'state': 1}") == [1, 2]


def test_no_other_module_writes_the_state_of_a_job() -> None:
    writes = {p.name: lines for p in PRODUCT if p != WRITER and (lines := state_writes(p.read_text()))}
    assert writes == {}


def imported_modules(source: str) -> set[str]:
    nodes = ast.walk(ast.parse(source))
    return {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}


def test_no_module_outside_storage_imports_a_table() -> None:
    outside = [p for p in PRODUCT if not p.is_relative_to(STORAGE)]
    assert [p.name for p in outside if "appliance.storage.tables" in imported_modules(p.read_text())] == []


def test_every_table_of_jobs_has_a_state() -> None:
    with_state = {table.name for table in metadata.sorted_tables if "state" in table.c}
    assert with_state == {"analyses", "studies", "deliveries", "trials"}
