"""Content-addressed files: written aside, synced, renamed, and the folder synced, before anybody is told.

A file's name is the SHA-256 of its bytes, so that it names no patient and the same bytes are kept once.
"""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from pathlib import Path

from appliance.errors import Rejected, Transient

_FULL = (errno.ENOSPC, errno.EDQUOT)


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
        """Keep `content` durably; its SHA-256 as hex.

        Raises
        ------
        Transient
            ``disk_full`` or ``spool_failed``; nothing was kept.
        """
        digest = hashlib.sha256(content).hexdigest()
        target = self._target(digest)
        if target.exists():
            return digest
        try:
            self._write(content, target)
        except OSError as error:
            code = "disk_full" if error.errno in _FULL else "spool_failed"
            raise Transient(code, f"the spool cannot keep {len(content)} bytes: {error.strerror}") from error
        return digest

    def get(self, digest: str) -> bytes:
        """The content of that digest.

        Raises
        ------
        Rejected
            ``spool_missing`` or ``spool_damaged``.
        """
        try:
            content = self._target(digest).read_bytes()
        except OSError as error:
            raise Rejected("spool_missing", f"{digest[:12]} cannot be read from the spool: {error.strerror}") from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise Rejected("spool_damaged", f"{digest[:12]} in the spool is not what was written: check the disk")
        return content

    def _target(self, digest: str) -> Path:
        return self._root / digest[:2] / digest

    def _write(self, content: bytes, target: Path) -> None:
        if not target.parent.exists():
            target.parent.mkdir(exist_ok=True)
            _sync_folder(self._root)
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
        _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
