"""The verbs of `osteon`."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from appliance.config import Configuration, ConfigurationError, read_configuration
from appliance.errors import OsteonError

if TYPE_CHECKING:
    from provisioning.queues import Job

DEFAULT_CONFIG = Path("/etc/osteon/osteon.toml")
EXISTING = click.Path(exists=True, path_type=Path)
config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="OSTEON_CONFIG",
    help=f"Configuration file. Default: {DEFAULT_CONFIG} if it exists, else the built-in defaults.",
)
out = Console() if sys.stdout.isatty() else Console(width=int(os.environ.get("COLUMNS", 240)))
"""What goes into a pipe is not wrapped: lines are what `grep` finds."""


class _Verbs(click.Group):
    """Turns the errors of the house into one sentence and an exit status; anything else is a bug and shows itself."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            raise click.ClickException("the configuration cannot be used\n  " + "\n  ".join(error.problems)) from error
        except OsteonError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="osteon")
def main() -> None:
    """Osteon reads bone radiographs for fractures, as a second reader: the radiologist decides.

    \b
    First steps:
      osteon demo                      the whole product on phantoms, against a small hospital on this machine
      osteon read FOLDER               the pipeline on files, without any network
      osteon check --config FILE       is the configuration right?
      osteon run all --config FILE     receive, analyse, deliver and status on one desk
    """
    from appliance.service.log import hush_libraries

    hush_libraries()


@main.command()
@click.argument("role", type=click.Choice(["receive", "analyse", "deliver", "status", "all"]))
@config_option
def run(role: str, config_path: Path | None) -> None:
    """Run one ROLE until it is told to stop, or all four.

    \b
    receive   Storage SCP: keeps what the PACS or the X-ray room sends
    analyse   preprocess, localise, classify
    deliver   answers to PACS and RIS, again and again until they have arrived
    status    the health page
    """
    from appliance.service import assembly, supervisor, worker
    from appliance.service.log import set_up_logging

    set_up_logging()
    os.umask(0o027)  # what is kept is nobody else's to read
    path = _config_path(config_path)
    if role == "all":
        read_configuration(path)
        supervisor.run_all(path)
    else:
        worker.run(*assembly.role_of(role, read_configuration(path)))


@main.command()
@click.option("--radiographs", type=EXISTING, help="Folder of DICOM, JPEG or PNG; default: phantoms.")
@click.option("--limit", type=click.IntRange(1), help="At most so many, evenly spread over the folder.")
@click.option("--out", "folder", type=click.Path(path_type=Path), default=Path("demo"), show_default=True)
@click.option("--keep", is_flag=True, help="Leave the status page up until Ctrl-C.")
def demo(radiographs: Path | None, limit: int | None, folder: Path, keep: bool) -> None:
    """Play the whole product on this machine: C-STORE in, SC, SR, HL7 and FHIR out.

    Phantoms are read by networks that were trained on phantoms (pack "phantom"), real radiographs by the pack
    "fracatlas". What came back lies in the folder --out: pacs/, ris/, fhir/, pictures/, reports/.
    """
    from provisioning.demonstration import demonstrate

    demonstrate(folder, out, radiographs, limit, keep)


@main.command()
@click.argument("files", nargs=-1, required=True, type=EXISTING)
@click.option("--to", "peer", required=True, metavar="HOST:PORT", help="Where the Storage SCP listens.")
@click.option("--called", default="OSTEON", show_default=True, help="Its AE title.")
@click.option("--calling", default="OSTEON-SEND", show_default=True, help="Our AE title.")
def send(files: tuple[Path, ...], peer: str, called: str, calling: str) -> None:
    """Send DICOM FILES, or folders of them, by C-STORE."""
    from rich.progress import track

    from appliance.dicom.sender import send_files
    from provisioning.pictures import radiograph_files

    host, _, port = peer.rpartition(":")
    if not host or not port.isdecimal():
        raise click.BadParameter(f"{peer!r} is not HOST:PORT", param_hint="--to")
    paths, failures = radiograph_files(list(files)), 0
    sending = send_files(paths, host=host, port=int(port), called_ae_title=called, calling_ae_title=calling)
    for path, status in track(sending, total=len(paths), description="C-STORE", console=out):
        if not status.is_there:
            failures += 1
            out.print(f"[red]not stored:[/] {escape(f'{path}: {status.words}')}")
    out.print(f"{len(paths) - failures} of {len(paths)} stored")
    sys.exit(1 if failures else 0)


@main.command()
@click.argument("files", nargs=-1, required=True, type=EXISTING)
@click.option("--pack", default="fracatlas", show_default=True, help="Name of a pack, or a pack's folder.")
@click.option("--out", "folder", type=click.Path(path_type=Path), help="Folder for overlays (PNG) and results.json.")
@click.option("--limit", type=click.IntRange(1), help="At most so many, evenly spread.")
def read(files: tuple[Path, ...], pack: str, folder: Path | None, limit: int | None) -> None:
    """Analyse FILES or folders (DICOM, JPEG, PNG) without any network.

    Prints a table with an answer, or the reason why there is none, for each file.
    """
    from provisioning.reading import read_files

    read_files(list(files), pack, folder, limit, out)


