"""Fixtures that several files of these tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from appliance.storage.database import open_database
from appliance.storage.spool import FileSpool
from tests.support.phases import set_phases


@pytest.fixture(autouse=True)
def _clock_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the page see a time service, which machines for tests lack."""
    monkeypatch.setattr("appliance.status.facts.is_kept", lambda: True)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A database in a SQLite file, empty but for the phases: every site is live."""
    engine = open_database(f"sqlite:///{tmp_path / 'osteon.db'}")
    set_phases(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def spool(tmp_path: Path) -> FileSpool:
    """An empty spool."""
    return FileSpool(tmp_path / "spool")
