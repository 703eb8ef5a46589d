"""The migrations: from an empty file to exactly the tables of the model, in one step or several processes at once."""

import threading
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from appliance.storage.database import open_database
from appliance.storage.tables import metadata


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