@main.group()
def queue() -> None:
    """Look at what waits, failed or was not analysed, and decide about it."""


@queue.command("list")
@config_option
@click.option("--all", "everything", is_flag=True, help="Finished jobs too.")
@click.option("--json", "as_json", is_flag=True, help="One object per job, one per line.")
def queue_list(config_path: Path | None, everything: bool, as_json: bool) -> None:
    """Jobs that wait, are parked or were not analysed, with the reason."""
    from provisioning.queues import jobs

    _show_jobs(jobs(_configuration(config_path), everything), as_json, "nothing waits, and nothing failed")


@queue.command("find")
@click.argument("uid")
@config_option
@click.option("--json", "as_json", is_flag=True, help="One object per job, one per line.")
def queue_find(uid: str, config_path: Path | None, as_json: bool) -> None:
    """What became of the instance with that SOP Instance UID, or of the study with that Study Instance UID."""
    from provisioning.queues import jobs

    _show_jobs(jobs(_configuration(config_path), True, uid), as_json, "nothing of that UID was kept")


@queue.command("show")
@click.argument("job")
@config_option
def queue_show(job: str, config_path: Path | None) -> None:
    """Everything that is known of one JOB, such as analysis:12 or delivery:40."""
    from provisioning.queues import one_job

    out.print_json(json.dumps(one_job(_configuration(config_path), job), default=_text))


@queue.command("retry")
@click.argument("job")
@config_option
def queue_retry(job: str, config_path: Path | None) -> None:
    """Try a JOB again, now; what is done is answered anew, as a new revision, or sent again, as the same object."""
    from provisioning.queues import retry

    out.print(f"{job} is {retry(_configuration(config_path), job)}")


@queue.command("drop")
@click.argument("job")
@click.option("--reason", required=True, help="Why; it is kept.")
@config_option
def queue_drop(job: str, reason: str, config_path: Path | None) -> None:
    """Give up on a parked or waiting JOB for good."""
    from provisioning.queues import drop

    out.print(f"{job} is {drop(_configuration(config_path), job, reason)}")


@queue.command("reroute")
@click.argument("job")
@click.option("--to", required=True, help="A destination of the same kind, by its name.")
@config_option
def queue_reroute(job: str, to: str, config_path: Path | None) -> None:
    """Send a delivery (JOB) that waits or is parked to another destination instead."""
    from provisioning.queues import reroute

    out.print(f"{job} is {reroute(_configuration(config_path), job, to)}, for {to}")


@queue.command("hold")
@click.option("--to", default="*", show_default=True, help="A destination by its name; * for all.")
@click.option("--reason", required=True, help="Why; it stands on the status page.")
@config_option
def queue_hold(to: str, reason: str, config_path: Path | None) -> None:
    """Let no answer leave until `osteon queue release`; everything goes on being received, read and kept."""
    from provisioning.queues import hold

    hold(_configuration(config_path), to, reason)
    out.print(f"nothing leaves for {escape(to)}")


@queue.command("release")
@click.option("--to", default="*", show_default=True, help="The name that is held; * for the hold of all.")
@config_option
def queue_release(to: str, config_path: Path | None) -> None:
    """Take back an `osteon queue hold`."""
    from provisioning.queues import release

    release(_configuration(config_path), to)
    out.print(f"what waits for {escape(to)} leaves, unless something else holds it")


@main.command()
@click.argument("uid")
@click.option("--reason", required=True, help="Why, for people; it goes along, so name no patient.")
@click.option(
    "--because",
    type=click.Choice(["quality", "safety", "worklist"]),
    default="quality",
    show_default=True,
    help="Title of the rejection note: quality, patient safety, or an incorrect worklist entry (wrong patient).",
)
@config_option
def withdraw(uid: str, reason: str, because: str, config_path: Path | None) -> None:
    """Take back every answer on the study UID (or of which UID is a radiograph or an answer)."""
    from appliance.dicom import codes
    from appliance.service.withdrawal import withdraw as take_back
    from appliance.storage.database import open_database

    titles = {
        "quality": codes.REJECTED_FOR_QUALITY,
        "safety": codes.REJECTED_FOR_PATIENT_SAFETY,
        "worklist": codes.INCORRECT_WORKLIST_ENTRY,
    }
    config = _configuration(config_path)
    done = take_back(config, open_database(config.database), uid, reason, titles[because])
    nowhere = "nowhere" if done.left_at else "nowhere, since nothing had left"
    where = ", ".join(done.revoked_at) or nowhere
    out.print(f"{done.dropped} deliveries are dropped; taken back at: {escape(where)}")
    if done.left_at:
        names = ", ".join(done.left_at)
        out.print(
            f"[yellow]not taken back at: {escape(names)}, no destination any more; take it back there by hand, "
            "or configure it again and repeat this[/]"
        )


