"""The command that runs a role, and the parts that every command shares: the option ``--config``, and its errors."""

from __future__ import annotations

import os
import pwd
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.domain.roles import ROLES
from appliance.errors import ConfigurationError, OsteonError

if TYPE_CHECKING:
    from sqlalchemy.exc import SQLAlchemyError

    from appliance.config import Configuration

DEFAULT_CONFIG = Path("/etc/osteon/osteon.toml")
"""Configuration file that is read if no other is named."""

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="OSTEON_CONFIG",
    help=f"Configuration file. Default: {DEFAULT_CONFIG} if it exists, else the built-in defaults.",
)


class SentenceErrors:
    """A click command that prints an error of Osteon as one sentence; any other exception is raised."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)  # type: ignore[misc]  # mixed into click.Command
        except ConfigurationError as error:
            raise click.ClickException("the configuration cannot be used\n  " + "\n  ".join(error.problems)) from error
        except OsteonError as error:
            raise click.ClickException(str(error)) from error
        except _database_error() as error:
            from appliance.storage.database import defect

            raise click.ClickException(f"the database cannot be used: {defect(error)}") from error


def _database_error() -> type[SQLAlchemyError] | tuple[()]:
    """Return the base class of SQLAlchemy's errors; none where SQLAlchemy is not loaded, and so has raised nothing."""
    if "sqlalchemy" not in sys.modules:
        return ()
    from sqlalchemy.exc import SQLAlchemyError

    return SQLAlchemyError


def refuse_root(config: Configuration) -> None:
    """Refuse to go on as root where the state folder is another user's: the roles could not write root's files.

    Raises
    ------
    click.ClickException
        With the command to give instead: the same one, so that it needs no ``PATH``.
    """
    folder = config.state_dir
    if os.geteuid() != 0 or not folder.exists() or (owner := folder.stat().st_uid) == 0:
        return
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"#{owner}"
    command = shlex.join([sys.executable, *sys.orig_argv[1:]])
    raise click.ClickException(
        f"as root this would leave files of root in {folder}, which the roles of {name} cannot write: "
        f"runuser -u {name} -- {command}"
    )


class _Command(SentenceErrors, click.Command):
    """One command that prints its errors as sentences."""


def existing_config(path: Path | None) -> Path | None:
    """Return `path`, else the default configuration file if it exists, else None."""
    return path or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None)


@click.command(cls=_Command)
@click.argument("role", type=click.Choice([*ROLES, "all"]))
@click.option("--supervised", is_flag=True, hidden=True, help="End when the standard input, a pipe, is closed.")
@config_option
def run(role: str, supervised: bool, config_path: Path | None) -> None:
    """Run one ROLE until SIGTERM or SIGINT, or all four.

    \b
    receive   Storage SCP: keeps the radiographs that the PACS or the X-ray room sends
    analyse   preprocesses, localises and classifies radiographs
    deliver   sends the results to PACS and RIS, and retries until they have arrived
    status    serves the health page
    """
    from appliance.config import read_configuration

    from .configuration_watch import ConfigurationWatch
    from .log import hush_libraries, set_up_logging
    from .parent import stop_when_closed
    from .role_lock import role_lock
    from .roles.start import start_role
    from .supervisor import run_all
    from .worker import run_until_stopped

    if supervised:
        stop_when_closed(sys.stdin.fileno())
    set_up_logging()
    hush_libraries()
    os.umask(0o027)  # received files are not readable by other users
    path = existing_config(config_path)
    config = read_configuration(path)
    refuse_root(config)
    if role == "all":
        run_all(path)
        return
    with role_lock(config, role):
        watch = ConfigurationWatch(path, config)
        run_until_stopped(*start_role(role, config), watch)
