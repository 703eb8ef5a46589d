"""`osteon audit`: list the audit log and verify its chain."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from appliance.service.command import config_option

from .options import as_text, configuration, out


@click.group()
def audit() -> None:
    """Show who changed something, when and why."""


@audit.command("list")
@click.option("--last", type=click.IntRange(1), default=50, show_default=True, help="Number of entries, newest last.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line and entry.")
@config_option
def audit_list(last: int, as_json: bool, config_path: Path | None) -> None:
    """List the newest entries of the audit log."""
    from appliance.storage.audit import newest_entries
    from provisioning.operation.queues import reading

    with reading(configuration(config_path)) as c:
        entries = newest_entries(c, last)[::-1] if c else []
    if as_json:
        for entry in entries:
            click.echo(json.dumps(dataclasses.asdict(entry), default=as_text))
        return
    table = Table()
    for name in ("entry", "time", "person", "by", "action", "subject", "detail", "reason"):
        table.add_column(name, no_wrap=name in ("entry", "time"))
    for entry in entries:
        at = f"{entry.at.astimezone():%Y-%m-%d %H:%M:%S %Z}"
        said = (entry.person, entry.door, entry.action, entry.subject, entry.detail, entry.reason)
        table.add_row(str(entry.number), at, *map(escape, said))
    out.print(table if table.row_count else "nothing was changed by a person yet")
    if entries:
        out.print(f"head: {entries[-1].digest}")


@audit.command("verify")
@click.option("--digest", default="", help="Digest of an entry that you kept: the log has to contain it.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@config_option
def audit_verify(digest: str, as_json: bool, config_path: Path | None) -> None:
    """Check that no entry of the audit log was altered or removed.

    It prints the digest of the newest entry, the head. Keep the head outside this box: a later `osteon audit verify
    --digest HEAD` then also notices that entries were cut off at the end, or that all were written anew. The journal of
    osteon-receive has the head of each day.
    """
    from appliance.domain.reason import ReasonCode
    from appliance.errors import Fault, Rejected
    from appliance.storage.audit import check_log
    from provisioning.operation.queues import reading

    with reading(configuration(config_path)) as c:
        if c is None:
            reason = "there is no database, and so no audit log: check state_dir"
            raise Fault(ReasonCode.DATABASE_UNUSABLE, reason)
        found = check_log(c, digest)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(found)))
    if found.defect:
        raise Rejected(ReasonCode.AUDIT_BROKEN, f"{found.defect}; {found.entries} entries are whole")
    if not as_json:
        out.print(f"{found.entries} entries, none altered; head: {found.head}")
