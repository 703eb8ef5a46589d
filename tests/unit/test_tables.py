"""The tables of `osteon read` and `osteon demo` write a probability as pictures and reports do."""

import io
from pathlib import Path

from rich.console import Console
from rich.table import Table

from appliance.analysis.pipeline import Analysis
from appliance.service.instance_reader import Reading
from provisioning.demonstration.outcome import Row, table_of
from provisioning.operation.read import _add_rows
from tests.support.results import finding, result
from tests.support.sources import source

RESULT = result(source(), finding(0.9996), finding(0.4), finding(0.0004))


def words(table: Table) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=200).print(table)
    return file.getvalue().split()


def test_the_demonstrations_table() -> None:
    row = Row(name="film", result=RESULT, study=None, code="", reason="", in_pacs_s=None)
    assert {">99%", "40%", "<1%"} < set(words(table_of([row], synthetic=False)))


def test_the_table_of_what_was_read() -> None:
    table = Table(*("file", "site", "answer", "probability", "focus", "ms"))
    _add_rows(table, Path("film.dcm"), Reading(source=source(), analysis=Analysis(result=RESULT)))
    assert {">99%", "40%", "<1%"} < set(words(table))
