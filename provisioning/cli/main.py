"""The command `osteon`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
from rich.markup import escape

from appliance.config import ConfigurationError
from appliance.service.command import SentenceErrors, config_option, existing_config, run

from .engines import engines
from .options import EXISTING, configuration, out
from .pack import pack
from .queue import queue
from .train import train


class _Commands(SentenceErrors, click.Group):
    """The commands of `osteon`, with errors as sentences."""


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
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
@click.option("--radiographs", type=EXISTING, help="Folder of DICOM, JPEG or PNG; default: phantoms.")
@click.option("--limit", type=click.IntRange(1), help="At most so many, evenly spread over the folder.")
@click.option("--out", "folder", type=click.Path(path_type=Path), default=Path("demo"), show_default=True)
@click.option("--keep", is_flag=True, help="Leave the status page up until Ctrl-C.")
def demo(radiographs: Path | None, limit: int | None, folder: Path, keep: bool) -> None:
    """Play the whole product on this machine: C-STORE in, SC, SR, HL7 and FHIR out.

    Phantoms are read by networks that were trained on phantoms (pack "phantom"), real radiographs by the pack
    "fracatlas". What came back lies in the folder --out: pacs/, ris/, fhir/, pictures/, reports/.
    """
    from provisioning.demonstration.run import demonstrate

    demonstrate(folder, out, radiographs, limit, keep)


@main.command()
@click.argument("files", nargs=-1, required=True, type=EXISTING)
@click.option("--to", "peer", required=True, metavar="HOST:PORT", help="Where the Storage SCP listens.")
@click.option("--called", default="OSTEON", show_default=True, help="Its AE title.")
@click.option("--calling", default="OSTEON-SEND", show_default=True, help="Our AE title.")
def send(files: tuple[Path, ...], peer: str, called: str, calling: str) -> None:
    """Send DICOM FILES, or folders of them, by C-STORE."""
    from rich.progress import track

    from appliance.dicom.scu.sender import send_files
    from provisioning.radiograph_files import find_radiograph_files

    host, _, port = peer.rpartition(":")
    if not host or not port.isdecimal():
        raise click.BadParameter(f"{peer!r} is not HOST:PORT", param_hint="--to")
    paths, failures = find_radiograph_files(list(files)), 0
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
    from provisioning.operation.read import read_files

    read_files(list(files), pack, folder, limit, out)


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
    from appliance.dicom.objects import codes
    from appliance.service.withdrawal import withdraw as take_back
    from appliance.storage.database import open_database

    titles = {
        "quality": codes.REJECTED_FOR_QUALITY,
        "safety": codes.REJECTED_FOR_PATIENT_SAFETY,
        "worklist": codes.INCORRECT_WORKLIST_ENTRY,
    }
    config = configuration(config_path)
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
    from appliance.service.pipeline_assembly import pack_of
    from appliance.service.roles.deliver import outlet_of
    from provisioning.operation.check import doubts, problems

    config = configuration(config_path)
    for destination in config.destinations:
        outlet_of(destination)  # whose certificates are read
    if found := problems(config):
        raise ConfigurationError(existing_config(config_path), found)
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
    from provisioning.operation.hl7_preview import preview

    preview(configuration(config_path), destination, list(files), message, raw, out)  # type: ignore[arg-type]


for command in (run, queue, pack, engines, train):
    main.add_command(command)
