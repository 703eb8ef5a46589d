"""`osteon queue`: list, inspect, retry, drop and reroute jobs; hold and release deliveries."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.markup import escape
from rich.table import Table

from appliance.domain.job import State
from appliance.errors import Rejected
from appliance.service.command import config_option

from .options import as_text, by_hand, configuration, out, own_configuration, reason_option

if TYPE_CHECKING:
    from appliance.config import Configuration
    from provisioning.operation.queues import Job

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line and job.")
"""Option of the commands that list jobs."""


def _age(_context: click.Context, _option: click.Parameter, value: str | None) -> timedelta | None:
    """Return the duration of a number with its unit: ``90s``, ``30m``, ``1h``, ``2d``."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d{1,5})([smhd])", value)
    if found is None:
        raise click.BadParameter(f"{value!r} is not a duration such as 90s, 30m, 1h or 2d")
    unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[found[2]]
    return timedelta(**{unit: int(found[1])})


def selecting(destination: str) -> Callable[[F], F]:
    """Add the options that select jobs; `destination` is the option that names the destination of deliveries."""
    options = (
        click.option(destination, "destination", help="Deliveries to this destination."),
        click.option("--code", help="Jobs with this code, as `osteon queue list` shows it."),
        click.option("--older-than", callback=_age, help="Jobs made before so long: 90s, 30m, 1h, 2d."),
        click.option("--all", "everything", is_flag=True, help="All jobs that wait or are parked."),
    )

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


@click.group()
def queue() -> None:
    """List, retry, drop and reroute jobs; hold deliveries back."""


@queue.command("list")
@config_option
@click.option("--all", "everything", is_flag=True, help="List finished jobs too.")
@click.option("--to", "destination", help="Deliveries to this destination.")
@click.option("--state", type=click.Choice([state.value for state in State]), help="Jobs in this state.")
@click.option("--code", help="Jobs with this code.")
@click.option("--older-than", callback=_age, help="Jobs made before so long: 90s, 30m, 1h, 2d.")
@json_option
def queue_list(
    config_path: Path | None,
    everything: bool,
    destination: str | None,
    state: str | None,
    code: str | None,
    older_than: timedelta | None,
    as_json: bool,
) -> None:
    """List the jobs that wait, are parked or failed; with options, those of them that fit every one.

    Each is listed with its reason, radiographs that were not analysed among them.
    """
    from provisioning.operation.queues import Selection, jobs

    selection = Selection(
        destination=destination, code=code, older_than=older_than, state=State(state) if state else None
    )
    found = jobs(configuration(config_path), everything, selection=selection)
    _show_jobs(found, as_json, "no such job waits, and none failed")


@queue.command("find")
@click.argument("uid")
@config_option
@json_option
def queue_find(uid: str, config_path: Path | None, as_json: bool) -> None:
    """List every job of one study or instance.

    Finished jobs are included. UID is a Study Instance UID, or the SOP Instance UID of a radiograph.
    """
    from provisioning.operation.queues import jobs

    found = list(jobs(configuration(config_path), True, uid))
    if not found:
        raise click.ClickException(
            "no job has this UID: nothing with it was received, or it was not kept. Numbers of patients and accession "
            "numbers are not kept either; the page's look-up knows those that a radiologist report named"
        )
    _show_jobs(found, as_json, "")


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
@click.argument("jobs", metavar="[JOB]...", nargs=-1)
@selecting("--to")
@reason_option
@config_option
def queue_retry(reason: str, config_path: Path | None, **selection: Any) -> None:
    """Try jobs again now: each JOB, or all that wait or are parked and fit the options.

    A finished analysis is done anew and makes a new revision. A finished delivery is sent again as the same object.
    """
    from provisioning.operation.queues import retry

    config, by = own_configuration(config_path), by_hand(reason)
    _for_each(_selected(config, **selection), lambda job: f"is {retry(config, job, by)}")


