"""Files of radiographs: DICOM files as they are, JPEG and PNG files wrapped as DX instances.

Public data sets come as JPEG or PNG; wrapped, they take the same way through Osteon as the instances of a hospital.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from appliance.dicom.objects.wrapped_picture import wrap_picture
from appliance.dicom.part10 import part10_bytes

T = TypeVar("T")

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
"""Suffixes, in small letters, of the files that are wrapped."""

DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ""})
"""Suffixes, in small letters, of the files in a folder that may be DICOM."""


def find_radiograph_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files among `paths` and, sorted, the pictures and possible DICOM files in the folders among them."""
    found: list[Path] = []
    for path in paths:
        found += sorted(p for p in path.rglob("*") if _may_be_radiograph(p)) if path.is_dir() else [path]
    return found


def pick_evenly(items: Sequence[T], limit: int | None) -> list[T]:
    """Return at most `limit` of `items`, evenly spread over them; all of them if `limit` is None."""
    if limit is None or limit >= len(items):
        return list(items)
    return [items[k * len(items) // limit] for k in range(limit)]


def read_instance(file: Path) -> bytes:
    """Return the bytes of the DICOM instance in `file`; a JPEG or PNG is wrapped first.

    Raises
    ------
    Rejected
        If a picture cannot be read.
    """
    if file.suffix.lower() in PICTURE_SUFFIXES:
        return part10_bytes(wrap_picture(file.read_bytes()))
    return file.read_bytes()


def _may_be_radiograph(path: Path) -> bool:
    suffixes = PICTURE_SUFFIXES | DICOM_SUFFIXES
    return path.is_file() and path.suffix.lower() in suffixes and path.name != "DICOMDIR"
