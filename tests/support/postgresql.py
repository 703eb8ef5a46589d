"""A PostgreSQL server of the tests' own, in a folder that goes with it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from tests.support.peers import missing
from tests.support.ports import free_ports
from tests.support.waiting import wait_until

SETTINGS = {"fsync": "off", "listen_addresses": "127.0.0.1", "max_connections": "200"}
"""Settings of the server; it holds no data worth a sync."""


def programs() -> Path:
    """Return the folder of PostgreSQL's programs; skip or fail the test if it is not installed."""
    found = [Path(on_path).resolve()] if (on_path := shutil.which("initdb")) else []
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else missing("PostgreSQL is not installed; run tests/peers/install.sh")


@contextmanager
def postgresql_server() -> Iterator[str]:
    """Run PostgreSQL on 127.0.0.1; yield the URL of its database ``postgres``.

    PostgreSQL refuses to run as root; another user runs it then.
    """
    bin_ = programs()
    with tempfile.TemporaryDirectory(prefix="osteon-postgresql-") as name:
        folder, port = Path(name), free_ports(1)[0]
        user = None if os.geteuid() else _unprivileged()
        if user:
            shutil.chown(folder, user)
        initdb = [f"{bin_}/initdb", f"--pgdata={folder}/data", "--username=osteon", "--auth=trust", "--no-sync"]
        subprocess.run(
            [*initdb, "--encoding=UTF8", "--locale=C.UTF-8"], user=user, cwd=folder, check=True, capture_output=True
        )
        command = [f"{bin_}/postgres", "-D", f"{folder}/data", "-p", str(port), "-k", str(folder)]
        command += [part for key, value in SETTINGS.items() for part in ("-c", f"{key}={value}")]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(command, user=user, cwd=folder, stdout=log, stderr=log)
        try:
            ready = [f"{bin_}/pg_isready", "-h", "127.0.0.1", "-p", str(port)]
            wait_until(
                lambda: subprocess.run(ready, check=False, capture_output=True).returncode == 0, "PostgreSQL answers"
            )
            yield f"postgresql+pg8000://osteon@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGINT)  # fast shutdown: a command in our process leaves connections open
            server.wait(60)


def new_database(server: str, name: str) -> str:
    """Make an empty database on the server of that URL; return its URL."""
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as c:
        c.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return make_url(server).set(database=name).render_as_string(hide_password=False)


def _unprivileged() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
