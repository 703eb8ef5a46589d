"""One set of roles on one state: each role holds a lock, which the kernel releases when its process ends.

Two roles of a kind on one spool would prune, lease and deliver side by side. Several boxes may share a PostgreSQL
database and a spool; each of them has its own lock then. An SQLite database belongs to one box.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.config import Configuration
from appliance.domain.reason import ReasonCode
from appliance.errors import Fault

FOLDER = "locks"
"""Folder of the lock files, in ``state_dir``; an empty file that stays there means nothing."""


@contextmanager
def role_lock(config: Configuration, role: str) -> Iterator[None]:
    """Hold the lock of `role` during a block.

    Raises
    ------
    Fault
        ``role_runs_already`` if another process holds it, ``spool_failed`` if its file cannot be made.

    References
    ----------
    flock(2): the lock belongs to the open file; children do not inherit the descriptor (PEP 446).
    """
    file = _lock_file(config, role)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_RDONLY | os.O_CREAT, 0o640)
    except OSError as error:
        reason = f"{file} cannot be made: {error.strerror}; check state_dir and its owner"
        raise Fault(ReasonCode.SPOOL_FAILED, reason) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Fault(
                ReasonCode.ROLE_RUNS_ALREADY,
                f"{role} runs already on {config.state_dir}: stop it first, or set another state_dir",
            ) from error
        yield
    finally:
        os.close(descriptor)


def holder_of(config: Configuration, role: str) -> int | None:
    """Return the process that holds the lock of `role`; None if it does not run. The lock itself is not touched.

    References
    ----------
    proc_locks(5): kind of the lock, process and ``major:minor:inode``.
    """
    try:
        inode = str(_lock_file(config, role).stat().st_ino)
        locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    except OSError:
        return None
    return next((int(lock[4]) for lock in locks if lock[1] == "FLOCK" and lock[5].split(":")[-1] == inode), None)


def _lock_file(config: Configuration, role: str) -> Path:
    is_one_box = config.database.startswith("sqlite")
    name = f"{role}.lock" if is_one_box else f"{role}@{socket.gethostname()}.lock"
    return config.state_dir / FOLDER / name
