"""`osteon backup` and `osteon restore`."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape

from appliance.service.command import config_option, existing_config

from .options import by_hand, configuration, out, own_configuration, reason_option


@click.command()
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--spool", "with_spool", is_flag=True, help="Include the radiographs and artefacts of the spool.")
@config_option
def backup(target: Path, with_spool: bool, config_path: Path | None) -> None:
    """Write database, configuration and installed packs into the new file TARGET; the roles may run.

    The file holds patients' data and the secrets of the configuration: keep it where those may be kept.
    """
    from provisioning.operation.backup import DATABASE, back_up

    manifest = back_up(configuration(config_path), existing_config(config_path), target, with_spool=with_spool)
    size_mb = target.stat().st_size / 1e6
    out.print(f"{escape(str(target))}: {', '.join(manifest.parts)}, {len(manifest.digests)} files, {size_mb:.1f} MB")
    if DATABASE not in manifest.digests:
        out.print("[yellow]without the database: copy PostgreSQL with its own tools[/]")


@click.command()
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@reason_option
@config_option
def restore(source: Path, reason: str, config_path: Path | None) -> None:
    """Put the backup SOURCE into state_dir; the roles have to be stopped.

    The present database is kept in a folder before-restore-TIME. All deliveries are held until `osteon queue release`.
    """
    from provisioning.operation.backup import SETTINGS
    from provisioning.operation.backup import restore as put_back

    config = own_configuration(config_path)
    done = put_back(config, source, by_hand(reason))
    manifest = done.manifest
    out.print(f"restored {', '.join(manifest.parts)} of {manifest.made_at} (Osteon {manifest.version})")
    if SETTINGS in manifest.digests:
        out.print(
            f"its configuration is {escape(str(config.state_dir / 'restored-osteon.toml'))}: compare it with yours"
        )
    if done.accounts_left:
        names = ", ".join(done.accounts_left)
        out.print(
            f"[yellow]accounts of the backup that did not come back, or not as they were: {escape(names)}; the present "
            "ones are kept: see `osteon account list`, and `osteon account add` for each that is still wanted[/]"
        )
    if done.withdrawn_since:
        out.print(
            f"[red]withdrawn after the backup, which does not know it: {', '.join(done.withdrawn_since)}; "
            "`osteon queue show` names each: withdraw it again before anything leaves[/]"
        )
    if done.set_back:
        out.print(
            f"[yellow]set back, since they were further in the backup than before the restore: "
            f"{', '.join(done.set_back)}: see `osteon phase list`[/]"
        )
    out.print(
        "next: systemctl start osteon.target, osteon queue list, and when it is as you expect, osteon queue release"
    )
