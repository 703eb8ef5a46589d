"""`osteon queue`: list, inspect, retry, drop and reroute jobs; hold and release deliveries."""

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

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line and job.")
"""Option of the commands that list jobs."""


@click.group()
def queue() -> None:
    """List, retry, drop and reroute jobs; hold deliveries back."""


@queue.command("list")
@config_option
@click.option("--all", "everything", is_flag=True, help="List finished jobs too.")
@json_option
def queue_list(config_path: Path | None, everything: bool, as_json: bool) -> None:
    """List the jobs that wait, are parked or failed.

    Each is listed with its reason, radiographs that were not analysed among them.
    """
    from provisioning.operation.queues import jobs

    _show_jobs(jobs(configuration(config_path), everything), as_json, "no job waits, and none failed")


@queue.command("find")
@click.argument("uid")
@config_option
@json_option
def queue_find(uid: str, config_path: Path | None, as_json: bool) -> None:
    """List every job of one study or instance.

    Finished jobs are included. UID is a Study Instance UID, or the SOP Instance UID of a radiograph.
    """
    from provisioning.operation.queues import jobs

    _show_jobs(jobs(configuration(config_path), True, uid), as_json, "no job has this UID")


@queue.command("show")
@click.argument("job")
@config_option
def queue_show(job: str, config_path: Path | None) -> None:
    """Show every detail of one JOB as JSON.

    A JOB is named as analysis:12 or delivery:40, as `osteon queue list` shows it.
    """
    from provisioning.operation.queues import one_job

    out.print_json(json.dumps(one_job(configuration(config_path), job), default=as_text))


@queue.command("retry")
@click.argument("job")
@config_option
def queue_retry(job: str, config_path: Path | None) -> None:
    """Try a JOB again now.

    A finished analysis is done anew and makes a new revision. A finished delivery is sent again as the same object.
    """
    from provisioning.operation.queues import retry

    out.print(f"{job} is {retry(configuration(config_path), job)}")


@queue.command("drop")
@click.argument("job")
@click.option("--reason", required=True, help="Why the job is given up; kept with the job.")
@config_option
def queue_drop(job: str, reason: str, config_path: Path | None) -> None:
    """Give up a parked or waiting JOB for good."""
    from provisioning.operation.queues import drop

    out.print(f"{job} is {drop(configuration(config_path), job, reason)}")


@queue.command("reroute")
@click.argument("job")
@click.option("--to", required=True, help="Name of another destination of the same kind.")
@config_option
def queue_reroute(job: str, to: str, config_path: Path | None) -> None:
    """Send a waiting or parked delivery (JOB) to another destination."""
    from provisioning.operation.queues import reroute

    out.print(f"{job} is {reroute(configuration(config_path), job, to)}, for {to}")


@queue.command("hold")
@click.option("--to", default="*", show_default=True, help="Name of the destination; * for all.")
@click.option("--reason", required=True, help="Why deliveries are held; shown on the status page.")
@config_option
def queue_hold(to: str, reason: str, config_path: Path | None) -> None:
    """Hold deliveries back until `osteon queue release`.

    Radiographs are still received, analysed and kept.
    """
    from provisioning.operation.queues import hold

    hold(configuration(config_path), to, reason)
    out.print(f"deliveries to {escape(to)} are held; `osteon queue release` lets them leave")


@queue.command("release")
@click.option("--to", default="*", show_default=True, help="Name that was held; * for the hold of all.")
@config_option
def queue_release(to: str, config_path: Path | None) -> None:
    """End an `osteon queue hold` and let the deliveries leave."""
    from provisioning.operation.queues import release

    release(configuration(config_path), to)
    out.print(f"deliveries to {escape(to)} leave, unless another hold applies")


def _show_jobs(jobs: Iterable[Job], as_json: bool, none_found: str) -> None:
    """Print a table of `jobs`, or JSON lines; print the sentence `none_found` if there are none."""
    if as_json:
        for job in jobs:
            click.echo(json.dumps(dataclasses.asdict(job), default=as_text))
        return
    table = Table()
    for name in ("job", "state", "code", "about", "tries", "since (UTC)", "reason"):
        table.add_column(name, no_wrap=name in ("job", "state", "code"))
    for job in jobs:
        since = f"{job.since:%Y-%m-%d %H:%M:%S}"
        table.add_row(job.name, job.state, job.code, job.about, str(job.attempts), since, escape(job.reason))
    out.print(table if table.row_count else none_found)
