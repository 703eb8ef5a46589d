"""Reads from elsewhere: a table of gold-standard reads, and the conclusions of final reports, matched to the sample."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pydicom.dataset import Dataset
from sqlalchemy import Engine, insert, select, update

from appliance.clock import now
from appliance.config import Analyse, Configuration
from appliance.domain.job import State
from appliance.domain.reason import ReasonCode
from appliance.domain.validation import ConcludedBy, Conclusion, SampleKind
from appliance.errors import Rejected
from appliance.service.examined_instance import examine
from appliance.storage.audit import newest_entries
from appliance.storage.spool import FileSpool
from appliance.storage.tables import conclusions, deliveries, radiologist_reports, reads
from appliance.storage.validations import end_validation
from provisioning.cli.main import main
from provisioning.operation import reads as operation
from provisioning.operation.reads import import_reports, import_table, rows_of
from tests.support.outbox import radiograph
from tests.support.people import anna
from tests.support.validations import Hospital, begin

STUDY = "1.2.826.0.1.3680043.8.498.7."


class HeaderReader:
    """Reads headers in this process instead of a child."""

    def __init__(self, rules: Analyse) -> None:
        self._rules = rules

    def source(self, load: Callable[[], bytes], calling_ae_title: str = "") -> Dataset:
        return examine(load, calling_ae_title, self._rules).source

    def close(self) -> None:
        pass


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configuration:
    monkeypatch.setattr(operation, "HeaderReader", HeaderReader)
    return Configuration(state_dir=tmp_path)


@pytest.fixture
def _sample(engine: Engine, spool: FileSpool) -> None:
    """Draw three radiographs, two of which have the same accession number."""
    begin(engine)
    made = Hospital(engine, spool)
    for number in (1, 2, 3):
        ds = radiograph(number)
        ds.AccessionNumber = f"ACC{min(number, 2)}"
        made.analyse(number, ds=ds)
    made.report()


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "reads.csv"
    path.write_bytes(text.encode(encoding))
    return path


def rows(engine: Engine) -> list[Any]:
    with engine.connect() as c:
        return list(c.execute(select(reads).order_by(reads.c.draw_id)))


@pytest.mark.usefixtures("_sample")
def test_table_is_matched_by_study_and_accession_and_each_other_row_is_explained(
    config: Configuration, engine: Engine, tmp_path: Path
) -> None:
    text = f"""study,accession,answer,marks,reader
{STUDY}3,,FRACTURE,"hardware, mobile",Dr. Ünal
,ACC1,none,,
,ACC2,none,,
9.9.9,,none,,
,,none,,
{STUDY}2,,perhaps,,
{STUDY}2,,none,broken,
{STUDY}1,,fracture,,
{STUDY}2,,unsure

