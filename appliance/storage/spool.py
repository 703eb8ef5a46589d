"""Content-addressed files: written aside, synced, renamed, and the folder synced, before anybody is told.

A file's name is the SHA-256 of its bytes, so that it names no patient and the same bytes are kept once.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
import time
from pathlib import Path

from appliance.errors import Rejected, Transient

LEFT_S = 600.0
"""No write of one instance takes this long."""

_FULL = (errno.ENOSPC, errno.EDQUOT)


class SpoolDamaged(Rejected):
    """What was kept is not there any more: for a person, since no retry brings it back."""


class FileSpool:
    """The `Spool` port on a local or shared file system.

    Parameters
    ----------
    root
        Folder that only the appliance writes to; made if absent.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)

    def put(self, content: bytes) -> str:
        """Keep `content` durably; its SHA-256 as hex. A damaged copy of it is replaced.

        Raises
        ------
        Transient
            ``disk_full`` or ``spool_failed``; whatever is there is not to be relied on.
        """
        digest = hashlib.sha256(content).hexdigest()
        try:
            if not self._holds(digest):
                self._write(content, self._target(digest))
            # also of a file that was there: who wrote it may have died before this
            _sync_folder(self._target(digest).parent)
            _sync_folder(self._root)
        except OSError as error:
            code = "disk_full" if error.errno in _FULL else "spool_failed"
            raise Transient(code, f"the spool cannot keep {len(content)} bytes: {error.strerror}") from error
        return digest

    def get(self, digest: str) -> bytes:
        """The content of that digest.

        Raises
        ------
        SpoolDamaged
            It is not there, or not what was written.
        Transient
            ``spool_unreadable``.
        """
        try:
            content = self._target(digest).read_bytes()
        except FileNotFoundError as error:
            raise SpoolDamaged("spool_missing", f"{digest[:12]} is not in the spool: send the image again") from error
        except OSError as error:
            raise Transient("spool_unreadable", f"the spool cannot be read: {error.strerror}") from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise SpoolDamaged("spool_damaged", f"{digest[:12]} in the spool is not what was written: check the disk")
        return content

    def sweep(self) -> None:
        """Remove what killed writers left half written; what is younger than `LEFT_S` somebody may still write."""
        for left in self._incoming.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if time.time() - left.stat().st_mtime > LEFT_S:
                    left.unlink()

    def _holds(self, digest: str) -> bool:
        try:
            return hashlib.sha256(self._target(digest).read_bytes()).hexdigest() == digest
        except FileNotFoundError:
            return False

    def _target(self, digest: str) -> Path:
        return self._root / digest[:2] / digest

    def _write(self, content: bytes, target: Path) -> None:
        target.parent.mkdir(exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=self._incoming)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.rename(name, target)
        except OSError:
            os.unlink(name)
            raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
