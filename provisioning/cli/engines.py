"""`osteon engines`: build TensorRT plans."""

from __future__ import annotations

from pathlib import Path

import click

from appliance.service.command import config_option

from .options import configuration, out, with_pack


@click.group()
def engines() -> None:
    """The networks of a pack as plans of TensorRT."""


@engines.command("build")
@click.option(
    "--target", help="sm80, sm86, sm89, sm120; or here. Default: the card of this machine, else sm89 (RTX 4090)."
)
@click.option("--pack", "name", help="Name of a pack, or a folder; default: analyse.pack.")
@click.option("--half/--full", default=None, help="Classifiers compute in float16; default: analyse.precision.")
@config_option
def engines_build(target: str | None, name: str | None, half: bool | None, config_path: Path | None) -> None:
    """Build what is not there yet: ahead of time with tensorrt_rtx, which needs no GPU, or here with tensorrt."""
    from rich.progress import track

    from appliance.service.pipeline_assembly import pack_of
    from engines.build import build_plans, networks
    from engines.plan import PlanError

    config = with_pack(configuration(config_path), name)
    pack = pack_of(config)
    try:
        target = target or _target_here()
        plans = build_plans(pack, target, config.plans_dir, half=config.analyse.half if half is None else half)
        for built in track(plans, total=len(networks(pack)), description="building", console=out, transient=True):
            size = f"{built.file.stat().st_size / 1e6:.1f} MB"
            out.print(f"{built.network:<12} {size:>8}  {built.file.name}{'  (was there)' if built.was_there else ''}")
    except PlanError as error:
        raise click.ClickException(str(error)) from error


def _target_here() -> str:
    from appliance.gpu import NoGpu, card
    from engines.plan import target_of

    try:
        return target_of(card().compute_capability)
    except NoGpu:
        return "sm89"
