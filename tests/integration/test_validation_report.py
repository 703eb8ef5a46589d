"""The report of a validation: its content, its entry in the audit log, and everything that a later check finds."""

from __future__ import annotations

import base64
import json
import re
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import update

from appliance.clock import now
from appliance.config import Configuration
from appliance.domain.audit import FIRST
from appliance.domain.validation import SampleKind
from appliance.status.report import collect_report, render
from appliance.storage.append_only import trigger_statements
from appliance.storage.audit import all_entries
from appliance.storage.database import open_database
from appliance.storage.evidence import evidence
from appliance.storage.scored import scored_sample
from appliance.storage.spool import FileSpool
from appliance.storage.tables import traits
from provisioning.cli.main import main
from tests.support.validated import PATIENT, READER, fill_validation, sample

CASES = sample()


@pytest.fixture
def file(validated_box: Path, tmp_path: Path) -> Path:
    """The configuration of a box whose validation has ended."""
    shutil.copytree(validated_box, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "osteon.toml"
    file.write_text(f'state_dir = "{tmp_path}"\n[analyse]\npack = "phantom"\n')
    return file


def osteon(file: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["validate", *arguments, "--config", str(file)])


@pytest.fixture
def written(file: Path, tmp_path: Path) -> Path:
    """The report of the validation."""
    done = osteon(file, "report", "--out", str(tmp_path / "report.html"))
    assert done.exit_code == 0, done.output
    return tmp_path / "report.html"


def test_report_names_its_basis_and_no_patient(written: Path) -> None:
    page = written.read_text()
    for expected in (
        "Report of validation 1: ",
        "bones (SYNTHETIC) 1.2.0",
        "0123456789abcdef" * 4,
        "0" * 63,
        "ONNX Runtime 1.32, CPU",
        f"{READER} (page): {len(CASES)}",
        "190 of 200 right",
        "first validation",
        "Roentgen &amp; Sons &lt;1&gt;",
    ):
        assert expected in page, expected
    for secret in (PATIENT, "1.2.826.0.1", "Doe", "<script"):
        assert secret not in page
    assert re.findall(r'(?:src|href)="(?!data:image/png)', page) == [], "it needs no other file"
    listed = re.findall(r'<tr><th scope="row">(\d+)</th>.*?<code>([0-9a-f]{64})</code></td></tr>', page)
    assert [int(number) for number, _ in listed] == [case.result_id for case in CASES]
    assert len({digest for _, digest in listed}) == len(CASES)


def test_report_shows_each_disagreement_as_its_picture(written: Path, tmp_path: Path) -> None:
    page = written.read_text()
    missed = [case for case in CASES if case.is_disagreement and case.is_blinded]
    figures = re.findall(r'<figure>\s*<img src="data:image/png;base64,([^"]*)".*?result (\d+),', page, re.DOTALL)
    assert missed and sorted(int(number) for _, number in figures) == [case.result_id for case in missed]
    pictures = FileSpool(tmp_path / "spool")
    assert page.count("missed fracture</span>") == len(missed)
    engine = open_database(f"sqlite:///{tmp_path / 'osteon.db'}")
    with engine.connect() as c:
        kept = evidence(c, 1)
    engine.dispose()
    for picture, number in figures:
        assert base64.b64decode(picture) == pictures.get(kept[int(number)].picture_digest)


def test_report_leaves_out_the_picture_of_a_radiograph_with_burned_in_text(file: Path, tmp_path: Path) -> None:
    (first, *others) = (case.result_id for case in CASES if case.is_disagreement and case.is_blinded)
    engine = open_database(f"sqlite:///{tmp_path / 'osteon.db'}")
    with engine.begin() as c:
        c.execute(update(traits).where(traits.c.result_id == first).values(has_burned_in_text=True))
    engine.dispose()
    assert osteon(file, "report", "--out", str(tmp_path / "report.html")).exit_code == 0
    page = (tmp_path / "report.html").read_text()
    assert (page.count("<img src"), page.count("Its picture is left out")) == (len(others), 1)


def test_report_is_written_without_a_picture_that_is_gone(file: Path, tmp_path: Path) -> None:
    for picture in (tmp_path / "spool").glob("??/*"):
        picture.unlink()
    assert osteon(file, "report", "--out", str(tmp_path / "report.html")).exit_code == 0
    assert "Its picture is not kept any more." in (tmp_path / "report.html").read_text()


def test_verify_finds_the_entry_of_the_report(file: Path, written: Path) -> None:
    osteon(file, "report", "--out", str(written.with_name("second.html")))
    for report in (written, written.with_name("second.html")):
        done = osteon(file, "verify", str(report))
        assert done.exit_code == 0, done.output
    shown = json.loads(osteon(file, "verify", str(written), "--json").output)
    assert (shown["subject"], shown["action"]) == ("validation:1", "write report")
    assert re.findall(rb'id="seal">([0-9a-f]{64})<', written.read_bytes()) == [shown["detail"].split()[1].encode()]


def _flip(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize("part", [b"accuracy", b"base64,", b"--ink", b'id="seal">', b"</html>"])
@pytest.mark.proves("SEC-14")
def test_verify_fails_for_one_altered_byte(file: Path, written: Path, part: bytes) -> None:
    content = written.read_bytes()
    written.write_bytes(_flip(content, content.index(part) + len(part) - 1))
    done = osteon(file, "verify", str(written))
    assert done.exit_code == 1 and "report_altered" in done.output


def _tamper(folder: Path, *statements: str) -> None:
    """Change the audit log as the owner of the file can, who drops the triggers and makes them anew."""
    with closing(sqlite3.connect(folder / "osteon.db")) as c:
        for verb in ("update", "delete", "replace"):
            c.execute(f"DROP TRIGGER audit_no_{verb}")
        for statement in (*statements, *trigger_statements("sqlite", "audit")):
            c.execute(statement)
        c.commit()


@pytest.mark.parametrize(
    ("statement", "defect"),
    [
        ("UPDATE audit SET reason = 'another' WHERE number = 1", "entry 1 was altered"),
        ("UPDATE audit SET detail = 'SHA-256 0' WHERE action = 'write report'", "entry 3 was altered"),
        ("UPDATE audit SET person = 'carl' WHERE action = 'write report'", "entry 3 was altered"),
        ("DELETE FROM audit WHERE number = 1", "entry 1 is missing"),
        ("DELETE FROM audit WHERE number = 3", "report_unknown"),
        ("UPDATE results SET answer = answer", ""),
    ],
)
@pytest.mark.proves("SEC-14")
def test_verify_fails_for_an_altered_audit_log(file: Path, written: Path, statement: str, defect: str) -> None:
    _tamper(file.parent, statement)
    done = osteon(file, "verify", str(written))
    assert (done.exit_code, defect in done.output) == (1 if defect else 0, True), done.output


def test_verify_fails_for_an_audit_log_that_was_written_anew(file: Path, written: Path) -> None:
    """The forged log has a whole chain and the entry of the report; the report shows another head before it."""
    engine = open_database(f"sqlite:///{file.parent / 'osteon.db'}")
    with engine.connect() as c:
        entries = list(all_entries(c))
    engine.dispose()
    previous, statements = FIRST, []
    for entry in entries:
        forged = replace(entry, previous=previous, person="carl" if entry.number == 1 else entry.person)
        previous = forged.computed_digest
        values = f"person = '{forged.person}', previous = '{forged.previous}', digest = '{previous}'"
        statements.append(f"UPDATE audit SET {values} WHERE number = {entry.number}")  # noqa: S608
    _tamper(file.parent, *statements)
    assert CliRunner().invoke(main, ["audit", "verify", "--config", str(file)]).exit_code == 0
    done = osteon(file, "verify", str(written))
    assert done.exit_code == 1 and "no entry has the digest that was kept" in done.output


def test_verify_of_another_box_does_not_know_the_report(written: Path, tmp_path: Path) -> None:
    folder = tmp_path / "another"
    open_database(f"sqlite:///{folder / 'osteon.db'}").dispose()
    file = folder / "osteon.toml"
    file.write_text(f'state_dir = "{folder}"\n')
    done = osteon(file, "verify", str(written))
    assert done.exit_code == 1 and "report_unknown" in done.output


def test_report_that_cannot_be_written_has_no_entry(file: Path, tmp_path: Path) -> None:
    done = osteon(file, "report", "--out", str(tmp_path / "nowhere" / "report.html"))
    assert done.exit_code == 1 and "file_not_written" in done.output
    assert "write report" not in CliRunner().invoke(main, ["audit", "list", "--config", str(file)]).output


@pytest.mark.parametrize("which", [("--kind", "enriched"), ("--validation", "7")])
def test_report_of_no_validation_says_so(file: Path, tmp_path: Path, which: tuple[str, str]) -> None:
    done = osteon(file, "report", "--out", str(tmp_path / "report.html"), *which)
    assert done.exit_code == 1 and "no_validation" in done.output
    assert not (tmp_path / "report.html").exists()


def test_report_belongs_to_its_writer_alone(written: Path) -> None:
    assert written.stat().st_mode & 0o777 == 0o600
    assert list(written.parent.glob("*.part")) == []


def test_report_of_an_open_validation_says_that_it_is_interim(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'osteon.db'}")
    spool, config = FileSpool(tmp_path / "spool"), Configuration.model_validate({"state_dir": tmp_path})
    begun = fill_validation(engine, spool, sample(20), kind=SampleKind.ENRICHED, is_ended=False)
    with engine.connect() as c:
        made = collect_report(c, spool, config, scored_sample(c, begun, {}))
    engine.dispose()
    page = render(made, "anna", now(), FIRST)
    assert "Interim report" in page and "Enriched sample" in page
    assert page.count('<span class="mark missing">no</span>') == 2, "neither site may go live"
