"""Tables of `osteon read` and `osteon demo`: a probability is written as in pictures and reports."""

import io
import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from appliance.domain.result import Result
from appliance.ports import Analysis
from appliance.service.reading import Reading
from provisioning.demonstration.outcome import OutcomeRow, closing_table
from provisioning.operation.read import _add_rows, _record
from tests.support.results import finding, result
from tests.support.sources import source

RESULT = result(source(), finding(0.9996), finding(0.4), finding(0.0004))


def printed_words(table: Table) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=200).print(table)
    return file.getvalue().split()


def test_closing_table_of_the_demonstration_shows_rounded_probabilities() -> None:
    row = OutcomeRow(name="wrist", result=RESULT, study=None, code="", reason="", in_pacs_s=None)
    assert {">99%", "40%", "<1%"} < set(printed_words(closing_table([row], synthetic=False)))


def test_table_of_read_files_shows_rounded_probabilities() -> None:
    table = Table(*("file", "answer", "not read", "region", "verdict", "probability", "focus", "ms"))
    _add_rows(table, Path("wrist.dcm"), Reading(source=source(), analysis=Analysis(result=RESULT)))
    assert {">99%", "40%", "<1%"} < set(printed_words(table))


def test_record_of_a_read_file_has_answer_verdicts_and_what_was_not_read() -> None:
    record = _record(RESULT)
    assert record["answer"] == RESULT.answer.value
    assert record["verdicts"] == [f.verdict.value for f in RESULT.findings]
    assert record["not_read"] == ["hand"]
    assert Result.from_json(json.dumps(record["result"])) == RESULT


def test_closing_table_of_the_demonstration_names_what_was_not_read() -> None:
    row = OutcomeRow(name="wrist", result=RESULT, study=None, code="", reason="", in_pacs_s=None)
    assert "hand" in printed_words(closing_table([row], synthetic=False))
