"""`osteon pack`: list, show, verify, install, evaluate and sign packs."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from appliance.service.command import config_option

from .options import EXISTING, by_hand, configuration, out, own_configuration, reason_option, with_pack


@click.group()
def pack() -> None:
    """Manage packs, the folders of networks that read the radiographs."""


@pack.command("list")
@config_option
def pack_list(config_path: Path | None) -> None:
    """List the packs that analyse.pack can name.

    A pack that cannot be used is shown with its defect.
    """
    from engines.pack import PackError
    from provisioning.operation.packs import list_packs

    config = configuration(config_path)
    table = Table(caption="* the pack of analyse.pack")
    for name in ("pack", "version", "digest", "sites", "kind"):
        table.add_column(name)
    for name, found in list_packs(config):
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
    """Show the model card of a pack.

    The card names the training data, the measured performance with its intervals, and the uses that are ruled out.
    """
    from rich.markdown import Markdown

    from provisioning.operation.packs import model_card

    out.print(Markdown(model_card(name, configuration(config_path))))


@pack.command("verify")
@click.argument("name")
@config_option
def pack_verify(name: str, config_path: Path | None) -> None:
    """Check that a pack can be used on this machine.

    It must be undamaged and compute here as it did when it was measured. Checked are the digests of its files,
    its preprocessing, its signature (where analyse.trusted_keys names keys), and
    the golden outputs of every network.
    """
    from provisioning.operation.packs import find_pack, verify

    config = configuration(config_path)
    found, differences, signer = verify(find_pack(name, config), config)
    out.print(f"{found.name} {found.version} {found.digest}")
    for network, difference in differences.items():
        out.print(f"  {network:<12} off its goldens by {difference:.1e} of their maximum")
    if signer:
        out.print(f"  signed by the holder of {signer}")
    else:
        out.print("  signature not checked: analyse.trusted_keys names no key")


@pack.command("install")
@click.argument("source", type=EXISTING)
@reason_option
@config_option
def pack_install(source: Path, reason: str, config_path: Path | None) -> None:
    """Check a pack and install it beside the others.

    SOURCE is a folder or a zip archive. Running roles keep their pack until analyse.pack is changed and osteon-
    analyse restarted.
    """
    from provisioning.operation.packs import install

    name = install(source, own_configuration(config_path), by_hand(reason)).name
    out.print(f'installed; to use it, set analyse.pack = "{name}" and restart osteon-analyse')


@pack.command("evaluate")
@click.argument("manifest", type=EXISTING)
@click.option("--pack", "name", help="Name or folder of a pack. Default: analyse.pack.")
@click.option(
    "--out",
    "report",
    type=click.Path(path_type=Path),
    default=Path("evaluation.html"),
    show_default=True,
    help="HTML file to write.",
)
@click.option("--limit", type=click.IntRange(1), help="Largest number of radiographs, evenly spread. Default: all.")
@config_option
def pack_evaluate(manifest: Path, name: str | None, report: Path, limit: int | None, config_path: Path | None) -> None:
    """Measure a pack on labelled radiographs.

    The MANIFEST is a CSV that names them; the result is an HTML page. It shows the worst errors and so holds
    pictures of patients' radiographs: keep it where those may be kept.
    """
    from provisioning.training.evaluation import evaluate_manifest

    evaluate_manifest(manifest, with_pack(configuration(config_path), name), report, limit, out)


@pack.command("sign")
@click.argument("folder", type=EXISTING)
@click.option("--key", required=True, type=EXISTING, help="Ed25519 private key, PEM without a password.")
def pack_sign(folder: Path, key: Path) -> None:
    """Sign the pack in FOLDER.

    Boxes whose analyse.trusted_keys name the public key accept it.
    """
    from engines.pack import PackError
    from engines.signature import sign

    try:
        out.print(f"wrote {sign(folder, key)}")
    except PackError as error:
        raise click.ClickException(str(error)) from error
