"""`osteon account`: the accounts of the page."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape
from rich.table import Table

from appliance.domain.account import AccountRole
from appliance.service.command import config_option

from .options import as_text, by_hand, configuration, out, own_configuration, reason_option

if TYPE_CHECKING:
    from appliance.config import Configuration


@click.group()
def account() -> None:
    """Manage the accounts of the page: viewers see it, operators also change it, readers read a validation's sample."""


@account.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line and account.")
@config_option
def account_list(as_json: bool, config_path: Path | None) -> None:
    """List the accounts."""
    from appliance.storage.accounts import all_accounts
    from provisioning.operation.queues import reading

    config = configuration(config_path)
    with reading(config) as c:
        found = all_accounts(c) if c else []
    if as_json:
        for one in found:
            click.echo(json.dumps(dataclasses.asdict(one), default=as_text))
        return
    table = Table("name", "role", "made", "changed")
    for one in found:
        times = (f"{at.astimezone():%Y-%m-%d %H:%M %Z}" for at in (one.created_at, one.changed_at))
        table.add_row(escape(one.name), one.role, *times)
    out.print(table if found else "there is no account")
    _warn(config)


@account.command("add")
@click.argument("name")
@click.option(
    "--role", type=click.Choice([role.value for role in AccountRole]), required=True, help="Rights of the account."
)
@reason_option
@config_option
def account_add(name: str, role: str, reason: str, config_path: Path | None) -> None:
    """Make an account; its password is asked for, or read from the first line of a pipe."""
    from appliance.storage.accounts import add_account
    from appliance.storage.database import open_database
    from appliance.storage.passwords import hash_password

    config = own_configuration(config_path)
    password_hash = hash_password(_password(), name)
    add_account(open_database(config.database), name, AccountRole(role), password_hash, by_hand(reason))
    out.print(f"account {escape(name)} is made: {role}")
    _warn(config)


@account.command("password")
@click.argument("name")
@reason_option
@config_option
def account_password(name: str, reason: str, config_path: Path | None) -> None:
    """Change the password of an account, and end its sign-ins."""
    from appliance.storage.accounts import change_password
    from appliance.storage.database import open_database
    from appliance.storage.passwords import hash_password

    config = own_configuration(config_path)
    password_hash = hash_password(_password(), name)
    change_password(open_database(config.database), name, password_hash, by_hand(reason))
    out.print(f"the password of {escape(name)} is changed, and the account signed out")


@account.command("remove")
@click.argument("name")
@reason_option
@config_option
def account_remove(name: str, reason: str, config_path: Path | None) -> None:
    """Remove an account, and end its sign-ins."""
    from appliance.storage.accounts import remove_account
    from appliance.storage.database import open_database

    config = own_configuration(config_path)
    remove_account(open_database(config.database), name, by_hand(reason))
    out.print(f"account {escape(name)} is removed")


def _password() -> str:
    """Ask twice for a password on a terminal; else read one line."""
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")


def _warn(config: Configuration) -> None:
    if not config.status.accounts:
        out.print("[yellow]the page does not ask for accounts: set status.accounts, and restart osteon-status[/]")
