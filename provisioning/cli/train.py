"""`osteon train`: train the packs."""

from __future__ import annotations

from pathlib import Path

import click

from .options import EXISTING


@click.command()
@click.argument("pack", type=click.Choice(["phantom", "fracatlas"]))
@click.option("--data", type=EXISTING, help="Folder of the FracAtlas data set (for the pack fracatlas).")
@click.option("--out", "folder", type=click.Path(path_type=Path), required=True, help="Where the pack is written.")
@click.option("--cache", type=click.Path(path_type=Path), default=Path("~/.cache/osteon/training"), show_default=True)
def train(pack: str, data: Path | None, folder: Path, cache: Path) -> None:
    """Train a model PACK (needs the extra "train")."""
    from provisioning.training.recipes import train_fracatlas, train_phantom

    if pack == "phantom":
        train_phantom(folder, cache.expanduser())
    elif data is None:
        raise click.UsageError("the pack fracatlas needs --data")
    else:
        train_fracatlas(data, folder, cache.expanduser())
