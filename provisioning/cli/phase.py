"""`osteon phase`: the phases of sites, which decide what leaves the box."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from appliance.domain.identifiers import Site
from appliance.domain.phase import Phase
from appliance.service.command import config_option

from .options import as_text, by_hand, configuration, out, own_configuration, sites_of

ALL = "all"


@click.group()
def phase() -> None:
    """Show and set the phase of each site: shadow, familiarise, validate or live."""


@phase.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line and site.")
@config_option
def phase_list(as_json: bool, config_path: Path | None) -> None:
    """List the sites with their phase, since when, by whom and why."""
    from appliance.storage.phases import site_phases
    from provisioning.operation.queues import reading

    with reading(configuration(config_path)) as c:
        found = site_phases(c) if c else []
    if as_json:
        for one in found:
            click.echo(json.dumps(dataclasses.asdict(one), default=as_text))
        return
    if not found:
        out.print("no site has a phase yet: the analyse role makes them when it starts")
        return
    table = Table("site", "phase", "since", "by", "why")
    for one in found:
        name = f"[yellow]{one.phase}, set back[/]" if one.is_revoked else one.phase.value
        since = f"{one.since.astimezone():%Y-%m-%d %H:%M %Z}"
        table.add_row(str(one.site.label), name, since, escape(one.person), escape(one.reason))
    out.print(table)


@phase.command("set")
@click.argument("sites", metavar="SITES")
@click.argument("to", metavar="PHASE", type=click.Choice([each.value for each in Phase]))
@click.option("--reason", required=True, help="Why; kept in the audit log. Name no patient.")
@config_option
def phase_set(sites: str, to: str, reason: str, config_path: Path | None) -> None:
    """Set the phase of SITES, with commas, or of all.

    \b
    shadow       everything is computed and kept, and nothing leaves the box; what waits is dropped
    familiarise  results leave, marked "under evaluation", and flag nothing
    validate     the same, while radiologists read a sample (osteon validate start)
    live         results leave and flag; only a validation that has passed its gate leads here
    """
    from appliance.service.pipeline_assembly import pack_of
    from appliance.storage.database import open_database, readers
    from appliance.storage.going_live import change_phase
    from appliance.storage.phases import site_phases

    named = () if sites == ALL else sites_of(sites)
    config = own_configuration(config_path)
    engine = open_database(config.database)
    with readers(engine).connect() as c:
        chosen = named or [each.site for each in site_phases(c)]
    clears = {Site(name): spec.clears for name, spec in pack_of(config).classifiers.items()}
    dropped = change_phase(engine, chosen, Phase(to), by_hand(reason), clears)
    names = ", ".join(str(each.label) for each in chosen) or "no site"
    out.print(f"{names}: {to}" + (f"; deliveries dropped: {dropped}" if dropped or to == Phase.SHADOW else ""))
