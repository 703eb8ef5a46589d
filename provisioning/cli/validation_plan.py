"""`osteon validate plan`: the size of a sample, before it is drawn."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape
from rich.table import Table

from appliance.service.command import config_option

from .options import configuration, out

if TYPE_CHECKING:
    from provisioning.operation.validation_plan import Plan, Share

MOST_DEVICES = 5
"""Devices of a site that are shown, the most frequent first."""


@click.command()
@click.option(
    "--accuracy",
    type=click.FloatRange(0.5, 1.0),
    default=0.977,
    show_default=True,
    help="True accuracy that you hope for.",
)
@click.option(
    "--fractures",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Share of the radiographs that show a fracture. Default: the share of suspicious answers of the last 90 days.",
)
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.2,
    show_default=True,
    help="Share of the patients that are drawn, as of osteon validate start.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@config_option
def plan(accuracy: float, fractures: float | None, share: float, as_json: bool, config_path: Path | None) -> None:
    """Show how many radiographs a validation needs, and how yours differ from those of the pack.

    The accuracy that a sample proves is its lower bound, so that a system that is only a little better than the limit
    needs a large sample to prove it.
    """
    from provisioning.operation.validation_plan import plan_validation

    found = plan_validation(configuration(config_path), accuracy, fractures, share)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(found)))
        return
    _print_sizes(found)
    _print_sites(found)


def _print_sizes(found: Plan) -> None:
    from appliance.domain.finding import percent
    from appliance.rollout.gate import (
        ACCURACY,
        LEAST_FRACTURES,
        LEAST_FRACTURES_OF_SITE,
        LEAST_OTHERS_OF_SITE,
        least_right,
    )

    table = Table(
        "answered and read",
        "to draw",
        f"weeks at {found.share:.0%}",
        "right ones to pass",
        "chance of accuracy",
        f"{LEAST_FRACTURES} fractures",
    )
    for one in found.samples:
        right = least_right(one.scored)
        chances = (percent(one.chance_of_accuracy), percent(one.chance_of_fractures))
        weeks = "-" if one.weeks is None else f"{one.weeks:.0f}"
        table.add_row(str(one.scored), str(one.to_draw or "-"), weeks, str(right), *chances)
    out.print(table)
    origin = (
        f"as in the last {found.days} days" if found.are_measured else "assumed: too few radiographs came in 90 days"
    )
    out.print(f"answered are {found.coverage:.0%} of the radiographs ({origin}), {found.fractures:.0%} show a fracture")
    out.print(f"if the true accuracy is {found.accuracy:.1%}:")
    for chance, n in found.needed.items():
        if n is None:
            limit = f"it is too close to {ACCURACY:.0%}" if found.accuracy > ACCURACY else f"it is below {ACCURACY:.0%}"
            out.print(f"[yellow]no sample passes the criterion of accuracy with a chance of {chance:.0%}: {limit}[/]")
        else:
            out.print(
                f"{n} or more radiographs, answered and read, pass the criterion of accuracy with a chance of at least "
                f"{chance:.0%}"
            )
    for site, accuracy in found.out_of_reach.items():
        out.print(
            f"[yellow]{site.label}: not attainable with this pack: in its own data the engine was right in "
            f"{accuracy:.0%} of the regions, and the gate needs more than {ACCURACY:.0%}[/]"
        )
    out.print(f"each site needs {LEAST_FRACTURES_OF_SITE} fractures and {LEAST_OTHERS_OF_SITE} others of its own")


def _print_sites(found: Plan) -> None:
    if not found.sites:
        out.print("no radiograph of the last 90 days names a site that the pack reads")
        return
    table = Table("site", "patients a week", "answered", "age: here (pack)", "device: here (pack)")
    for site in found.sites:
        devices = site.devices[:MOST_DEVICES]
        table.add_row(
            site.site + ("" if site.clears else " *"),
            f"{site.patients_per_week:.1f}",
            f"{site.mix.answered} of {site.mix.radiographs}",
            *("\n".join(_words(shares)) for shares in (site.ages, devices)),
        )
    out.print(table)
    if any(not site.clears for site in found.sites):
        out.print('* the pack does not let this engine say "no fracture found": the site cannot go live')
    silent = {site.pack for site in found.sites if all(share.stated is None for share in (*site.ages, *site.devices))}
    for pack in sorted(silent):
        out.print(f"pack {escape(pack)} states neither ages nor devices of its data: `osteon pack show {escape(pack)}`")


def _words(shares: Sequence[Share]) -> list[str]:
    return [
        f"{escape(share.name)}: {share.here:.0%}" + ("" if share.stated is None else f" ({share.stated:.0%})")
        for share in shares
    ]
