"""`osteon queue`: list, inspect, retry, drop and reroute jobs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape
from rich.table import Table

from appliance.service.command import config_option

from .options import as_text, configuration, out

if TYPE_CHECKING:
    from provisioning.operation.queues import Job


@click.group()
def queue() -> None:
    """Look at what waits, failed or was not analysed, and decide about it."""


@queue.command("list")
@config_option
@click.option("--all", "everything", is_flag=True, help="Finished jobs too.")
@click.option("--json", "as_json", is_flag=True, help="One object per job, one per line.")
def queue_list(config_path: Path | None, everything: bool, as_json: bool) -> None:
    """Jobs that wait, are parked or were not analysed, with the reason."""
    from provisioning.operation.queues import jobs

    _show_jobs(jobs(configuration(config_path), everything), as_json, "nothing waits, and nothing failed")


@queue.command("find")
@click.argument("uid")
@config_option
@click.option("--json", "as_json", is_flag=True, help="One object per job, one per line.")
def queue_find(uid: str, config_path: Path | None, as_json: bool) -> None:
    """What became of the instance with that SOP Instance UID, or of the study with that Study Instance UID."""
    from provisioning.operation.queues import jobs

    _show_jobs(jobs(configuration(config_path), True, uid), as_json, "nothing of that UID was kept")


@queue.command("show")
@click.argument("job")
@config_option
def queue_show(job: str, config_path: Path | None) -> None:
    """Everything that is known of one JOB, such as analysis:12 or delivery:40."""
    from provisioning.operation.queues import one_job

    out.print_json(json.dumps(one_job(configuration(config_path), job), default=as_text))


@queue.command("retry")
@click.argument("job")
@config_option
def queue_retry(job: str, config_path: Path | None) -> None:
    """Try a JOB again, now; what is done is answered anew, as a new revision, or sent again, as the same object."""
    from provisioning.operation.queues import retry

    out.print(f"{job} is {retry(configuration(config_path), job)}")


@queue.command("drop")
@click.argument("job")
@click.option("--reason", required=True, help="Why; it is kept.")
@config_option
def queue_drop(job: str, reason: str, config_path: Path | None) -> None:
    """Give up on a parked or waiting JOB for good."""
    from provisioning.operation.queues import drop

    out.print(f"{job} is {drop(configuration(config_path), job, reason)}")


@queue.command("reroute")
@click.argument("job")
@click.option("--to", required=True, help="A destination of the same kind, by its name.")
@config_option
def queue_reroute(job: str, to: str, config_path: Path | None) -> None:
    """Send a delivery (JOB) that waits or is parked to another destination instead."""
    from provisioning.operation.queues import reroute

    out.print(f"{job} is {reroute(configuration(config_path), job, to)}, for {to}")


@queue.command("hold")
@click.option("--to", default="*", show_default=True, help="A destination by its name; * for all.")
@click.option("--reason", required=True, help="Why; it stands on the status page.")
@config_option
def queue_hold(to: str, reason: str, config_path: Path | None) -> None:
    """Let no answer leave until `osteon queue release`; everything goes on being received, read and kept."""
    from provisioning.operation.queues import hold

    hold(configuration(config_path), to, reason)
    out.print(f"nothing leaves for {escape(to)}")


@queue.command("release")
@click.option("--to", default="*", show_default=True, help="The name that is held; * for the hold of all.")
@config_option
def queue_release(to: str, config_path: Path | None) -> None:
    """Take back an `osteon queue hold`."""
    from provisioning.operation.queues import release

    release(configuration(config_path), to)
    out.print(f"what waits for {escape(to)} leaves, unless something else holds it")


def _show_jobs(jobs: Iterable[Job], as_json: bool, nothing: str) -> None:
    if as_json:
        for job in jobs:
            click.echo(json.dumps(dataclasses.asdict(job), default=as_text))
        return
    table = Table()
    for name in ("job", "state", "code", "what", "tries", "since (UTC)", "reason"):
        table.add_column(name, no_wrap=name in ("job", "state", "code"))
    for job in jobs:
        since = f"{job.since:%Y-%m-%d %H:%M:%S}"
        table.add_row(job.name, job.state, job.code, job.what, str(job.attempts), since, escape(job.reason))
    out.print(table if table.row_count else nothing)