@main.command()
@config_option
def check(config_path: Path | None) -> None:
    """Check the configuration and print it with every default; each error with its key, all at once."""
    from appliance.compute import choose_compute
    from appliance.service.deliver import outlet_of
    from appliance.service.engines import pack_of
    from provisioning.listening import doubts, problems

    config = _configuration(config_path)
    for destination in config.destinations:
        outlet_of(destination)  # whose certificates are read
    if found := problems(config):
        raise ConfigurationError(_config_path(config_path), found)
    pack = pack_of(config)
    values = config.model_dump(mode="json")
    for shown in values["destinations"]:
        if shown.get("bearer"):
            shown["bearer"] = "********"
    out.print_json(json.dumps(values))
    out.print(f"pack {pack.name} {pack.version} {pack.digest[:12]} ({pack.kind}): {', '.join(pack.classifiers)}")
    compute = choose_compute(config.analyse.compute, half=config.analyse.half)
    out.print(escape(f"{compute.name}: {compute.reason}"))
    for doubt in doubts(config):
        out.print(f"[yellow]{escape(doubt)}[/]")
    out.print("[green]the configuration can be used[/]")


@main.group()
def pack() -> None:
    """The networks: which there are, whether they can be trusted, and how new ones come in."""


@pack.command("list")
@config_option
def pack_list(config_path: Path | None) -> None:
    """Packs that analyse.pack can name, and what is wrong with those that cannot be used."""
    from engines.pack import PackError
    from provisioning.packs import packs

    config = _configuration(config_path)
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

    from provisioning.packs import folder_of

    out.print(Markdown((folder_of(name, _configuration(config_path)) / "README.md").read_text()))


@pack.command("verify")
@click.argument("name")
@config_option
def pack_verify(name: str, config_path: Path | None) -> None:
    """Check digests, preprocessing, signature and, on this machine, the golden outputs of every network."""
    from provisioning.packs import folder_of, verify

    config = _configuration(config_path)
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
    from provisioning.packs import install

    name = install(source, _configuration(config_path)).name
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
    from provisioning.evaluation import evaluate_manifest

    evaluate_manifest(manifest, _with_pack(_configuration(config_path), name), report, limit, out)


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


@main.group()
def hl7() -> None:
    """What the RIS gets."""


@hl7.command("preview")
@click.argument("destination")
@click.argument("files", nargs=-1, type=EXISTING)
@click.option(
    "--message",
    type=click.Choice(["report", "revision", "withdrawal", "order"]),
    default="report",
    show_default=True,
    help="The report, its second revision, its withdrawal, or the order's priority update.",
)
@click.option("--raw", is_flag=True, help="As it is on the wire, one segment a line.")
@config_option
def hl7_preview(destination: str, files: tuple[Path, ...], message: str, raw: bool, config_path: Path | None) -> None:
    """Show the message that DESTINATION would get for a phantom's study, or for FILES; nothing is sent."""
    from provisioning.hl7_preview import preview

    preview(_configuration(config_path), destination, list(files), message, raw, out)  # type: ignore[arg-type]


@main.group()
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

    from appliance.service.engines import pack_of
    from engines.build import build_plans, networks
    from engines.plan import PlanError

    config = _with_pack(_configuration(config_path), name)
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


@main.command()
@click.argument("pack", type=click.Choice(["phantom", "fracatlas"]))
@click.option("--data", type=EXISTING, help="Folder of the FracAtlas data set (for the pack fracatlas).")
@click.option("--out", "folder", type=click.Path(path_type=Path), required=True, help="Where the pack is written.")
@click.option("--cache", type=click.Path(path_type=Path), default=Path("~/.cache/osteon/training"), show_default=True)
def train(pack: str, data: Path | None, folder: Path, cache: Path) -> None:
    """Train a model PACK (needs the extra "train")."""
    from provisioning.training import train_fracatlas, train_phantom

    if pack == "phantom":
        train_phantom(folder, cache.expanduser())
    elif data is None:
        raise click.UsageError("the pack fracatlas needs --data")
    else:
        train_fracatlas(data, folder, cache.expanduser())


def _show_jobs(jobs: Iterable[Job], as_json: bool, nothing: str) -> None:
    if as_json:
        for job in jobs:
            click.echo(json.dumps(dataclasses.asdict(job), default=_text))
        return
    table = Table()
    for name in ("job", "state", "code", "what", "tries", "since (UTC)", "reason"):
        table.add_column(name, no_wrap=name in ("job", "state", "code"))
    for job in jobs:
        since = f"{job.since:%Y-%m-%d %H:%M:%S}"
        table.add_row(job.name, job.state, job.code, job.what, str(job.attempts), since, escape(job.reason))
    out.print(table if table.row_count else nothing)


def _config_path(path: Path | None) -> Path | None:
    return path or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None)


def _configuration(path: Path | None) -> Configuration:
    return read_configuration(_config_path(path))


def _with_pack(config: Configuration, name: str | None) -> Configuration:
    """`config` with another pack, and no more packs beside it; as it is without a name."""
    if name is None:
        return config
    return config.model_copy(update={"analyse": config.analyse.model_copy(update={"pack": name, "more_packs": ()})})


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


if __name__ == "__main__":
    main()
