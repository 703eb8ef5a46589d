"""`osteon train`: train the packs."""

from __future__ import annotations

from pathlib import Path

import click

from .options import EXISTING


@click.command()
@click.argument("pack", type=click.Choice(["phantom", "fracatlas"]))
@click.option(
    "--data",
    type=EXISTING,
    help="Radiographs to train on, for the pack fracatlas: a manifest, or the folder of FracAtlas or GRAZPEDWRI-DX.",
)
@click.option("--out", "folder", type=click.Path(path_type=Path), required=True, help="Folder to write the pack to.")
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    default=Path("~/.cache/osteon/training"),
    show_default=True,
    help="Folder of finished steps, from which an interrupted training goes on.",
)
def train(pack: str, data: Path | None, folder: Path, cache: Path) -> None:
    """Train a model PACK (needs the extra "train").

    The pack phantom is trained on drawn radiographs, fracatlas on real ones. The command needs the extra "train"
    (pip install 'osteon[train]') and takes hours on
    a CPU.
    """
    from provisioning.training.recipes import train_fracatlas, train_phantom

    if pack == "phantom":
        train_phantom(folder, cache.expanduser())
    elif data is None:
        raise click.UsageError("the pack fracatlas is trained on radiographs: name their folder with --data")
    else:
        train_fracatlas(data, folder, cache.expanduser())
