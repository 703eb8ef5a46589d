"""`osteon validate refit`: calibration and operating points from the reads of a sample."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from appliance.domain.identifiers import Site
from appliance.service.command import config_option

from .options import configuration, out


@click.command()
@click.option(
    "--site",
    "sites",
    type=click.Choice([site.value for site in Site]),
    multiple=True,
    required=True,
    help="Site whose engine is refitted; may be repeated.",
)
@click.option("--out", "folder", type=click.Path(path_type=Path), required=True, help="Folder to write the pack to.")
@click.option("--validation", "number", type=click.IntRange(1), help="Number of the validation. Default: the newest.")
@click.option("--version", default="", help="Version of the new pack. Default: the present one and -local-NUMBER.")
@config_option
def refit(sites: tuple[str, ...], folder: Path, number: int | None, version: str, config_path: Path | None) -> None:
    """Write a new version of the pack, with calibration and operating points from your own radiologists' reads.

    The networks stay as they are. The sites go back to shadow with the new pack, and need a new sample: the reads that
    an engine was fitted to cannot prove it.
    """
    from provisioning.operation.validation_refit import refit_sites

    chosen = tuple(dict.fromkeys(map(Site, sites)))
    pack, found = refit_sites(configuration(config_path), chosen, number, version, folder)
    table = Table("site", "radiographs", "", "sensitivity", "specificity", "operating points", "AUROC")
    for site, one in found.items():
        engine = pack.classifiers[site]
        for name, measured in (("now", one.before), ("refitted", one.after)):
            points = f"{engine.doubt:.3f}, {engine.positive:.3f}" if name == "refitted" else ""
            shares = (measured[f"{share}_doubt"] for share in ("sensitivity", "specificity"))
            counted = f"{measured['n']}, {measured['positives']} fractured"
            table.add_row(site, counted, name, *map(_percent, shares), points, f"{measured['auroc'][0]:.3f}")
    out.print(table)
    out.print("measured on radiographs that the values were not fitted to; a possible fracture counts as positive")
    for site, one in found.items():
        if one.after["sensitivity_doubt"][0] < one.before["sensitivity_doubt"][0]:
            out.print(f"[yellow]{site}: the refitted engine finds fewer of these fractures than the present one[/]")
        if not pack.classifiers[site].clears:
            out.print(f'[yellow]{site}: the refitted engine may not say "no fracture found"[/]')
    out.print(f"wrote {escape(str(folder))}: pack {pack.name} {pack.version}, without a signature")
    out.print(
        f"to use it: [cyan]osteon pack install {escape(str(folder))}[/], set analyse.pack = "
        f'"{pack.name}-{pack.version}", and restart osteon-analyse; then start another validation'
    )


def _percent(bounds: list[float]) -> str:
    point, low, high = bounds
    return f"{point:.1%} ({low:.1%} to {high:.1%})"
