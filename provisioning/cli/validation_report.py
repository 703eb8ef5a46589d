"""`osteon validate report` and `osteon validate verify`: the sealed report of a validation, and its check."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click
from rich.markup import escape

from appliance.domain.validation import SampleKind
from appliance.service.command import config_option

from .options import as_text, by_hand, configuration, out, own_configuration, reason_option


@click.command()
@click.option(
    "--out",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("validation.html"),
    show_default=True,
    help="HTML file to write.",
)
@click.option(
    "--kind",
    type=click.Choice([kind.value for kind in SampleKind]),
    default=SampleKind.RANDOM.value,
    show_default=True,
    help="Kind of the sample, whose newest validation is reported.",
)
@click.option("--validation", "number", type=click.IntRange(1), help="Number of another validation.")
@reason_option
@config_option
def report(file: Path, kind: str, number: int | None, reason: str, config_path: Path | None) -> None:
    """Write the report of a validation: one HTML file that needs nothing else, to read and to print.

    It shows the radiographs about which appliance and radiologist disagree: keep it where pictures of patients may be
    kept. The audit log keeps its SHA-256; `osteon validate verify` checks both later.
    """
    from provisioning.operation.reports import write_report_file

    by = by_hand(reason)
    sample = write_report_file(own_configuration(config_path), file, SampleKind(kind), number, by)
    for site in sample.validation.sites:
        passes = "[green]passes the gate[/]" if sample.gate.passes(site) else "[yellow]does not pass the gate[/]"
        out.print(f"{site.label}: {passes}")
    out.print(f"{escape(str(file))}: the report of validation {sample.validation.validation_id}")


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the entry of the audit log as JSON.")
@config_option
def verify(file: Path, as_json: bool, config_path: Path | None) -> None:
    """Check that a report is as this appliance wrote it.

    It fails for one altered byte of FILE, for a report that the audit log does not know, and for an audit log of which
    an entry was altered or removed since.
    """
    from provisioning.operation.reports import verify_report

    entry = verify_report(configuration(config_path), file)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(entry), default=as_text))
        return
    at = f"{entry.at.astimezone():%Y-%m-%d %H:%M:%S %Z}"
    out.print(f"unaltered: the report of {entry.subject}, written {at} by {escape(entry.person)}")
