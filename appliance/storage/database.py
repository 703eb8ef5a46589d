"""Opens the database: SQLite in WAL with every commit on disk, migrated to the newest schema."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, Table, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from appliance.domain.reason import ReasonCode
from appliance.errors import Fault

BUSY_TIMEOUT_S = 30


def open_database(url: str) -> Engine:
    """Open `url` and bring its schema up to date; several roles may do so at the same time.

    Raises
    ------
    Fault
        If the database cannot be opened or migrated.
    """
    engine = unopened_database(url)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    try:
        if engine.dialect.name == "sqlite" and engine.url.database:
            Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except OSError as error:
        reason = f"the folder of the database cannot be made: {error.filename}: {error.strerror}"
        raise Fault(ReasonCode.DATABASE_UNUSABLE, reason) from error
    except OperationalError as error:
        raise Fault(ReasonCode.DATABASE_UNUSABLE, f"the database cannot be opened: {error.orig}") from error
    return engine


def unopened_database(url: str) -> Engine:
    """Return the database of `url` without opening it; raises as `open_database` for a URL that none can be made of."""
    arguments = {"timeout": BUSY_TIMEOUT_S} if url.startswith("sqlite") else {}
    try:
        # every association of the receiver may commit at the same time
        engine = create_engine(url, connect_args=arguments, max_overflow=-1)
    except (ArgumentError, ModuleNotFoundError, ValueError) as error:  # of the URL, or of a driver that is missing
        reason = f"database_url cannot be used ({type(error).__name__}): is its driver, such as psycopg, installed?"
        raise Fault(ReasonCode.DATABASE_UNUSABLE, reason) from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _sqlite_settings)
        event.listen(engine, "begin", _begin_immediate)
    return engine


def without_password(url: str) -> str:
    """Return `url` with asterisks instead of its password."""
    return make_url(url).render_as_string(hide_password=True)


def readers(engine: Engine) -> Engine:
    """Return the same database for reading only: without the write lock, so that the page never holds up a role."""
    return engine.execution_options(reads_only=True)


def upsert(
    c: Connection, table: Table, row: Mapping[str, Any], *, key: Sequence[str], on_conflict: Mapping[str, Any]
) -> None:
    """Insert `row`; where a row of the same `key` exists, write `on_conflict` to that row instead."""
    dialect = sqlite if c.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(table).values(**row)
    c.execute(statement.on_conflict_do_update(index_elements=list(key), set_=dict(on_conflict)))


def _sqlite_settings(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # SQLAlchemy's "begin" event opens the transactions, not the driver
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: Connection) -> None:
    """Take the write lock at once: a read that turns into a write could not wait for it (SQLite, WAL, section 3)."""
    mode = "DEFERRED" if connection.get_execution_options().get("reads_only") else "IMMEDIATE"
    connection.exec_driver_sql(f"BEGIN {mode}")
