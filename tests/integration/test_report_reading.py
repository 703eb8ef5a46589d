"""Final reports come in by HL7, their words are judged, and open ones are left to a person."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from hl7.client import MLLPClient
from sqlalchemy import Engine, delete, insert, select

from appliance.clock import now
from appliance.config import Receive
from appliance.domain.audit import AuditAction
from appliance.domain.identifiers import Site
from appliance.domain.job import Event
from appliance.domain.reason import ReasonCode
from appliance.domain.validation import ConcludedBy, Conclusion, Decision, SampleKind
from appliance.errors import Rejected
from appliance.reporting.hl7.report_text import DecisionCode, read_report_text
from appliance.service.report_inbox import ReportInbox
from appliance.service.report_reading import ReportReading
from appliance.storage.audit import newest_entries
from appliance.storage.conclusions import (
    conclude,
    conclusions_of_studies,
    count_conclusions,
    left_to_a_person,
    unread_reports,
)
from appliance.storage.decisions import count_decisions
from appliance.storage.notices import Notebook
from appliance.storage.queue import Queue
from appliance.storage.results import record_result
from appliance.storage.spool import FileSpool
from appliance.storage.tables import analyses, decisions, draws, studies, study_results, validations
from provisioning.cli.main import main
from tests.support.kept import keep
from tests.support.people import anna
from tests.support.results import result
from tests.support.sources import source

CODE = DecisionCode(code="AI-DECISION")
STUDY = str(source("one").StudyInstanceUID)


@pytest.fixture
def answered(engine: Engine, spool: FileSpool) -> Engine:
    """A database with one study that was reported on."""
    ds = source("one")
    keep(engine, spool, ds)
    (lease,) = (queue := Queue(engine, analyses, "me")).lease()
    with queue.ending(lease, Event.FINISH) as c:
        record_result(c, lease.job_id, result(ds), [])
        study = c.execute(select(studies.c.id)).scalar_one()
        row = {"study_id": study, "revision": 1, "result_ids": "1", "left_out": 0, "created_at": now()}
        c.execute(insert(study_results).values(**row))
    return engine


@pytest.fixture
def receive(answered: Engine, spool: FileSpool) -> Callable[..., None]:
    """A RIS that sends a report; its message is kept and read."""

    def send(number: str, *obx: str, status: str = "F", is_lost: bool = False) -> None:
        inbox = ReportInbox(Receive.model_validate({"hl7": {"port": 0}}), answered, spool, Notebook())
        lines = [
            f"MSH|^~\\&|RIS|H|OSTEON|B|20260301101500||ORU^R01^ORU_R01|{number}|P|2.5.1||||||UNICODE UTF-8",
            "PID|1||MR-4711^^^H^MR||Łukasiewicz^Žofie",
            f"OBR|1|PL-1|FIL-1|XR^Wrist^L|||||||||||||||||||||{status}",
            f"OBX|1|RP|113014^DICOM Study^DCM||{STUDY}||||||F",
            *obx,
        ]
        try:
            with MLLPClient("127.0.0.1", inbox.port) as client:
                assert b"|AA|" in client.send_message("\r".join([*lines, ""]).encode())
        finally:
            inbox.close()
        if is_lost:
            spool.remove(unread_reports(answered, 1)[0].digest)
        ReportReading(answered, spool, CODE).step()

    return send


def test_final_report_about_a_drawn_study_of_a_site_in_shadow_is_read(
    answered: Engine, receive: Callable[..., None]
) -> None:
    with answered.begin() as c:
        c.execute(delete(study_results))
    receive("1", "OBX|2|TX|59776-5^Findings^LN||No fracture.||||||F")
    assert concluded(answered) == []
    with answered.begin() as c:
        row = {"kind": SampleKind.RANDOM, "sites": "wrist", "size": 9, "share": 1.0, "secret": "", "fingerprints": "{}"}
        row |= {"person": "anna", "reason": "test", "started_at": now()}
        c.execute(insert(validations).values(**row))
        drawn = {"validation_id": 1, "patient_digest": "p", "study_instance_uid": STUDY, "result_id": 1}
        drawn |= {"site": Site.WRIST, "rank": "0", "is_blinded": True, "drawn_at": now()}
        c.execute(insert(draws).values(**drawn))
    receive("2", "OBX|2|TX|59776-5^Findings^LN||No fracture.||||||F")
    assert concluded(answered) == [(Conclusion.NONE, ConcludedBy.PATTERNS)]


def concluded(engine: Engine) -> list[tuple[Conclusion | None, ConcludedBy | None]]:
    with engine.connect() as c:
        return [(one.conclusion, one.concluded_by) for one in conclusions_of_studies(c).values()]


def test_newest_final_report_concludes(answered: Engine, receive: Callable[..., None]) -> None:
    receive("1", "OBX|2|TX|F^Findings^L||Fracture?", status="P")
    assert concluded(answered) == [], "a preliminary report concludes nothing"
    receive("2", "OBX|2|TX|F^Findings^L||Fracture of the", "OBX|3|TX|F^Findings^L||distal radius.")
    assert concluded(answered) == [(Conclusion.FRACTURE, ConcludedBy.PATTERNS)]
    receive(
        "3", "OBX|2|FT|F^F^L||Fracture?", "OBX|3|FT|X&IMP^Impression^L||Kein Nachweis\\.br\\einer Fraktur.", status="C"
    )
    assert concluded(answered) == [(Conclusion.NONE, ConcludedBy.PATTERNS)]
    with answered.connect() as c:
        assert count_conclusions(c) == {Conclusion.FRACTURE: 1, Conclusion.NONE: 1}


def test_open_words_are_left_to_a_person_whose_conclusion_is_in_the_audit_log(
    answered: Engine, receive: Callable[..., None]
) -> None:
    receive("1", "OBX|2|TX|F^Findings^L||Fracture cannot be excluded.")
    receive("2", "OBX|2|ED|PDF^Report^L||^application^pdf^Base64^JVBERi0=")
    (one,) = left_to_a_person(answered)
    conclude(answered, one.report_id, Conclusion.FRACTURE, anna())
    assert concluded(answered) == [(Conclusion.FRACTURE, ConcludedBy.PERSON)]
    assert left_to_a_person(answered) == []
    with answered.connect() as c:
        (entry,) = newest_entries(c, 9)
    assert (entry.action, entry.subject, entry.detail) == (AuditAction.CONCLUDE, "report:2", "fracture")
    with pytest.raises(Rejected) as refused:
        conclude(answered, one.report_id, Conclusion.NONE, anna())
    assert refused.value.code is ReasonCode.REPORT_NOT_OPEN


def test_text_and_decision_of_several_orders_are_left_to_a_person(
    answered: Engine, receive: Callable[..., None]
) -> None:
    second = "OBR|2|PL-2|FIL-2|XR^Ribs^L|||||||||||||||||||||F"
    decision = "OBX|1|ST|AI-DECISION^Decision^L||REJECT||||||F"
    receive("1", "OBX|2|TX|F^F^L||Soft tissue swelling.", second, "OBX|1|TX|F^F^L||No fracture.", decision)
    assert concluded(answered) == [(Conclusion.UNSURE, ConcludedBy.PATTERNS)]
    with answered.connect() as c:
        assert count_decisions(c) == {}


@pytest.mark.parametrize("status", ["D", "W", "X", "P", "I", "R", "S", "U", "N", "O", "?"])
def test_observation_that_is_not_final_counts_for_nothing(status: str) -> None:
    message = (
        "MSH|^~\\&|R|H|O|B|1||ORU^R01|1|P|2.5.1\rOBR|1|||||||||||||||||||||||||F\r"
        "OBX|1|TX|F||Fracture of the ulna.||||||{0}\rOBX|2|ST|AI-DECISION||ACCEPT||||||{0}\r"
        "OBX|3|TX|F||No fracture.||||||F\rOBX|4|TX|F||Swelling.||||||C \r"
    )
    read = read_report_text(message.format(status).encode(), CODE)
    assert (read.text, read.decision) == ("No fracture.\nSwelling.", None)
    assert read_report_text(message.format("C").encode(), CODE).decision is Decision.ACCEPT


def test_lost_message_is_left_to_a_person(answered: Engine, receive: Callable[..., None]) -> None:
    receive("1", "OBX|2|TX|F^Findings^L||No fracture.", is_lost=True)
    assert concluded(answered) == [(Conclusion.UNSURE, ConcludedBy.PATTERNS)]


def test_decision_of_a_report_is_recorded_once_and_never_overwritten(
    answered: Engine, receive: Callable[..., None]
) -> None:
    receive("1", "OBX|2|ST|AI-DECISION^Decision^L||accept", "OBX|3|TX|F^F^L||No fracture.")
    receive("1", "OBX|2|ST|AI-DECISION^Decision^L||accept", "OBX|3|TX|F^F^L||No fracture.")
    receive("2", "OBX|2|CWE|AI-DECISION^Decision^L||REJECT^not agreed^L", "OBX|3|TX|F^F^L||No fracture.", status="C")
    receive("3", "OBX|2|ST|AI-DECISION^Decision^L||maybe")
    with answered.connect() as c:
        rows = c.execute(select(decisions.c.decision, decisions.c.study_result_id).order_by(decisions.c.id)).all()
        assert count_decisions(c) == {Decision.REJECT: 1}
    assert [tuple(row) for row in rows] == [(Decision.ACCEPT, 1), (Decision.REJECT, 1)]


def test_text_is_read_in_the_character_set_of_the_message() -> None:
    lines = "MSH|^~\\&|R|H|O|B|1||ORU^R01|1|P|2.5.1||||||{}\rOBX|1|TX|F||knöcherne Verletzung \\T\\ \\H\\Fraktur\\N\\\r"
    for name, codec in (("8859/1", "latin-1"), ("UNICODE UTF-8", "utf-8"), ("", "cp1252"), ("", "utf-8")):
        assert read_report_text(lines.format(name).encode(codec), CODE).text == "knöcherne Verletzung & Fraktur"
    assert read_report_text(b"x" * 300_000, CODE).text == ""


def test_command_lists_shows_and_concludes(
    tmp_path: Path, database_url: str, answered: Engine, receive: Callable[..., None]
) -> None:
    receive("1", "OBX|2|TX|F^Findings^L||Old fracture.\x1b[2J")
    config = tmp_path / "osteon.toml"
    config.write_text(f'state_dir = "{tmp_path}"\ndatabase_url = "{database_url}"\n')

    def osteon(*arguments: str) -> str:
        done = CliRunner().invoke(main, ["validate", "conclude", *arguments, "--config", str(config)])
        assert done.exit_code == 0, done.output
        return done.output

    assert "study:1" in osteon()
    shown = osteon("1")
    assert "Old fracture." in shown and "\x1b" not in shown and "Łukasiewicz" not in shown
    osteon("1", "none", "--reason", "it is old")
    assert "no report waits" in osteon()
    assert concluded(answered) == [(Conclusion.NONE, ConcludedBy.PERSON)]
