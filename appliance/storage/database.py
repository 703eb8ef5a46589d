"""Opens the database: SQLite in WAL with every commit on disk, migrated to the newest schema."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, inspect, make_url, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from appliance.domain.reason import ReasonCode
from appliance.errors import Fault

from .postgresql import message, tell_errors_apart
from .tables import REVISION as REVISION
from .tables import metadata
from .wakeups import wake_roles_of

BUSY_TIMEOUT_S = 30

NEWER = "the database was made by another version of Osteon, probably a newer one: install that version again"

DEFECTS = {
    sqlite3.SQLITE_CORRUPT: "it is damaged: see docs/operate.md, A damaged database",
    sqlite3.SQLITE_NOTADB: "it is damaged: see docs/operate.md, A damaged database",
    sqlite3.SQLITE_CANTOPEN: "its file cannot be opened: check state_dir, its owner and its disk",
    sqlite3.SQLITE_READONLY: "its file may not be written: check the owner of state_dir",
    sqlite3.SQLITE_PERM: "its file may not be written: check the owner of state_dir",
    sqlite3.SQLITE_FULL: "its disk is full: make room",
    sqlite3.SQLITE_IOERR: "its disk fails: see the log of the system",
    sqlite3.SQLITE_BUSY: "another process holds it: it is tried again",
}
"""Primary result codes of SQLite (https://www.sqlite.org/rescode.html) in words."""


def open_database(url: str) -> Engine:
    """Open `url` and bring its schema up to date; several roles may do so at the same time.

    Raises
    ------
    Fault
        If the database cannot be opened or migrated.
    """
    engine = unopened_database(url)
    try:
        if engine.dialect.name == "sqlite" and engine.url.database:
            Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
        with engine.begin() as connection:
            if (found := _revision(connection)) != REVISION:
                _migrate(connection, found)
            check_schema(connection)
    except OSError as error:
        reason = f"the folder of the database cannot be made: {error.filename}: {error.strerror}"
        raise Fault(ReasonCode.DATABASE_UNUSABLE, reason) from error
    except SQLAlchemyError as error:
        raise Fault(ReasonCode.DATABASE_UNUSABLE, f"the database cannot be opened: {defect(error)}") from error
    return engine


MIGRATIONS = Path(__file__).parent / "migrations"
"""Folder of Alembic's scripts."""


def _migrate(connection: Connection, found: str | None) -> None:
    """Bring the schema up to date from the revision `found`, after a copy of a database that is not new.

    Alembic takes as long to load as all else of a command, so it is loaded only here.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    try:
        if found is not None:
            ScriptDirectory.from_config(config).get_revision(found)  # raises for a revision that is none of ours
            _copy_aside(connection, found)
        command.upgrade(config, "head")
    except CommandError as error:
        raise Fault(ReasonCode.DATABASE_UNUSABLE, NEWER) from error


def _copy_aside(connection: Connection, revision: str) -> None:
    """Copy an SQLite database to a file beside it, named by its revision: the way back to the former version."""
    path = connection.engine.url.database
    if connection.dialect.name != "sqlite" or not path:
        return
    copy = Path(f"{path}.before-{revision}")
    unfinished = Path(f"{copy}.part")
    try:
        unfinished.unlink(missing_ok=True)
        # another connection reads what was committed, while ours holds the write lock
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(unfinished)) as target:
            source.backup(target)
        unfinished.rename(copy)
    except (OSError, sqlite3.Error) as error:
        reason = f"the database is not migrated, since it cannot be copied to {copy} first: {error}; make room"
        raise Fault(ReasonCode.DATABASE_UNUSABLE, reason) from error


def _revision(connection: Connection) -> str | None:
    """Return the revision of the schema; None for an empty database."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def unopened_database(url: str) -> Engine:
    """Return the database of `url` without opening it; raises as `open_database` for a URL that none can be made of."""
    arguments = {"timeout": BUSY_TIMEOUT_S} if url.startswith("sqlite") else {}
    try:
        # every association of the receiver may commit at the same time
        engine = create_engine(url, connect_args=arguments, max_overflow=-1)
    except (ArgumentError, ValueError) as error:
        raise Fault(ReasonCode.DATABASE_UNUSABLE, f"database_url cannot be used ({type(error).__name__})") from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _sqlite_settings)
        event.listen(engine, "begin", _begin_immediate)
        wake_roles_of(engine)
    else:
        tell_errors_apart(engine)
    return engine


