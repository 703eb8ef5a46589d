"""Opens the database: SQLite in WAL with every commit on disk, migrated to the newest schema."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from appliance.domain.reason import ReasonCode
from appliance.errors import Fault

BUSY_TIMEOUT_S = 30


def open_database(url: str) -> Engine:
    """Engine on `url` with the newest schema; several roles may call it at the same time.

    Raises
    ------
    Fault
        If the database cannot be opened or migrated.
    """
    arguments = {"timeout": BUSY_TIMEOUT_S} if url.startswith("sqlite") else {}
    # every association of the receiver may commit at the same time
    engine = create_engine(url, connect_args=arguments, max_overflow=-1)
    if engine.dialect.name == "sqlite":
        if path := make_url(url).database:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        event.listen(engine, "connect", _sqlite_settings)
        event.listen(engine, "begin", _begin_immediate)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except OperationalError as error:
        raise Fault(ReasonCode.DATABASE_UNUSABLE, f"the database cannot be opened: {error.orig}") from error
    return engine


def readers(engine: Engine) -> Engine:
    """The same database for reading only: takes no write lock, so that the page never holds up a role."""
    return engine.execution_options(reads_only=True)


def _sqlite_settings(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # SQLAlchemy's "begin" event opens the transactions, not the driver
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: Connection) -> None:
    """Take the write lock at once: a read that turns into a write could not wait for it (SQLite, WAL, section 3)."""
    mode = "DEFERRED" if connection.get_execution_options().get("reads_only") else "IMMEDIATE"
    connection.exec_driver_sql(f"BEGIN {mode}")