@queue.command("drop")
@click.argument("jobs", metavar="[JOB]...", nargs=-1)
@selecting("--to")
@click.option("--reason", required=True, help="Why the jobs are given up; kept with each. Name no patient.")
@click.option(
    "--withdrawals",
    is_flag=True,
    help="Give up a named JOB that takes an answer back, too: the answer stays at its destination.",
)
@config_option
def queue_drop(reason: str, withdrawals: bool, config_path: Path | None, **selection: Any) -> None:
    """Give up jobs for good: each JOB, or all that wait or are parked and fit the options.

    A delivery that takes an answer back stays as it is, unless it is named and --withdrawals is given.
    """
    from provisioning.operation.queues import drop

    if withdrawals and not selection["jobs"]:
        raise click.UsageError("name each JOB that takes an answer back: --withdrawals gives up no others")
    config, by = own_configuration(config_path), by_hand(reason)
    _for_each(_selected(config, **selection), lambda job: f"is {drop(config, job, by, withdrawals=withdrawals)}")


@queue.command("reroute")
@click.argument("jobs", metavar="[JOB]...", nargs=-1)
@selecting("--from")
@click.option("--to", "target", required=True, help="Name of another destination of the same kind.")
@reason_option
@config_option
def queue_reroute(target: str, reason: str, config_path: Path | None, **selection: Any) -> None:
    """Send deliveries to another destination: each JOB, or all that wait or are parked and fit the options."""
    from provisioning.operation.queues import reroute

    config, by = own_configuration(config_path), by_hand(reason)
    _for_each(_selected(config, **selection), lambda job: f"is {reroute(config, job, target, by)}, for {target}")


@queue.command("hold")
@click.option("--to", default="*", show_default=True, help="Name of the destination; * for all.")
@click.option("--reason", required=True, help="Why deliveries are held; shown on the status page.")
@config_option
def queue_hold(to: str, reason: str, config_path: Path | None) -> None:
    """Hold deliveries back until `osteon queue release`, with the same --to.

    Radiographs are still received, analysed and kept.
    """
    from appliance.storage.gate import release_command
    from provisioning.operation.queues import hold

    hold(own_configuration(config_path), to, by_hand(reason))
    out.print(f"deliveries to {escape(to)} are held; `{escape(release_command(to))}` lets them leave")


@queue.command("release")
@click.option("--to", default="*", show_default=True, help="Name that was held; * for the hold of all.")
@reason_option
@config_option
def queue_release(to: str, reason: str, config_path: Path | None) -> None:
    """End an `osteon queue hold` and let the deliveries leave."""
    from provisioning.operation.queues import release

    release(own_configuration(config_path), to, by_hand(reason))
    out.print(f"deliveries to {escape(to)} leave, unless another hold applies")


def _selected(
    config: Configuration,
    jobs: tuple[str, ...],
    destination: str | None,
    code: str | None,
    older_than: timedelta | None,
    everything: bool,
) -> list[str]:
    """Return the names of the jobs that arguments and options select.

    Raises
    ------
    click.UsageError
        If jobs are named and selected by options at once, or neither.
    """
    from provisioning.operation.queues import Selection, selected

    by_option = [destination, code, older_than, everything or None]
    if bool(jobs) is any(value is not None for value in by_option):
        raise click.UsageError("name each JOB, or select them by --code, --older-than, their destination, or --all")
    selection = Selection(names=jobs, destination=destination, code=code, older_than=older_than)
    return selected(config, selection)


def _for_each(jobs: Sequence[str], act: Callable[[str], str]) -> None:
    """Do the same to each job and print what became of it; go on after one that cannot be changed.

    Raises
    ------
    Rejected
        The first reason, if any job could not be changed.
    """
    refused: list[Rejected] = []
    for job in jobs:
        try:
            out.print(f"{job} {act(job)}")
        except Rejected as error:
            refused.append(error)
            if len(jobs) > 1:
                out.print(f"{job} stays as it is: {escape(error.reason)}")
    if len(jobs) > 1:
        out.print(f"{len(jobs) - len(refused)} of {len(jobs)} jobs were changed")
    if refused:
        raise refused[0]


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
