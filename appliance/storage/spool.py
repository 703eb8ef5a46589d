"""Content-addressed files: written aside, synced and renamed, and the folder synced, before a writer returns.

The name of a file is the SHA-256 of its bytes: it names no patient, and the same bytes are kept once.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from appliance.domain.reason import ReasonCode
from appliance.errors import Rejected, Transient

INCOMING = "incoming"
"""Folder of files being written, on the disk of the spool, so that they are renamed and never copied."""

FOLDERS = 256
"""Number of folders, one for each value of the first two digits of a digest."""

LEFT_S = 3600.0
"""A file that was not written for so long has lost its writer: an idle association is aborted (`receive.idle_s`)."""

START_BYTES = 1 << 21
"""Write-back starts after so many bytes: that takes 6 ms of 10 off the fsync of 10 MB."""

_libc = ctypes.CDLL(None)
_libc.sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
_SYNC_FILE_RANGE_WRITE = 2
"""sync_file_range(2): a hint only; fsync reports errors."""

_FULL = (errno.ENOSPC, errno.EDQUOT)


class SpoolDamaged(Rejected):
    """A kept file is missing or damaged: for a person, since no retry brings it back."""


class Incoming:
    """A file of the spool that is being written: hashed on the way, without a name until it is kept.

    Every method raises `Transient` (``disk_full`` or ``spool_failed``) when the disk fails; the file is then unusable.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._hash = hashlib.sha256()
        with _disk():
            self._descriptor, self._name = tempfile.mkstemp(dir=root / INCOMING)
        self._written_bytes = self._started_bytes = 0

    def write(self, content: bytes | bytearray | memoryview) -> None:
        """Append `content`; the caller may reuse the buffer afterwards."""
        self._hash.update(content)
        rest = memoryview(content)
        with _disk():
            while rest:
                count = os.write(self._descriptor, rest)
                rest = rest[count:]
                self._written_bytes += count
        if self._written_bytes - self._started_bytes >= START_BYTES:
            # the disk writes while the next fragments arrive, and fsync waits for less
            _libc.sync_file_range(self._descriptor, self._started_bytes, 0, _SYNC_FILE_RANGE_WRITE)
            self._started_bytes = self._written_bytes

    def keep(self) -> str:
        """Make the file durable under its SHA-256, and return that as hex; a damaged copy of it is replaced.

        A file that was there already becomes as young as a new one, since its new writer has not written its row yet.
        """
        digest = self._hash.hexdigest()
        target = _target(self._root, digest)
        try:
            with _disk():
                if _renew_if_whole(target, digest):
                    self.discard()
                else:
                    os.fsync(self._descriptor)
                    os.rename(self._name, target)
                    self._close()
                # also for a file that was there: its writer may have died before this
                _sync_folder(target.parent)
        finally:
            self.discard()
        return digest

    def discard(self) -> None:
        """Remove the file, unless it was kept."""
        if self._descriptor >= 0:
            self._close()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._name)

    def _close(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1


class FileSpool:
    """The spool: files on a local or shared file system, named by their SHA-256.

    Parameters
    ----------
    root
        Folder that only the appliance writes to; made if absent.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        (root / INCOMING).mkdir(parents=True, exist_ok=True)
        for number in range(FOLDERS):
            (root / f"{number:02x}").mkdir(exist_ok=True)
        _sync_folder(root)  # once, so that no file waits for it

    def incoming(self) -> Incoming:
        """Open a new file, to be written and then kept or discarded."""
        return Incoming(self._root)

    def put(self, content: bytes) -> str:
        """Keep `content` durably; return its SHA-256 as hex."""
        incoming = self.incoming()
        try:
            incoming.write(content)
            return incoming.keep()
        finally:
            incoming.discard()

    def get(self, digest: str) -> bytes:
        """Return the content of that digest.

        Raises
        ------
        SpoolDamaged
            The file is missing, or has other bytes than were written.
        Transient
            ``spool_unreadable``.
        """
        try:
            content = _target(self._root, digest).read_bytes()
        except FileNotFoundError as error:
            raise SpoolDamaged(
                ReasonCode.SPOOL_MISSING, f"{digest[:12]} is not in the spool: send the image again"
            ) from error
        except OSError as error:
            raise Transient(ReasonCode.SPOOL_UNREADABLE, f"the spool cannot be read: {error.strerror}") from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise SpoolDamaged(
                ReasonCode.SPOOL_DAMAGED, f"{digest[:12]} in the spool is not what was written: check the disk"
            )
        return content

    def has(self, digest: str) -> bool:
        """Return whether there is a file of that digest."""
        return _target(self._root, digest).exists()

    def remove(self, digest: str) -> None:
        """Remove the file of that digest, if there is one."""
        with _disk(), contextlib.suppress(FileNotFoundError):
            _target(self._root, digest).unlink()

    def free_bytes(self) -> int:
        """Return the bytes on its disk that are free for users other than root."""
        disk = os.statvfs(self._root)
        return disk.f_bavail * disk.f_frsize

    def sweep(self, left_s: float = LEFT_S) -> None:
        """Remove files that killed writers left half written; one younger than `left_s` may still have its writer."""
        for left in (self._root / INCOMING).iterdir():
            with contextlib.suppress(FileNotFoundError):
                if _age_s(left) > left_s:
                    left.unlink()

    def written(self, folder: int, least_s: float, most_s: float) -> set[str]:
        """Return the digests in one of the `FOLDERS` that were last kept between `least_s` and `most_s` seconds ago."""
        found = set()
        with _disk():
            for file in (self._root / f"{folder:02x}").iterdir():
                with contextlib.suppress(FileNotFoundError):
                    if least_s < _age_s(file) < most_s:
                        found.add(file.name)
        return found

    def file(self, digest: str) -> tuple[Path, int, datetime]:
        """Return the path of a file, its size, and the time at which it was last kept; raise OSError without it."""
        path = _target(self._root, digest)
        status = path.stat()
        return path, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC)

    def remove_old(self, digest: str, least_s: float) -> None:
        """Remove the file of that digest, unless it was kept again less than `least_s` seconds ago."""
        with _disk(), contextlib.suppress(FileNotFoundError):
            target = _target(self._root, digest)
            if _age_s(target) > least_s:
                target.unlink()


def _target(root: Path, digest: str) -> Path:
    return root / digest[:2] / digest


def _renew_if_whole(target: Path, digest: str) -> bool:
    """Give an existing file the present time; return whether it was there and is whole."""
    try:
        with target.open("rb") as file:
            is_whole = hashlib.file_digest(file, "sha256").hexdigest() == digest
        os.utime(target)
    except FileNotFoundError:
        return False
    return is_whole


def _age_s(file: Path) -> float:
    return time.time() - file.stat().st_mtime


@contextlib.contextmanager
def _disk() -> Iterator[None]:
    """Turn errors of the disk into `Transient`."""
    try:
        yield
    except OSError as error:
        code = ReasonCode.DISK_FULL if error.errno in _FULL else ReasonCode.SPOOL_FAILED
        raise Transient(code, f"the spool cannot keep the file: {error.strerror}") from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
