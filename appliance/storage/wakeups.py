"""Wake-ups between roles: a commit that adds work wakes the role that waits for such work.

A role waits at a FIFO beside the SQLite database, and every process that commits work writes one byte into it. A byte
may be lost, since the role looks for work every `POLL_S` without one, too. A FIFO that a killed role left behind has
no reader: nothing is written then, and the next start uses it again. Machines that share a PostgreSQL database share no
FIFO, so a role looks there every `UNWOKEN_POLL_S`.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
from contextlib import suppress
from pathlib import Path
from sqlite3 import Connection as SQLiteConnection
from typing import Final, Self

from sqlalchemy import Connection, Engine, Table, event
from sqlalchemy.pool import ConnectionPoolEntry

from .tables import analyses, deliveries, destinations, holds, studies, trials

POLL_S: Final = 2.0
"""Pause of a role that found no work, and that a commit wakes: the longest delay of a wake-up that was lost."""

UNWOKEN_POLL_S: Final = 0.1
"""Pause of a role that no commit can wake."""

WAITING_ROLE: Final = {
    analyses: "analyse",
    studies: "analyse",
    trials: "analyse",
    deliveries: "deliver",
    destinations: "deliver",
    holds: "deliver",
}
"""The role that waits for rows of a table."""

_KEY: Final = "roles to wake"

log = logging.getLogger(__name__)


def wake_after_commit(c: Connection, table: Table) -> None:
    """Wake the role that waits for rows of `table` when the transaction of `c` has been committed."""
    c.info.setdefault(_KEY, set()).add(WAITING_ROLE[table])


def wake_roles_of(engine: Engine) -> None:
    """Let transactions of an SQLite database wake roles; called once for an engine."""
    database = engine.url.database
    if not database:
        return

    @event.listens_for(engine, "rollback")
    def forget(connection: Connection) -> None:
        connection.info.pop(_KEY, None)

    @event.listens_for(engine, "checkin")  # SQLAlchemy has no event after a commit; this one follows it at once
    def wake(_: SQLiteConnection | None, connection: ConnectionPoolEntry) -> None:
        for role in connection.info.pop(_KEY, ()):
            _write(_fifo(database, role))


class Bell:
    """Wakes the threads of one process that wait for work.

    Attributes
    ----------
    rings
        Number of wake-ups so far.
    poll_s
        Longest pause between two looks for work.
    """

    def __init__(self) -> None:
        self.rings = 0
        self.poll_s = POLL_S
        self._rung = threading.Condition()  # over a lock that a handler of signals may take again
        self._is_closed = False
        self._fifo: int | None = None
        self._thread: threading.Thread | None = None

    def listen(self, engine: Engine, role: str) -> Self:
        """Let commits of any process to the database of `engine` wake `role`, of which only one process runs."""
        is_file = engine.dialect.name == "sqlite" and engine.url.database
        self._fifo = _open_fifo(_fifo(engine.url.database, role)) if is_file and engine.url.database else None
        if self._fifo is None:
            self.poll_s = UNWOKEN_POLL_S
        else:
            self._thread = threading.Thread(target=self._listen, args=(self._fifo,), name="bell", daemon=True)
            self._thread.start()
        return self

    def _listen(self, fifo: int) -> None:
        while not self._is_closed:
            os.read(fifo, 65536)
            self.ring()

    def ring(self) -> None:
        """Wake every thread that waits."""
        with self._rung:
            self.rings += 1
            self._rung.notify_all()

    def wait(self, rings: int, longest_s: float) -> None:
        """Wait until there were more wake-ups than `rings`, at most `longest_s` or `poll_s`.

        Read `rings` before the look for work: work that is added during the look ends the wait at once.
        """
        with self._rung:
            self._rung.wait_for(lambda: self.rings != rings, max(0.0, min(longest_s, self.poll_s)))

    def close(self) -> None:
        """End the thread that listens, and every wait."""
        self._is_closed = True
        self.ring()
        if self._fifo is not None and self._thread is not None:
            os.write(self._fifo, b"\0")
            self._thread.join()
            os.close(self._fifo)
            self._fifo = None


def _fifo(database: str, role: str) -> Path:
    return Path(database).with_name(f"wake-{role}")


def _open_fifo(path: Path) -> int | None:
    """Return a descriptor of the FIFO at `path`, which is made if need be; None where no FIFO can be made."""
    try:
        if path.exists() and not stat.S_ISFIFO(path.lstat().st_mode):  # a backup may bring it back as a plain file
            path.unlink()
        with suppress(FileExistsError):
            os.mkfifo(path, 0o600)
        return os.open(path, os.O_RDWR)  # open for writing, too: it never ends
    except OSError as error:
        log.warning("no commit can wake this role, it polls instead: %s: %s", path, error.strerror)
        return None


def _write(path: Path) -> None:
    """Write one byte; without a reader there is nobody to wake, and a full FIFO wakes its reader anyway."""
    with suppress(OSError):
        fifo = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        try:
            os.write(fifo, b"\0")
        finally:
            os.close(fifo)
