"""The command line of the check."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from kernels.build import FATBIN

from .report import Writer
from .run import run_step
from .step import Outcome, Place, is_stand_in
from .steps import STEPS


@click.command()
@click.option(
    "--out",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("gpu-selfcheck"),
    show_default=True,
    help="Folder for report.txt, report.json and the logs of the steps.",
)
@click.option("--step", "chosen", multiple=True, type=click.Choice([s.name for s in STEPS]), help="Default: all.")
@click.option(
    "--fatbin", type=click.Path(path_type=Path), default=FATBIN, help="Compiled kernels other than the installed."
)
def main(folder: Path, chosen: tuple[str, ...], fatbin: Path) -> None:
    """Check this box's GPU, each step in a process of its own.

    Stop osteon-analyse first, so that the card is free. The exit status is 1 if a step failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    place = Place(folder=folder, fatbin=fatbin, stand_in=is_stand_in())
    writer = Writer(place)
    for step in STEPS:
        if not chosen or step.name in chosen:
            click.echo(writer.add(run_step(step, place)))
    click.echo(
        f"{folder / 'report.txt'} and {folder / 'report.json'} hold the report; neither names a patient or a host"
    )
    sys.exit(any(report.outcome is Outcome.FAILED for report in writer.reports))


if __name__ == "__main__":
    main()
