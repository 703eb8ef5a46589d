"""Fixtures that several files of these tests share."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from appliance.storage.database import open_database
from appliance.storage.spool import FileSpool
from tests.support.postgresql import new_database, postgresql_server
from tests.support.validated import fill_validation, sample

_NUMBERS = itertools.count(1)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses `engine` once with each back end of ``--databases``, or of the module's `DATABASES`."""
    chosen = metafunc.config.getoption("--databases").split(",")
    chosen = getattr(metafunc.module, "DATABASES", chosen) if chosen == ["sqlite"] else chosen
    if "database_url" in metafunc.fixturenames and chosen != ["sqlite"]:
        metafunc.parametrize("database_url", chosen, indirect=True)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of a PostgreSQL server."""
    with postgresql_server() as url:
        yield url


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database: an SQLite file, or a database of a PostgreSQL server."""
    if getattr(request, "param", "sqlite") == "postgresql":
        return new_database(request.getfixturevalue("postgresql"), f"osteon_{next(_NUMBERS)}")
    return f"sqlite:///{tmp_path / 'osteon.db'}"


@pytest.fixture(autouse=True)
def _clock_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the page see a time service, which machines for tests lack."""
    monkeypatch.setattr("appliance.status.facts.is_kept", lambda: True)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An empty database of each back end."""
    engine = open_database(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Iterator[Engine]:
    """An empty database in an SQLite file, for what only SQLite has."""
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
