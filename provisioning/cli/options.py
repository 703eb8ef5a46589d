"""Options and output that every command of `osteon` shares."""

from __future__ import annotations

import os
import pwd
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console

from appliance.domain.audit import Door, Intervention
from appliance.domain.identifiers import Site
from appliance.service.command import existing_config, refuse_root

if TYPE_CHECKING:
    from appliance.config import Configuration

T = TypeVar("T")

EXISTING = click.Path(exists=True, path_type=Path)
"""Type of an argument that names a file or folder, which must exist."""

out = Console() if sys.stdout.isatty() else Console(width=int(os.environ.get("COLUMNS", "240")))
"""Console of the command's output; wide in a pipe, so that one finding stays one line for `grep`."""


def check_value(value: T, kind: Any, option: str) -> T:
    """Return the value of an option, checked as the configuration checks values of that kind.

    Raises
    ------
    click.BadParameter
        With the sentence that the configuration has for such a value.
    """
    from pydantic import TypeAdapter, ValidationError

    from appliance.config import sentence_of

    try:
        return TypeAdapter[T](kind).validate_python(value)
    except ValidationError as error:
        raise click.BadParameter(sentence_of(error.errors()[0]), param_hint=option) from error


def configuration(path: Path | None) -> Configuration:
    """Read the configuration from `path` or from the default file; without either, return the built-in defaults."""
    from appliance.config import read_configuration

    return read_configuration(existing_config(path))


def own_configuration(path: Path | None) -> Configuration:
    """Read the configuration for a command that writes into the state folder; raises as `refuse_root`."""
    config = configuration(path)
    refuse_root(config)
    return config


def with_pack(config: Configuration, name: str | None) -> Configuration:
    """Return `config` with the pack `name` as its only pack; unchanged if `name` is None."""
    if name is None:
        return config
    return config.model_copy(update={"analyse": config.analyse.model_copy(update={"pack": name, "more_packs": ()})})


def sites_of(value: str) -> tuple[Site, ...]:
    """Return the sites of a list with commas; raises click.BadParameter for any other name."""
    names = [name.strip().replace(" ", "_") for name in value.split(",")]
    if unknown := [name for name in names if name not in list(Site)]:
        raise click.BadParameter(f"{', '.join(unknown)!r} is no site: write some of {', '.join(Site)}")
    return tuple(dict.fromkeys(map(Site, names)))


def as_text(value: object) -> str:
    """Return the text for a value that JSON has no type for."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


reason_option = click.option("--reason", default="", help="Why; kept in the audit log. Name no patient.")
"""Option of the commands that change something, where the reason may be left out."""

LOGIN_UID = Path("/proc/self/loginuid")
"""User who signed in to this machine; the kernel keeps it through `su` and `sudo` (pam_loginuid(8))."""

NO_LOGIN = 2**32 - 1
"""Value of `LOGIN_UID` for a process that no sign-in has begun."""


def by_hand(reason: str) -> Intervention:
    """Return the intervention of the person who gives this command."""
    return Intervention(person=person(), door=Door.COMMAND_LINE, reason=reason)


def person() -> str:
    """Return the user who signed in, and the user of this process if it is another one."""
    try:
        login = int(LOGIN_UID.read_text())
    except (OSError, ValueError):
        login = NO_LOGIN
    if login == NO_LOGIN:  # sudo says who called it; its user could say something else
        called_by = os.environ.get("SUDO_UID", "")
        login = int(called_by) if called_by.isdecimal() else os.geteuid()
    names = dict.fromkeys([_user(login), _user(os.geteuid())])
    return " as ".join(names)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return f"#{uid}"
