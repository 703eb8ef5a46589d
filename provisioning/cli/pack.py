"""`osteon pack`: list, show, verify, install, evaluate and sign packs."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from appliance.service.command import config_option

from .options import EXISTING, configuration, out, with_pack


@click.group()
def pack() -> None:
    """The networks: which there are, whether they can be trusted, and how new ones come in."""


@pack.command("list")
@config_option
def pack_list(config_path: Path | None) -> None:
    """Packs that analyse.pack can name, and what is wrong with those that cannot be used."""
    from engines.pack import PackError
    from provisioning.operation.packs import packs

    config = configuration(config_path)
    table = Table(caption="* analyse.pack")
    for name in ("pack", "version", "digest", "sites", "kind"):
        table.add_column(name)
    for name, found in packs(config):
        marked = escape(name) + (" *" if name == config.analyse.pack else "")
        if isinstance(found, PackError):
            table.add_row(marked, "-", "-", f"[red]{escape(str(found))}[/]", "-")
        else:
            table.add_row(marked, found.version, found.digest[:12], ", ".join(found.classifiers), found.kind)
    out.print(table)


@pack.command("show")
@click.argument("name")
@config_option
def pack_show(name: str, config_path: Path | None) -> None:
    """The model card of a pack: data, measured performance with intervals, what it must not be used for."""
    from rich.markdown import Markdown

    from provisioning.operation.packs import folder_of

    out.print(Markdown((folder_of(name, configuration(config_path)) / "README.md").read_text()))


@pack.command("verify")
@click.argument("name")
@config_option
def pack_verify(name: str, config_path: Path | None) -> None:
    """Check digests, preprocessing, signature and, on this machine, the golden outputs of every network."""
    from provisioning.operation.packs import folder_of, verify

    config = configuration(config_path)
    found, worst, signer = verify(folder_of(name, config), config)
    out.print(f"{found.name} {found.version} {found.digest}")
    for network, difference in worst.items():
        out.print(f"  {network:<12} off its goldens by {difference:.1e} of their maximum")
    out.print(f"  signed by the holder of {signer}" if signer else "  signature not asked for (analyse.trusted_keys)")


@pack.command("install")
@click.argument("source", type=EXISTING)
@config_option
def pack_install(source: Path, config_path: Path | None) -> None:
    """Check the pack in SOURCE, a folder or zip archive, and put it beside the others."""
    from provisioning.operation.packs import install

    name = install(source, configuration(config_path)).name
    out.print(f'installed; set analyse.pack = "{name}" and restart osteon-analyse to use it')


@pack.command("evaluate")
@click.argument("manifest", type=EXISTING)
@click.option("--pack", "name", help="Name of a pack, or a folder; default: analyse.pack.")
@click.option("--out", "report", type=click.Path(path_type=Path), default=Path("evaluation.html"), show_default=True)
@click.option("--limit", type=click.IntRange(1), help="At most so many radiographs, evenly spread.")
@config_option
def pack_evaluate(manifest: Path, name: str | None, report: Path, limit: int | None, config_path: Path | None) -> None:
    """Run a pack over the labelled radiographs of a MANIFEST (CSV) and write a page with what was measured.

    The page shows the worst errors, so it holds pictures of those radiographs: keep it where they may be.
    """
    from provisioning.training.evaluation import evaluate_manifest

    evaluate_manifest(manifest, with_pack(configuration(config_path), name), report, limit, out)


@pack.command("sign")
@click.argument("folder", type=EXISTING)
@click.option("--key", required=True, type=EXISTING, help="Ed25519 private key, PEM without a password.")
def pack_sign(folder: Path, key: Path) -> None:
    """Sign the pack in FOLDER for appliances that trust the key."""
    from engines.pack import PackError
    from engines.signature import sign

    try:
        out.print(f"wrote {sign(folder, key)}")
    except PackError as error:
        raise click.ClickException(str(error)) from error
