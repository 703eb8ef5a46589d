"""Functions that examine an instance in a child process, and misbehave where the instance is marked.

They have a module of their own, since each child process imports it.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from appliance.service.examined_instance import Examined, Load, examine
from tests.support.waiting import wait_until

MARK = b"DEADLY"


def examine_or_die(load: Load, *others: object) -> Examined:
    """Examine an instance; one that is marked ends the process, unless its pixels are left out."""
    if MARK in load() and len(others) < 3:
        ctypes.string_at(0)
    return examine(load, *others)  # type: ignore[arg-type]


def examine_last(folder: Path, load: Load, *others: object) -> Examined:
    """Examine an instance; the one that is marked is done after two others."""
    examined = examine(load, *others)  # type: ignore[arg-type]
    if MARK not in load():
        (folder / examined.digest).touch()
    else:
        wait_until(lambda: len(list(folder.iterdir())) >= 2, "two others to be decoded")
    return examined


def examine_when_told(folder: Path, load: Load, *others: object) -> Examined:
    """Examine an instance once the file ``go`` exists; the name of another file says which process does."""
    examined = examine(load, *others)  # type: ignore[arg-type]
    (folder / examined.header.sop_instance_uid).write_text(str(os.getpid()))
    wait_until((folder / "go").exists, "the test to go on")
    return examined


def never(*_: object) -> Examined:
    """Never return."""
    while True:
        pass
