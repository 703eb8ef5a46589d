"""`osteon engines`: build the TensorRT plans that a GPU runs."""

from __future__ import annotations

from pathlib import Path

import click

from appliance.service.command import config_option

from .options import out, own_configuration, with_pack

TARGET_WITHOUT_GPU = "sm89"
"""Target where this machine has no GPU: the RTX 4090 of the box."""


@click.group()
def engines() -> None:
    """Build the TensorRT plans that a GPU runs."""


@engines.command("build")
@click.option(
    "--target",
    help="GPU to build for: sm80, sm86, sm89 (RTX 4090), sm120, or here for the GPU of this machine. "
    "Default: the GPU of this machine, or sm89 if it has none.",
)
@click.option("--pack", "name", help="Name or folder of a pack. Default: analyse.pack.")
@click.option("--half/--full", default=None, help="Compute classifiers in float16. Default: analyse.precision.")
@config_option
def engines_build(target: str | None, name: str | None, half: bool | None, config_path: Path | None) -> None:
    """Build the plans that are missing.

    The first start of the role analyse is quick if its plans are built before. The package tensorrt_rtx builds
    for another GPU too and needs none itself; the package tensorrt builds only for the
    GPU of this machine.
    """
    from rich.progress import track

    from appliance.gpu import NoGpu, card
    from appliance.service.pipeline_assembly import pack_of
    from engines.build import build_plans, networks
    from engines.plan import PlanError, target_of

    config = with_pack(own_configuration(config_path), name)
    pack = pack_of(config)
    try:
        try:
            seen = card()
        except NoGpu:
            seen = None
        target = target or (target_of(seen.compute_capability) if seen else TARGET_WITHOUT_GPU)
        half = config.analyse.half if half is None else half
        plans = build_plans(pack, target, config.plans_dir, half=half, machine=str(seen))
        for built in track(plans, total=len(networks(pack)), description="building", console=out, transient=True):
            size = f"{built.file.stat().st_size / 1e6:.1f} MB"
            note = "  (built before)" if built.was_there else ""
            out.print(f"{built.network:<12} {size:>8}  {built.file.name}{note}")
    except PlanError as error:
        raise click.ClickException(str(error)) from error
