"""The audit log in a real database: one entry for each change, in the same transaction, that nothing can alter."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, IntegrityError

from appliance.config import Configuration
from appliance.domain.audit import FIRST, AuditAction, AuditEntry, Door, check_chain
from appliance.domain.codes import REJECTED_FOR_QUALITY
from appliance.errors import Rejected
from appliance.service.withdrawal import withdraw
from appliance.storage import audit as audit_log
from appliance.storage.audit import all_entries, record
from appliance.storage.database import open_database, readers
from appliance.storage.gate import Gate
from appliance.storage.spool import FileSpool
from appliance.storage.tables import reads
from provisioning.cli import options
from provisioning.cli.main import main
from provisioning.operation.backup import back_up, restore
from provisioning.operation.doctor.finding import Level
from provisioning.operation.doctor.state import check_audit
from provisioning.operation.queues import drop
from tests.support.outbox import Outbox, message, radiograph
from tests.support.people import anna
from tests.support.validated import fill_validation, sample

REPLACE = (
    "INSERT OR REPLACE INTO audit SELECT {number}, at, 'berta', door, action, subject, detail, reason, previous, 'x' "
    "FROM audit WHERE number = 1"
)
"""A forged first entry under its own number, or under another one."""


def entries(engine: Engine) -> list[AuditEntry]:
    with readers(engine).connect() as c:
        return list(all_entries(c))


@pytest.fixture
def config(tmp_path: Path) -> Configuration:
    ris = [{"kind": "hl7", "name": name, "host": "127.0.0.1", "port": 1} for name in ("ris", "other")]
    file = tmp_path / "osteon.toml"
    tables = "".join(
        "[[destinations]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in one.items()) for one in ris
    )
    file.write_text(f'state_dir = "{tmp_path}"\n{tables}')
    return Configuration.model_validate({"state_dir": tmp_path, "destinations": ris})


@pytest.fixture
def outbox(config: Configuration) -> Iterator[Outbox]:
    """Two messages that wait for the RIS."""
    with Outbox(config.state_dir, *config.destinations) as outbox:
        for number in (1, 2):
            outbox.answer(radiograph(number), ("ris", message(radiograph(number))))
        yield outbox


def osteon(config: Configuration, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--config", str(config.state_dir / "osteon.toml")])


@pytest.mark.proves("SEC-8")
def test_each_command_that_changes_something_is_in_the_log(config: Configuration, outbox: Outbox) -> None:
    for command in (
        ("queue", "retry", "delivery:1", "delivery:2", "--reason", "the RIS is back"),
        ("queue", "reroute", "delivery:1", "--to", "other"),
        ("queue", "drop", "--to", "other", "--reason", "a test"),
        ("queue", "hold", "--to", "ris", "--reason", "it moves"),
        ("queue", "release", "--to", "ris", "--reason", "it has moved"),
        ("withdraw", str(radiograph(2).StudyInstanceUID), "--reason", "a cast"),
    ):
        done = osteon(config, *command)
        assert done.exit_code == 0, done.output
    found = entries(outbox.engine)
    assert [(e.action.value, e.subject, e.detail, e.reason) for e in found] == [
        ("retry", "delivery:1", "", "the RIS is back"),
        ("retry", "delivery:2", "", "the RIS is back"),
        ("reroute", "delivery:1", "from ris to other", ""),
        ("drop", "delivery:1", "", "a test"),
        ("hold", "destination ris", "", "it moves"),
        ("release", "destination ris", "held: it moves", "it has moved"),
        ("withdraw", "study:2", "deliveries dropped: 1; withdrawals to send: none", "a cast"),
    ]
    assert {e.person for e in found} == {options.person()}
    assert {e.door for e in found} == {Door.COMMAND_LINE}
    assert str(radiograph(2).StudyInstanceUID) not in str(found)
    assert check_chain(found).defect == ""


def test_refused_change_leaves_no_entry(config: Configuration, outbox: Outbox) -> None:
    assert osteon(config, "queue", "drop", "delivery:1", "--reason", "a test").exit_code == 0
    for command in (
        ("queue", "drop", "delivery:1", "--reason", "again"),
        ("queue", "retry", "delivery:9"),
        ("queue", "release"),
        ("queue", "reroute", "delivery:1", "--to", "other"),
        ("withdraw", "1.2.3", "--reason", "no such study"),
    ):
        assert osteon(config, *command).exit_code == 1
    assert [e.action for e in entries(outbox.engine)] == [AuditAction.DROP]


@pytest.mark.parametrize(
    "change",
    [
        lambda o: o.queue.retry(1, anna()),
        lambda o: o.queue.drop(1, anna("a test")),
        lambda o: o.queue.reroute(1, "other", anna()),
        lambda o: o.gate.shut("ris", anna("it moves")),
        lambda o: o.gate.open("*", anna()),
    ],
)
@pytest.mark.proves("SEC-8")
def test_change_without_its_entry_is_undone(
    outbox: Outbox, change: Callable[[Outbox], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox.gate.shut("*", anna("before"))
    before, holds = outbox.rows, outbox.gate.holds()

    def fail(_: AuditEntry) -> str:
        raise MemoryError

    monkeypatch.setattr(AuditEntry, "computed_digest", property(fail))
    with pytest.raises(MemoryError):
        change(outbox)
    assert outbox.rows == before
    assert outbox.gate.holds() == holds


def test_withdrawal_without_its_entry_is_undone(
    config: Configuration, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = outbox.rows
    monkeypatch.setattr(audit_log, "now", None)
    with pytest.raises(TypeError):
        withdraw(config, outbox.engine, str(radiograph(1).StudyInstanceUID), anna("a cast"), REJECTED_FOR_QUALITY)
    assert outbox.rows == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET person = 'berta'",
        "DELETE FROM audit",
        "DELETE FROM audit WHERE number = 2",
    ],
)
@pytest.mark.proves("SEC-8")
def test_database_refuses_to_alter_an_entry(engine: Engine, statement: str) -> None:
    for name in ("ris", "pacs"):
        Gate(engine).shut(name, anna("it moves"))
    with pytest.raises(DBAPIError, match="append-only"), engine.begin() as c:
        c.exec_driver_sql(statement)
    assert [e.person for e in entries(engine)] == ["anna", "anna"]


@pytest.mark.parametrize("statement", ["UPDATE reads SET answer = 'none'", "DELETE FROM reads"])
def test_database_refuses_to_alter_a_read(engine: Engine, spool: FileSpool, statement: str) -> None:
    fill_validation(engine, spool, sample(4))
    with pytest.raises(DBAPIError, match="reads is append-only"), engine.begin() as c:
        c.exec_driver_sql(statement)


def test_sqlite_refuses_to_replace_a_read(on_sqlite: Engine, spool: FileSpool) -> None:
    fill_validation(on_sqlite, spool, sample(4))
    columns = ", ".join(column.name for column in reads.c)
    values = columns.replace("reader", "'another'")
    for key in (values, values.replace("id,", "9,", 1)):
        with pytest.raises(IntegrityError, match="reads is append-only"), on_sqlite.begin() as c:
            c.exec_driver_sql(f"INSERT OR REPLACE INTO reads ({columns}) SELECT {key} FROM reads")  # noqa: S608


@pytest.mark.parametrize("number", ["number", "9"])
def test_sqlite_refuses_to_replace_an_entry(on_sqlite: Engine, number: str) -> None:
    for name in ("ris", "pacs"):
        Gate(on_sqlite).shut(name, anna("it moves"))
    with pytest.raises(IntegrityError, match="append-only"), on_sqlite.begin() as c:
        c.exec_driver_sql(REPLACE.format(number=number))
    assert [e.person for e in entries(on_sqlite)] == ["anna", "anna"]


def tamper(file: Path, statement: str) -> None:
    """Change the log as the owner of the file can, who drops the triggers first."""
    with closing(sqlite3.connect(file)) as c:
        for verb in ("update", "delete", "replace"):
            c.execute(f"DROP TRIGGER audit_no_{verb}")
        c.execute(statement)
        c.commit()


@pytest.mark.parametrize(
    ("statement", "defect"),
    [
        ("UPDATE audit SET reason = 'another' WHERE number = 2", "entry 2 was altered"),
        ("UPDATE audit SET door = 'window' WHERE number = 1", "entry 1 was altered: it cannot be read"),
        ("DELETE FROM audit WHERE number = 1", "entry 1 is missing"),
        ("DELETE FROM audit WHERE number = 3", "no entry has the digest that was kept"),
    ],
)
def test_verify_names_the_first_defect(config: Configuration, statement: str, defect: str) -> None:
    engine = open_database(config.database)
    for name in ("a", "b", "c"):
        Gate(engine).shut(name, anna("it moves"))
    engine.dispose()
    head = json.loads(osteon(config, "audit", "verify", "--json").output)["head"]
    whole = osteon(config, "audit", "verify", "--digest", head)
    assert (whole.exit_code, whole.output) == (0, f"3 entries, none altered; head: {head}\n")
    assert [f.level for f in check_audit(config)] == [Level.GOOD]
    tamper(config.state_dir / "osteon.db", statement)
    (finding,) = check_audit(config)
    assert finding.level is Level.WARNING
    assert ("triggers" if "kept" in defect else defect) in finding.seen
    done = osteon(config, "audit", "verify", "--digest", head)
    assert done.exit_code == 1
    assert defect in done.output
    assert json.loads(osteon(config, "audit", "verify", "--digest", head, "--json").output.splitlines()[0])["defect"]


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TRIGGER audit_no_delete",
        "DROP TRIGGER reads_no_update",
        "CREATE TRIGGER lost BEFORE INSERT ON audit BEGIN SELECT RAISE(IGNORE); END",
    ],
)
def test_verify_notices_triggers_that_are_not_ours(config: Configuration, statement: str) -> None:
    engine = open_database(config.database)
    Gate(engine).shut("ris", anna("it moves"))
    assert osteon(config, "audit", "verify").exit_code == 0
    assert osteon(config, "audit", "verify", "--digest", FIRST).exit_code == 1, "the log is not empty"
    with engine.begin() as c:
        c.exec_driver_sql(statement)
    engine.dispose()
    done = osteon(config, "audit", "verify")
    assert done.exit_code == 1 and "triggers" in done.output


def test_list_shows_the_newest_entries_and_the_head(config: Configuration, outbox: Outbox) -> None:
    assert "nothing was changed by a person yet" in osteon(config, "audit", "list").output
    for name, to in (("first", "ris"), ("second", "other")):
        osteon(config, "queue", "hold", "--to", to, "--reason", name)
    shown = osteon(config, "audit", "list", "--last", "1")
    assert "second" in shown.output and "first" not in shown.output
    assert f"head: {entries(outbox.engine)[-1].digest}" in shown.output
    listed = [json.loads(line) for line in osteon(config, "audit", "list", "--json").output.splitlines()]
    assert [(one["number"], one["reason"], one["action"]) for one in listed] == [
        (1, "first", "hold"),
        (2, "second", "hold"),
    ]


def test_audit_before_the_first_start_makes_no_database(config: Configuration) -> None:
    for arguments in ((), ("--digest", FIRST)):
        done = osteon(config, "audit", "verify", *arguments)
        assert done.exit_code == 1 and "there is no database" in done.output
    assert osteon(config, "audit", "list").exit_code == 0
    assert not (config.state_dir / "osteon.db").exists()


def test_backup_and_restore_keep_the_chain_and_name_the_head_that_was_replaced(
    config: Configuration, tmp_path: Path
) -> None:
    engine = open_database(config.database)
    Gate(engine).shut("ris", anna("before the backup"))
    back_up(config, None, tmp_path / "osteon.tar")
    Gate(engine).shut("pacs", anna("after the backup"))
    replaced = entries(engine)[-1].digest
    engine.dispose()
    restore(config, tmp_path / "osteon.tar", anna("the disk broke"))
    engine = open_database(config.database)
    found = entries(engine)
    engine.dispose()
    assert [e.reason for e in found] == ["before the backup", "the disk broke"]
    assert found[-1].action is AuditAction.RESTORE
    assert f"head of the audit log before: {replaced}" in found[-1].detail
    assert check_chain(found).defect == ""
    assert check_chain(found, replaced).defect != ""
    with pytest.raises(IntegrityError, match="append-only"), engine.begin() as c:
        c.exec_driver_sql("DELETE FROM audit")
    engine.dispose()


def test_entries_of_several_processes_make_one_chain(engine: Engine) -> None:
    def intervene() -> None:
        other = open_database(str(engine.url))
        for number in range(10):
            Gate(other).shut(f"{threading.get_ident()} {number}", anna("it moves"))
        other.dispose()

    threads = [threading.Thread(target=intervene) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert check_chain(entries(engine)).entries == 40


def test_long_reason_is_cut_and_stays_verifiable(engine: Engine) -> None:
    with engine.begin() as c:
        record(c, anna("é" * 10_000), AuditAction.HOLD, "destination ris")
    (entry,) = entries(engine)
    assert len(entry.reason) == audit_log.LONGEST_REASON
    assert check_chain([entry]).defect == ""


def test_person_is_the_user_who_signed_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "LOGIN_UID", tmp_path / "loginuid")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    monkeypatch.setenv("SUDO_UID", "54321")
    assert options.person() == "#54321 as #12345"  # a machine without pam_loginuid
    (tmp_path / "loginuid").write_text("0")
    assert options.person() == "root as #12345"
    (tmp_path / "loginuid").write_text("12345")
    assert options.person() == "#12345"
    (tmp_path / "loginuid").write_text(str(options.NO_LOGIN))
    monkeypatch.delenv("SUDO_UID")
    assert options.person() == "#12345"


def test_job_of_a_huge_number_is_no_job(config: Configuration, outbox: Outbox) -> None:
    for name in ("delivery:" + "9" * 40, "delivery:²", "window:1"):
        with pytest.raises(Rejected, match="no_such_job"):
            drop(config, name, anna("a test"))
    assert entries(outbox.engine) == []


def test_characters_that_no_terminal_shows_are_spaces(engine: Engine) -> None:
    with engine.begin() as c:
        record(c, anna("a\0b\udce4\nc"), AuditAction.HOLD, "destination ris")
    (entry,) = entries(engine)
    assert entry.reason == "a b  c"
