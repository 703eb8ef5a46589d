"""`osteon validate`: the local validation of an engine on a sample that radiologists read."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape
from rich.table import Table

from appliance.domain.identifiers import Site
from appliance.domain.validation import SampleKind
from appliance.service.command import config_option

from .options import EXISTING, as_text, by_hand, configuration, out, own_configuration, sites_of
from .validation_report import report, verify

if TYPE_CHECKING:
    from appliance.config import Configuration

_kind_option = click.option(
    "--kind",
    type=click.Choice([kind.value for kind in SampleKind]),
    default=SampleKind.RANDOM.value,
    show_default=True,
    help="Kind of the sample: random, or enriched with suspicious answers, which is reported apart.",
)

_reason_option = click.option("--reason", required=True, help="Why; kept in the audit log. Name no patient.")


@click.group()
def validate() -> None:
    """Validate the appliance on a local sample: radiologists read what it has answered, without its answer."""


@validate.command()
@click.option(
    "--sites",
    callback=lambda _context, _option, value: sites_of(value),
    required=True,
    help="Sites whose radiographs are drawn, with commas.",
)
@click.option(
    "--size",
    type=click.IntRange(1, 100_000),
    default=300,
    show_default=True,
    help="Radiographs to draw, one a patient; the gate counts those that are answered and read.",
)
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.2,
    show_default=True,
    help="Share of the patients that are drawn until the sample is full.",
)
@_kind_option
@_reason_option
@config_option
def start(sites: tuple[Site, ...], size: int, share: float, kind: str, reason: str, config_path: Path | None) -> None:
    """Start a validation: from now on, radiographs of the sites are drawn as they come in.

    The answers about a study that is drawn stay in the box, so that its read is blinded. A site has to be in the phase
    validate or shadow.
    """
    from appliance.storage.database import open_database
    from appliance.storage.validations import start_validation

    config = own_configuration(config_path)
    engine = open_database(config.database)
    started = start_validation(engine, kind=SampleKind(kind), sites=sites, size=size, share=share, by=by_hand(reason))
    names = ", ".join(str(site.label) for site in started.sites)
    out.print(f"validation {started.validation_id} is open: {names}; {size} radiographs, {share:.0%} of the patients")
    if started.kind is SampleKind.RANDOM:
        _print_outlook(config, sites, size)
    out.print("readers read on the page, at /read: [cyan]osteon account add NAME --role reader[/]")


def _print_outlook(config: Configuration, sites: tuple[Site, ...], size: int) -> None:
    from appliance.rollout.gate import LEAST_RADIOGRAPHS
    from provisioning.operation.validation_plan import HOPED, outlook_of

    outlook = outlook_of(config, sites, size)
    origin = "as so far" if outlook.are_measured else "assumed: too few came so far"
    words = f"about {outlook.scored} of them will be answered and read ({outlook.coverage:.0%}, {origin})"
    if outlook.scored < LEAST_RADIOGRAPHS:
        out.print(f"[yellow]{words}: the gate needs {LEAST_RADIOGRAPHS}. See osteon validate plan[/]")
    else:
        chance = f"{outlook.chance_of_accuracy:.0%} that they pass the criterion of accuracy"
        out.print(f"{words}; if {HOPED:.1%} of answers are right, the chance is {chance}")


@validate.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line and validation.")
@config_option
def status(as_json: bool, config_path: Path | None) -> None:
    """Show the newest validation of each kind, and how far its sample is."""
    from appliance.storage.validations import newest_validation, progress
    from provisioning.operation.queues import reading

    with reading(configuration(config_path)) as c:
        kinds = [newest_validation(c, kind) for kind in SampleKind] if c else []
        found = [(one, progress(c, one)) for one in kinds if c and one]
    if as_json:
        for validation, done in found:
            fields = dataclasses.asdict(validation) | dataclasses.asdict(done)
            del fields["secret"]
            click.echo(json.dumps(fields, default=as_text))
        return
    table = Table("validation", "kind", "sites", "since", "state", "drawn", "read", "blinded", "not blinded")
    for validation, done in found:
        ended = validation.ended_at
        table.add_row(
            str(validation.validation_id),
            validation.kind,
            ", ".join(validation.sites),
            f"{validation.started_at.astimezone():%Y-%m-%d %H:%M}",
            f"ended {ended.astimezone():%Y-%m-%d %H:%M}" if ended else "open",
            f"{done.drawn} of {validation.size}",
            str(done.read),
            str(done.blinded),
            str(done.unblinded),
        )
    out.print(table if found else "no validation was started yet")
    for validation, done in found:
        if done.changed_sites and validation.is_open:
            names = escape(", ".join(done.changed_sites))
            out.print(
                f"[yellow]the engine of {names} is another one than at the start: nothing is drawn of it any more; end "
                "this validation and start another one[/]"
            )


@validate.command()
@_kind_option
@_reason_option
@config_option
def end(kind: str, reason: str, config_path: Path | None) -> None:
    """End a validation: nothing is drawn or read for it any more, and no further answer is kept back.

    The answers that were kept back are never sent.
    """
    from appliance.storage.database import open_database
    from appliance.storage.validations import end_validation

    engine = open_database(own_configuration(config_path).database)
    ended, done = end_validation(engine, SampleKind(kind), by_hand(reason))
    out.print(f"validation {ended.validation_id} is ended: {done.drawn} of {ended.size} drawn, {done.read} read")


@validate.command("import")
@click.argument("file", type=EXISTING, required=False)
@click.option(
    "--reports", is_flag=True, help="Take the conclusions of final reports that came by HL7, instead of a file."
)
@_kind_option
@_reason_option
@config_option
def import_(file: Path | None, reports: bool, kind: str, reason: str, config_path: Path | None) -> None:
    """Take reads of the sample from FILE, a table of gold-standard reads, or from final reports.

    The table is CSV in UTF-8, with commas or semicolons. Its first line names the columns: study (Study Instance UID)
    or accession, answer (fracture, none, unsure or unusable), and if you like marks (hardware, osteoporosis,
    pathological, artefact, mobile) and reader. The exit status is 1 if a row was not taken.

    A read of a study is taken for the radiograph that was drawn of it. It does not count for the gate if an answer
    about the study had left the box.
    """
    from appliance.storage.database import open_database
    from provisioning.operation.reads import import_reports, import_table

    if (file is None) != reports:
        raise click.UsageError("name a FILE, or give --reports")
    config = own_configuration(config_path)
    engine = open_database(config.database)
    if file is None:
        done = import_reports(engine, SampleKind(kind), by_hand(reason))
        out.print(f"{done.written} reads taken from final reports; {done.without_report} wait for a report")
        if done.open_reports:
            out.print(f"[yellow]{done.open_reports} reports are left to a person[/]")
        return
    done = import_table(config, engine, file, SampleKind(kind), by_hand(reason))
    for line, why in done.refusals.items():
        out.print(f"line {line}: {escape(why)}")
    out.print(f"{done.written} reads taken, {len(done.refusals)} not")
    sys.exit(1 if done.refusals else 0)


for command in (report, verify):
    validate.add_command(command)
