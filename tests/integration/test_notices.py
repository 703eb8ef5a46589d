"""Notices of refused associations, instances and messages: counted, limited and shown on the page."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, func, select
from sqlalchemy.exc import OperationalError

from appliance.config import Configuration
from appliance.domain.notice import Notice, Subject
from appliance.domain.reason import ReasonCode
from appliance.status.app import create_app
from appliance.storage.database import readers
from appliance.storage.notices import MOST, Notebook
from appliance.storage.tables import notices
from tests.integration.test_status import PACK

NOTICE = Notice(
    subject=Subject.ASSOCIATION,
    code=ReasonCode.CALLED_AE_TITLE,
    reason="it called 'X' and we are 'OSTEON': correct it there",
    calling_ae_title="ROOM1",
    called_ae_title="X",
    address="192.0.2.7",
)


def counts(engine: Engine) -> dict[str, int]:
    with engine.connect() as c:
        return dict(c.execute(select(notices.c.calling_ae_title, notices.c.times)).tuples().all())


def test_repeated_notice_is_counted(engine: Engine) -> None:
    notebook = Notebook()
    for _ in range(3):
        notebook.note(NOTICE)
    notebook.write(engine)
    notebook.note(NOTICE)
    notebook.note(replace(NOTICE, calling_ae_title="ROOM2"))
    notebook.write(engine)
    notebook.write(engine)
    assert counts(engine) == {"ROOM1": 4, "ROOM2": 1}


def test_flood_of_notices_keeps_the_newest_rows(engine: Engine) -> None:
    notebook = Notebook()
    for wave in range(3):
        for number in range(MOST * 2):
            notebook.note(replace(NOTICE, calling_ae_title=f"W{wave} {number}"))
        notebook.write(engine)
    with engine.connect() as c:
        assert c.execute(select(func.count()).select_from(notices)).scalar() == MOST
    assert set(counts(engine)) == {f"W2 {number}" for number in range(MOST)}, "the newest rows remain"


def test_flood_of_strangers_removes_no_notice_of_another_subject(engine: Engine) -> None:
    notebook = Notebook()
    for subject in Subject:
        notebook.note(replace(NOTICE, subject=subject, calling_ae_title=subject))
    notebook.write(engine)
    for number in range(MOST * 2):
        notebook.note(replace(NOTICE, subject=Subject.STRANGER, calling_ae_title="", address=f"2001:db8::{number:x}"))
    notebook.note(replace(NOTICE, calling_ae_title="LATE"))
    notebook.write(engine)
    assert set(counts(engine)) == {"association", "instance", "hl7", "LATE", ""}


def test_notice_of_a_stranger_continues_as_association_once_listed(engine: Engine) -> None:
    notebook = Notebook()
    for subject in (Subject.STRANGER, Subject.ASSOCIATION):
        notebook.note(replace(NOTICE, subject=subject))
        notebook.write(engine)
    with engine.connect() as c:
        assert c.execute(select(notices.c.subject, notices.c.times)).tuples().all() == [("association", 2)]


def test_notices_refused_by_a_locked_database_are_written_later(engine: Engine) -> None:
    impatient = create_engine(engine.url, connect_args={"timeout": 0})
    notebook = Notebook()
    notebook.note(NOTICE)
    with engine.begin() as holder:
        holder.execute(select(notices))
        with pytest.raises(OperationalError, match="locked"):
            notebook.write(impatient)
    notebook.note(NOTICE)
    notebook.note(replace(NOTICE, calling_ae_title="ROOM2"))
    notebook.write(engine)
    impatient.dispose()
    assert counts(engine) == {"ROOM1": 2, "ROOM2": 1}


def test_notices_of_many_threads_are_all_counted(engine: Engine) -> None:
    notebook = Notebook()
    threads = [threading.Thread(target=lambda: list(map(notebook.note, [NOTICE] * 500))) for _ in range(4)]
    for thread in threads:
        thread.start()
    notebook.write(engine)
    for thread in threads:
        thread.join()
    notebook.write(engine)
    assert counts(engine) == {"ROOM1": 2000}


def test_page_lists_refusals_with_their_reasons(engine: Engine, tmp_path: Path) -> None:
    notebook = Notebook()
    notebook.note(replace(NOTICE, calling_ae_title="<script>"))
    notebook.note(
        replace(NOTICE, subject=Subject.INSTANCE, code=ReasonCode.NOT_A_RADIOGRAPH, reason="CT Image Storage: no")
    )
    stranger = replace(NOTICE, subject=Subject.STRANGER, calling_ae_title="", address="198.51.100.9")
    notebook.note(stranger)
    notebook.write(engine)
    config = Configuration(state_dir=tmp_path)
    page = create_app(readers(engine), config, PACK, "1").test_client().get("/turned-away").text
    away, _, rest = page.partition("Not for this appliance")
    away, _, strangers = away.partition("Strangers")
    assert "198.51.100.9" in strangers
    assert "198.51.100.9" not in away
    assert "we are &#39;OSTEON&#39;: correct it there" in away
    assert "192.0.2.7" in away
    assert "<script>" not in page
    assert "CT Image Storage: no" in rest