def existing_database(url: str) -> Engine | None:
    """Return the database of `url` without opening it; None for an SQLite file that opening would make.

    Raises
    ------
    Fault
        ``database_unusable`` as `unopened_database`.
    """
    engine = unopened_database(url)
    file = engine.url.database
    return None if engine.dialect.name == "sqlite" and not (file and Path(file).exists()) else engine


def without_password(url: str) -> str:
    """Return `url` with asterisks instead of its password."""
    return make_url(url).render_as_string(hide_password=True)


def defect(error: SQLAlchemyError) -> str:
    """Return the failure of a database in words; types stand for messages of PostgreSQL, which may quote values."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF
        if code in DEFECTS:
            return DEFECTS[code]
        if str(cause).startswith("no such "):
            return "its tables are missing or of another version: restart the roles, which make or migrate them"
    if isinstance(cause, Exception) and isinstance(error, OperationalError):
        return (message(cause).splitlines() or [""])[0]  # of the connection: it quotes no row
    return type(cause or error).__name__


def check_schema(connection: Connection) -> None:
    """Raise `Fault` (``database_unusable``) unless the schema is that of this version, and every table is there."""
    missing = metadata.tables.keys() - set(inspect(connection).get_table_names())
    if missing:
        names = ", ".join(sorted(missing))
        reason = f"the database lacks the tables {names}: see docs/operate.md, A damaged database"
        raise Fault(ReasonCode.DATABASE_UNUSABLE, reason)
    if _revision(connection) != REVISION:
        raise Fault(ReasonCode.DATABASE_UNUSABLE, NEWER)


def database_file(engine: Engine) -> tuple[int, int] | None:
    """Return what identifies the file of an SQLite database; None if it is absent or empty, or for PostgreSQL.

    A role compares it to notice that the file was removed or replaced: SQLite would go on to write into the old one.
    """
    if engine.dialect.name != "sqlite" or not engine.url.database:
        return None
    try:
        found = Path(engine.url.database).stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found.st_size else None


def readers(engine: Engine) -> Engine:
    """Return the same database for reading only: a write fails, and no reader holds up a role by the write lock."""
    return engine.execution_options(reads_only=True, postgresql_readonly=True)


def hasty(engine: Engine, wait_s: float) -> Engine:
    """Return the same database for transactions that wait for no lock of SQLite longer than `wait_s`."""
    return engine.execution_options(wait_s=wait_s)


def upsert(
    c: Connection, table: Table, row: Mapping[str, Any], *, key: Sequence[str], on_conflict: Mapping[str, Any]
) -> None:
    """Insert `row`; where a row of the same `key` exists, write `on_conflict` to that row instead."""
    if c.dialect.name == "sqlite":
        statement: Any = sqlite.insert(table).values(**row)
    else:
        from sqlalchemy.dialects import postgresql

        statement = postgresql.insert(table).values(**row)
    c.execute(statement.on_conflict_do_update(index_elements=list(key), set_=dict(on_conflict)))


def _sqlite_settings(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # SQLAlchemy's "begin" event opens the transactions, not the driver
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: Connection) -> None:
    """Take the write lock at once: a read that turns into a write could not wait for it (SQLite, WAL, section 3)."""
    options = connection.get_execution_options()
    reads_only = bool(options.get("reads_only"))
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(1000 * options.get('wait_s', BUSY_TIMEOUT_S))}")
    connection.exec_driver_sql(f"PRAGMA query_only = {int(reads_only)}")
    connection.exec_driver_sql(f"BEGIN {'DEFERRED' if reads_only else 'IMMEDIATE'}")
