"""The migrations: from an empty file to exactly the tables of the model, in one step or several processes at once."""

import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from appliance.errors import Fault
from appliance.storage import database
from appliance.storage.database import open_database
from appliance.storage.tables import REVISION, metadata


def test_empty_database_is_upgraded_to_the_tables_of_the_model(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'osteon.db'}")
    try:
        with engine.connect() as c:
            differences = compare_metadata(MigrationContext.configure(c, opts={"compare_type": True}), metadata)
        assert differences == []
        inspector = inspect(engine)
        assert set(inspector.get_table_names()) == {*metadata.tables, "alembic_version"}
        for table in metadata.sorted_tables:
            columns = {column["name"]: column["nullable"] for column in inspector.get_columns(table.name)}
            assert columns == {column.name: column.nullable for column in table.c}
            assert {index["name"] for index in inspector.get_indexes(table.name)} == {i.name for i in table.indexes}
    finally:
        engine.dispose()


def test_roles_that_start_together_upgrade_the_database_once(tmp_path: Path) -> None:
    failures: list[Exception] = []

    def start_role() -> None:
        try:
            open_database(f"sqlite:///{tmp_path / 'osteon.db'}").dispose()
        except Exception as error:  # noqa: BLE001  any failure of a thread fails the test
            failures.append(error)

    roles = [threading.Thread(target=start_role) for _ in range(4)]
    for role in roles:
        role.start()
    for role in roles:
        role.join()
    assert failures == []


@pytest.fixture
def former(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database of the revision before this one, with a row; that revision makes one table."""
    scripts = tmp_path / "migrations"
    shutil.copytree(database.MIGRATIONS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / "0000_former.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\nrevision = '0000'\ndown_revision = None\n"
        "def upgrade():\n    op.create_table('former', sa.Column('value', sa.Integer()))\n"
    )
    schema = scripts / "versions" / "0001_schema.py"
    schema.write_text(schema.read_text().replace("down_revision = None", 'down_revision = "0000"'))
    monkeypatch.setattr(database, "MIGRATIONS", scripts)
    file = tmp_path / "osteon.db"
    with closing(sqlite3.connect(file)) as c:
        c.executescript(
            "CREATE TABLE former (value INTEGER); INSERT INTO former VALUES (7);"
            "CREATE TABLE alembic_version (version_num TEXT); INSERT INTO alembic_version VALUES ('0000')"
        )
    return file


def test_database_is_copied_before_it_is_migrated(former: Path) -> None:
    for _ in range(2):  # the second opening finds the newest revision and copies nothing
        open_database(f"sqlite:///{former}").dispose()
    copies = [file.name for file in former.parent.glob("osteon.db.*")]
    assert copies == ["osteon.db.before-0000"]
    with closing(sqlite3.connect(former.parent / copies[0])) as c:
        assert c.execute("SELECT value FROM former").fetchall() == [(7,)]
        assert c.execute("SELECT version_num FROM alembic_version").fetchall() == [("0000",)]
        assert c.execute("SELECT name FROM sqlite_master WHERE name = 'instances'").fetchall() == []


def test_database_that_cannot_be_copied_is_not_migrated(former: Path) -> None:
    (former.parent / "osteon.db.before-0000").mkdir()
    (former.parent / "osteon.db.before-0000" / "in the way").touch()
    with pytest.raises(Fault, match="is not migrated, since it cannot be copied"):
        open_database(f"sqlite:///{former}")
    with closing(sqlite3.connect(former)) as c:
        assert c.execute("SELECT version_num FROM alembic_version").fetchall() == [("0000",)]


def test_database_of_a_newer_version_is_neither_copied_nor_changed(tmp_path: Path) -> None:
    open_database(f"sqlite:///{tmp_path / 'osteon.db'}").dispose()
    with closing(sqlite3.connect(tmp_path / "osteon.db")) as c:
        c.execute("UPDATE alembic_version SET version_num = '9999'")
        c.commit()
    with pytest.raises(Fault, match="newer"):
        open_database(f"sqlite:///{tmp_path / 'osteon.db'}")
    assert list(tmp_path.glob("osteon.db.*")) == []
    with closing(sqlite3.connect(tmp_path / "osteon.db")) as c:
        assert c.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]


def test_revision_of_the_tables_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(database.MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == REVISION
