"""`osteon doctor`: the findings on the terminal, as JSON, and as a report for support."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape

from appliance.errors import ConfigurationError
from appliance.service.command import config_option, existing_config

from .options import configuration, out

if TYPE_CHECKING:
    from appliance.config import Configuration
    from provisioning.operation.doctor.finding import Finding

MARKS = {"good": "[green]ok[/]     ", "warning": "[yellow]warning[/]", "error": "[red]error[/]  "}
"""Words before a finding, by its level."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line and finding.")
@click.option(
    "--radiograph",
    is_flag=True,
    help="Send a drawn radiograph to the role receive, too, and follow it to its answer; nothing leaves this box.",
)
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write findings, versions and settings to this file, for support: no patient's data, no token.",
)
@config_option
def doctor(as_json: bool, radiograph: bool, report: Path | None, config_path: Path | None) -> None:
    """Look at this box and at every peer; name each fault with its remedy.

    Peers are asked by C-ECHO, a connection, or /metadata; nothing is stored there. The exit status is 0 if all is well,
    1 if something needs attention, 2 for a fault.
    """
    from provisioning.operation.doctor.examination import examine, report_of, try_radiograph
    from provisioning.operation.doctor.finding import Finding, gravest

    config: Configuration | None = None
    findings: Iterator[Finding]
    try:
        config = configuration(config_path)
        findings = chain(examine(config, existing_config(config_path)), try_radiograph(config) if radiograph else ())
    except ConfigurationError as error:
        effect, remedy = "no role can start", f"correct it in {existing_config(config_path)}"
        findings = iter(Finding.error("configuration", problem, effect, remedy) for problem in error.problems)
    found = []
    for finding in findings:
        found.append(finding)
        _show(finding, as_json)
    level = gravest(found)
    if not as_json:
        worse = [f for f in found if f.level.exit_status]
        out.print(f"{len(worse)} of {len(found)} findings need attention" if worse else "[green]all is well[/]")
    if report:
        try:
            report.write_text(json.dumps(report_of(config, found), indent=1))
        except OSError as error:
            raise click.ClickException(f"{report} cannot be written: {error.strerror}") from error
    sys.stdout.flush()
    sys.exit(level.exit_status)


def _show(finding: Finding, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(asdict(finding)))
        return
    out.print(f"{MARKS[finding.level]} {escape(finding.seen)}", soft_wrap=True)
    if finding.effect:
        out.print(f"          so: {escape(finding.effect)}", soft_wrap=True)
        out.print(f"          do: {escape(finding.remedy)}", soft_wrap=True)
