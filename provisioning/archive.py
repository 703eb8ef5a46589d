"""Extraction of tar archives: regular files alone, and none outside the folder.

The argument `filter` of `TarFile.extractall` is newer than the Python 3.11.2 of Debian 12.
"""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path, PurePosixPath


def is_plain_file(member: tarfile.TarInfo) -> bool:
    """Return whether a member is a regular file whose name stays in the folder of extraction."""
    path = PurePosixPath(member.name)
    return member.isfile() and not path.is_absolute() and ".." not in path.parts


def extract_files(archive: tarfile.TarFile, folder: Path) -> None:
    """Write the regular files of `archive` into `folder`, with the modes of new files; skip all other members."""
    for member in archive:
        if is_plain_file(member) and (source := archive.extractfile(member)):
            place = folder / member.name
            place.parent.mkdir(parents=True, exist_ok=True)
            with source, place.open("wb") as target:
                shutil.copyfileobj(source, target)
