"""Files that appear whole or not at all, also after a power cut."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(file: Path, content: bytes, *, private_to: int | None = None) -> None:
    """Write `content` to `file` in place of an older one; an error of the disk (OSError) leaves the older one.

    Parameters
    ----------
    private_to
        Id of the group that alone may read the file beside its owner, whatever the umask; by default the umask decides.
    """
    unfinished = file.with_suffix(f".{os.getpid()}")
    try:
        mode = 0o666 if private_to is None else 0o640
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as out:
            if private_to is not None:
                os.fchmod(out.fileno(), mode)
                os.fchown(out.fileno(), -1, private_to)
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
