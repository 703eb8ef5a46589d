"""Fixtures that several files of these tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from appliance.storage.database import open_database
from appliance.storage.spool import FileSpool
from tests.support.validated import fill_validation, sample


@pytest.fixture(autouse=True)
def _clock_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the page see a time service, which machines for tests lack."""
    monkeypatch.setattr("appliance.status.facts.is_kept", lambda: True)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An empty database in a SQLite file."""
    engine = open_database(f"sqlite:///{tmp_path / 'osteon.db'}")
    yield engine
    engine.dispose()


@pytest.fixture
def spool(tmp_path: Path) -> FileSpool:
    """An empty spool."""
    return FileSpool(tmp_path / "spool")


@pytest.fixture(scope="session")
def validated_box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state folder of a box whose validation has ended: to copy, not to change."""
    folder = tmp_path_factory.mktemp("validated")
    engine = open_database(f"sqlite:///{folder / 'osteon.db'}")
    fill_validation(engine, FileSpool(folder / "spool"), sample())
    engine.dispose()
    return folder
