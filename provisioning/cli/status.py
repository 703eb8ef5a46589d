"""`osteon status`: the health of this box on the terminal."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click
from rich.markup import escape

from appliance.service.command import config_option

from .options import configuration, out

NOT_READY = 2
"""Exit status where no radiograph is answered; 1 where points need attention."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with all conditions.")
@config_option
def status(as_json: bool, config_path: Path | None) -> None:
    """Show the headline of the status page, and each point that needs attention.

    Each point has its reason and the next command. The exit status is 0 if all is well, 1 if something needs
    attention, 2 if Osteon is not working.
    """
    from provisioning.operation.status import status_of

    found = status_of(configuration(config_path))
    if as_json:
        click.echo(json.dumps(asdict(found)))
    else:
        colour = ("yellow" if found.points else "green") if found.ready else "red"
        out.print(f"[{colour}]{escape(found.headline)}[/]")
        for point in found.points:
            out.print(
                f"[{'red' if point.severity == 'error' else 'yellow'}]-[/] {escape(point.sentence)}", soft_wrap=True
            )
            if point.reason:
                out.print(f"    reason: {escape(point.reason)}", soft_wrap=True)
            if point.command:
                out.print(f"    next: {escape(point.command)}", soft_wrap=True)
    sys.stdout.flush()
    sys.exit(NOT_READY if not found.ready else 1 if found.points else 0)
