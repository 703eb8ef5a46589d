"""What is turned away is counted, shown and bounded."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, func, select
from sqlalchemy.exc import OperationalError

from appliance.config import Configuration
from appliance.domain.notice import Notice, Subject
from appliance.status.app import create_app
from appliance.storage.database import open_database, readers
from appliance.storage.notices import MOST, Notebook
from appliance.storage.tables import notices
from tests.integration.test_status import PACK

NOTICE = Notice(
    subject=Subject.ASSOCIATION,
    code="called_ae_title",
    reason="it called 'X' and we are 'OSTEON': correct it there",
    calling_ae_title="ROOM1",
    called_ae_title="X",
    address="192.0.2.7",
)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{tmp_path / 'osteon.db'}")
    yield engine
    engine.dispose()


def times(engine: Engine) -> dict[str, int]:
    with engine.connect() as c:
        return dict(c.execute(select(notices.c.calling_ae_title, notices.c.times)).tuples().all())


def test_the_same_notice_counts_up(engine: Engine) -> None:
    notebook = Notebook()
    for _ in range(3):
        notebook.note(NOTICE)
    notebook.write(engine)
    notebook.note(NOTICE)
    notebook.note(replace(NOTICE, calling_ae_title="ROOM2"))
    notebook.write(engine)
    notebook.write(engine)
    assert times(engine) == {"ROOM1": 4, "ROOM2": 1}


def test_a_flood_does_not_grow_the_table(engine: Engine) -> None:
    notebook = Notebook()
    for wave in range(3):
        for number in range(MOST * 2):
            notebook.note(replace(NOTICE, calling_ae_title=f"W{wave} {number}"))
        notebook.write(engine)
    with engine.connect() as c:
        assert c.execute(select(func.count()).select_from(notices)).scalar() == MOST
    assert set(times(engine)) == {f"W2 {number}" for number in range(MOST)}, "the newest stay"


def test_a_flood_of_strangers_pushes_out_no_other_notice(engine: Engine) -> None:
    notebook = Notebook()
    for subject in Subject:
        notebook.note(replace(NOTICE, subject=subject, calling_ae_title=subject))
    notebook.write(engine)
    for number in range(MOST * 2):
        notebook.note(replace(NOTICE, subject=Subject.STRANGER, calling_ae_title="", address=f"2001:db8::{number:x}"))
    notebook.note(replace(NOTICE, calling_ae_title="LATE"))
    notebook.write(engine)
    assert set(times(engine)) == {"association", "instance", "hl7", "LATE", ""}


def test_who_was_a_stranger_and_is_listed_counts_on_as_a_peer(engine: Engine) -> None:
    notebook = Notebook()
    for subject in (Subject.STRANGER, Subject.ASSOCIATION):
        notebook.note(replace(NOTICE, subject=subject))
        notebook.write(engine)
    with engine.connect() as c:
        assert c.execute(select(notices.c.subject, notices.c.times)).tuples().all() == [("association", 2)]


def test_what_a_locked_database_does_not_take_is_written_later(engine: Engine) -> None:
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
    assert times(engine) == {"ROOM1": 2, "ROOM2": 1}


def test_notes_of_many_threads_are_all_counted(engine: Engine) -> None:
    notebook = Notebook()
    threads = [threading.Thread(target=lambda: [notebook.note(NOTICE) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    notebook.write(engine)
    for thread in threads:
        thread.join()
    notebook.write(engine)
    assert times(engine) == {"ROOM1": 2000}


def test_the_page_says_who_was_turned_away_and_why(engine: Engine, tmp_path: Path) -> None:
    notebook = Notebook()
    notebook.note(replace(NOTICE, calling_ae_title="<script>"))
    notebook.note(replace(NOTICE, subject=Subject.INSTANCE, code="not_a_radiograph", reason="CT Image Storage: no"))
    stranger = replace(NOTICE, subject=Subject.STRANGER, calling_ae_title="", address="198.51.100.9")
    notebook.note(stranger)
    notebook.write(engine)
    config = Configuration(state_dir=tmp_path)
    page = create_app(readers(engine), config, PACK, "1").test_client().get("/").text
    away, _, rest = page.partition("Not for us")
    away, _, strangers = away.partition("Strangers")
    assert "198.51.100.9" in strangers
    assert "198.51.100.9" not in away
    assert "we are &#39;OSTEON&#39;: correct it there" in away
    assert "192.0.2.7" in away
    assert "<script>" not in page
    assert "CT Image Storage: no" in rest