"""
    done = import_table(config, engine, table(tmp_path, text, "utf-8-sig"), SampleKind.RANDOM, anna("gold standard"))
    assert done.written == 2
    assert done.refusals == {
        4: "names several studies of the sample: give the study's UID",
        5: "names no study of the sample",
        6: "names neither study nor accession",
        7: "has no answer: write fracture, none, unsure, unusable",
        8: "has 1 unknown marks: write some of hardware, osteoporosis, pathological, artefact, mobile",
        9: "was read already",
        10: "has 3 fields instead of 5",
    }
    one, other = rows(engine)
    assert (one.draw_id, one.answer, one.reader, one.source, one.is_blinded) == (1, "none", "table", "csv", True)
    assert (other.answer, other.reader, other.marks) == ("fracture", "Dr. Ünal", "hardware,mobile")
    with engine.connect() as c:
        (entry,) = newest_entries(c, 1)
    assert (entry.action, entry.subject, entry.reason) == ("import reads", "validation:1", "gold standard")
    assert entry.detail.startswith("2 reads from a table, SHA-256 ")


@pytest.mark.usefixtures("_sample")
def test_read_of_a_study_about_which_an_answer_has_left_is_unblinded(
    config: Configuration, engine: Engine, tmp_path: Path
) -> None:
    made = {"study_instance_uid": f"{STUDY}1", "state": State.DONE, "not_before": now(), "created_at": now()}
    with engine.begin() as c:
        c.execute(insert(deliveries).values(destination="pacs", kind="sc", identifier="1", digest="d", **made))
    text = f"answer;study\nnone;{STUDY}1\nnone;{STUDY}2\n"
    assert import_table(config, engine, table(tmp_path, text), SampleKind.RANDOM, anna()).refusals == {}
    assert [(row.draw_id, row.is_blinded) for row in rows(engine)] == [(1, False), (2, True)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"study,answer,name\n1,none,Erika\n", "the columns 'name' are unknown"),
        (b"study,marks\n1,mobile\n", "name each column once"),
        (b"answer\nnone\n", "name each column once"),
        (b"study,study,answer\n1,1,none\n", "name each column once"),
        (b"", "name each column once"),
        ("study,answer\n1,keine Frakt\xfcr\n".encode("latin-1"), "not in UTF-8"),
        (b'study,answer\n1,"none\n', "no CSV"),
        (b"study,answer\n" + b"1,none\n" * 2_000_000, "larger than 10 MB"),
    ],
)
def test_file_that_is_no_table_of_reads_is_refused_as_a_whole(content: bytes, words: str) -> None:
    with pytest.raises(Rejected, match=words) as refused:
        list(rows_of(content))
    assert refused.value.code is ReasonCode.READS_FILE


def conclude(engine: Engine, number: int, conclusion: Conclusion, by: ConcludedBy, status: str = "F") -> None:
    report = {
        "sending_application": "RIS",
        "sending_facility": "",
        "control_id": f"{number} {conclusion} {status}",
        "digest": "d",
        "accession_number": "",
        "study_instance_uid": f"{STUDY}{number}",
        "result_status": status,
        "received_at": now(),
    }
    with engine.begin() as c:
        key = c.execute(insert(radiologist_reports).values(**report).returning(radiologist_reports.c.id)).scalar_one()
        c.execute(insert(conclusions).values(report_id=key, conclusion=conclusion, concluded_by=by, at=now()))


@pytest.mark.usefixtures("_sample")
def test_conclusions_of_final_reports_become_reads_and_what_is_open_is_left_to_a_person(engine: Engine) -> None:
    conclude(engine, 1, Conclusion.NONE, ConcludedBy.PATTERNS)
    conclude(engine, 1, Conclusion.FRACTURE, ConcludedBy.PATTERNS, "C")  # a correction
    conclude(engine, 2, Conclusion.UNSURE, ConcludedBy.PATTERNS)
    conclude(engine, 9, Conclusion.FRACTURE, ConcludedBy.PATTERNS)
    done = import_reports(engine, SampleKind.RANDOM, anna())
    assert (done.written, done.open_reports, done.without_report) == (1, 1, 1)
    (one,) = rows(engine)
    assert (one.draw_id, one.answer, one.source, one.reader) == (1, "fracture", "hl7", "final report")
    assert one.is_blinded
    with engine.begin() as c:
        c.execute(update(conclusions).values(concluded_by=ConcludedBy.PERSON))
    done = import_reports(engine, SampleKind.RANDOM, anna())
    assert (done.written, done.open_reports, done.without_report) == (1, 0, 1)
    assert [row.answer for row in rows(engine)] == ["fracture", "unsure"]


@pytest.mark.usefixtures("_sample")
def test_closed_validation_takes_no_read(config: Configuration, engine: Engine, tmp_path: Path) -> None:
    end_validation(engine, SampleKind.RANDOM, anna())
    path = table(tmp_path, f"study,answer\n{STUDY}1,none\n")
    with pytest.raises(Rejected, match="no random validation is open"):
        import_table(config, engine, path, SampleKind.RANDOM, anna())
    assert rows(engine) == []


@pytest.mark.usefixtures("_sample")
def test_commands_start_show_import_and_end_a_validation(tmp_path: Path) -> None:
    (tmp_path / "osteon.toml").write_text(f'state_dir = "{tmp_path}"\n')
    option = ["--config", str(tmp_path / "osteon.toml")]

    def osteon(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["validate", *words, *option])
        return done.exit_code, done.output

    path = str(table(tmp_path, f"study,answer\n{STUDY}1,none\n{STUDY}7,none\n"))
    assert osteon("import", path, "--reason", "gold") == (
        1,
        "line 3: names no study of the sample\n1 reads taken, 1 not\n",
    )
    code, shown = osteon("status", "--json")
    assert code == 0
    assert '"drawn": 3, "read": 1, "blinded": 1, "unblinded": 0' in shown
    assert "secret" not in shown
    assert "3 of 10" in osteon("status")[1]
    assert osteon("end", "--reason", "done") == (0, "validation 1 is ended: 3 of 10 drawn, 1 read\n")
    code, said = osteon("start", "--sites", "wrist", "--size", "200", "--kind", "enriched", "--reason", "rare ones")
    assert (code, "validation 2 is open: wrist; 200 radiographs, 20% of the patients" in said) == (0, True)
    assert osteon("start", "--sites", "nose", "--reason", "x")[0] == 2
    assert osteon("import", "--reason", "x")[0] == 2
    assert osteon("end", "--reason", "x")[0] == 1
