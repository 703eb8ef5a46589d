"""The command `osteon`."""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

import click
from rich.markup import escape

from appliance.errors import ConfigurationError
from appliance.service.command import SentenceErrors, config_option, existing_config, run

from .account import account
from .alarm import alarm
from .audit import audit
from .backup import backup, restore
from .conclude import conclude
from .doctor import doctor
from .engines import engines
from .options import EXISTING, by_hand, check_value, configuration, out, own_configuration
from .pack import pack
from .phase import phase
from .queue import queue
from .setup import setup
from .status import status
from .train import train
from .validate import validate
from .validation_plan import plan
from .validation_refit import refit
from .validation_score import score


class _Commands(SentenceErrors, click.Group):
    """The commands of `osteon`, with errors as sentences."""


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="osteon")
def main() -> None:
    """Osteon reads bone radiographs for fractures, as a second reader: the radiologist decides.

    \b
    First steps:
      osteon demo                      show the whole product on drawn radiographs, on this machine
      osteon read FOLDER               read files, without any network
      osteon check --config FILE       check the configuration
      osteon doctor --config FILE      look at this box and at every peer
      osteon run all --config FILE     run all four roles: receive, analyse, deliver and status
      osteon status                    show what needs attention
    """
    from appliance.service.log import hush_libraries

    gc.set_threshold(50_000)  # imports leave no garbage, and a sixth of a short command's time went into the search
    hush_libraries()


@main.command()
@click.option(
    "--radiographs",
    type=EXISTING,
    help="Folder of DICOM, JPEG or PNG files to read. Default: drawn radiographs (phantoms).",
)
@click.option("--limit", type=click.IntRange(1), help="Largest number of radiographs, evenly spread. Default: all.")
@click.option(
    "--out",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("demo"),
    show_default=True,
    help="Folder for the results; emptied first if an earlier demonstration wrote it.",
)
@click.option("--rollout", is_flag=True, help="Play a rollout from shadow to live, with simulated readers.")
@click.option("--keep", is_flag=True, help="Leave the status page up until Ctrl-C.")
def demo(radiographs: Path | None, limit: int | None, folder: Path, rollout: bool, keep: bool) -> None:
    """Show the whole product on this machine.

    Radiographs come in by C-STORE, and SC, SR, HL7 and FHIR go out. A small PACS, RIS and FHIR server run beside it and
    leave all that they receive in the folder --out: pacs/, ris/,
    fhir/, and for people pictures/, summaries/ and reports/.

    Phantoms are read by the pack "phantom", which was trained on phantoms; your own files by the pack "fracatlas".

    With --rollout, 600 phantoms go through the phases of a rollout, and 300 of them are read by simulated readers; with
    --radiographs, FOLDER holds labelled radiographs (docs/models.md), and the rollout ends at the gate.
    """
    from provisioning.demonstration.rollout import demonstrate_rollout
    from provisioning.demonstration.run import demonstrate

    if rollout:
        demonstrate_rollout(folder, out, radiographs, limit, keep=keep)
    else:
        demonstrate(folder, out, radiographs, limit, keep)


@main.command()
@click.argument("files", nargs=-1, required=True, type=EXISTING)
@click.option("--to", "peer", required=True, metavar="HOST:PORT", help="Address of the Storage SCP.")
@click.option("--called", default="OSTEON", show_default=True, help="AE title of the Storage SCP.")
@click.option("--calling", default="OSTEON-SEND", show_default=True, help="AE title to send as.")
def send(files: tuple[Path, ...], peer: str, called: str, calling: str) -> None:
    """Send DICOM FILES, or folders of them, by C-STORE."""
    from rich.progress import track

    from appliance.config import AeTitle, Host, Port
    from appliance.dicom.scu.sender import send_files
    from provisioning.radiograph_files import find_radiograph_files

    host, _, port = peer.rpartition(":")
    if not host or not port.isdecimal():
        raise click.BadParameter(f"{peer!r} is not HOST:PORT, such as 192.0.2.1:104", param_hint="--to")
    checked_host = check_value(host.removeprefix("[").removesuffix("]"), Host, "--to")
    checked_port = check_value(int(port), Port, "--to")
    paths = find_radiograph_files(files)
    failures = 0
    sending = send_files(
        paths,
        host=checked_host,
        port=checked_port,
        called_ae_title=check_value(called, AeTitle, "--called"),
        calling_ae_title=check_value(calling, AeTitle, "--calling"),
    )
    for path, answer in track(sending, total=len(paths), description="C-STORE", console=out):
        if not answer.is_there:
            failures += 1
            out.print(f"[red]not stored:[/] {escape(f'{path}: {answer.words}')}")
    out.print(f"{len(paths) - failures} of {len(paths)} stored")
    sys.exit(1 if failures else 0)


@main.command()
@click.argument("files", nargs=-1, required=True, type=EXISTING)
@click.option("--pack", default="fracatlas", show_default=True, help="Name or folder of a pack.")
@click.option("--out", "folder", type=click.Path(path_type=Path), help="Folder for overlays (PNG) and results.json.")
@click.option("--limit", type=click.IntRange(1), help="Largest number of files, evenly spread. Default: all.")
def read(files: tuple[Path, ...], pack: str, folder: Path | None, limit: int | None) -> None:
    """Read FILES or folders (DICOM, JPEG, PNG) without any network.

    Prints a table with one answer per file, or the reason why there is none.
    """
    from provisioning.operation.read import read_files

    read_files(list(files), pack, folder, limit, out)


@main.command()
@click.argument("uid")
@click.option("--reason", required=True, help="Why, for the people who read it there. It is sent: name no patient.")
@click.option(
    "--because",
    type=click.Choice(["quality", "safety", "worklist"]),
    default="quality",
    show_default=True,
    help="Title of the rejection note: quality, patient safety, or incorrect worklist entry (wrong patient).",
)
@config_option
def withdraw(uid: str, reason: str, because: str, config_path: Path | None) -> None:
    """Withdraw every answer on a study.

    UID is the Study Instance UID, or the SOP Instance UID of one of the study's radiographs or artefacts. Deliveries
    that still wait are dropped; those that have left are revoked at their destination.
    """
    from appliance.domain import codes
    from appliance.service.withdrawal import withdraw as withdraw_study
    from appliance.storage.database import open_database

    titles = {
        "quality": codes.REJECTED_FOR_QUALITY,
        "safety": codes.REJECTED_FOR_PATIENT_SAFETY,
        "worklist": codes.INCORRECT_WORKLIST_ENTRY,
    }
    config = own_configuration(config_path)
    done = withdraw_study(config, open_database(config.database), uid, by_hand(reason), titles[because])
    out.print(f"deliveries dropped: {done.dropped}")
    if done.revoked_at:
        where = escape(", ".join(done.revoked_at))
        out.print(f"withdrawals wait to be sent to {where}: `osteon queue find {uid}` shows when they have arrived")
    elif not done.left_at:
        out.print("no destination has an answer that is not withdrawn already")
    if done.left_at:
        names = ", ".join(done.left_at)
        out.print(
            f"[yellow]not withdrawn at: {escape(names)}, which the configuration no longer names; withdraw there by "
            "hand, or configure the destination again and repeat this command[/]"
        )


@main.command()
@config_option
def check(config_path: Path | None) -> None:
    """Check the configuration and print it with every default.

    All errors are listed at once, each with its key. The file alone is checked: `osteon doctor` asks the peers, and
    looks at disk, database, ports and roles.
    """
    from appliance.compute import choose_compute
    from appliance.service.pipeline_assembly import pack_of
    from appliance.service.roles.deliver import outlet_of
    from provisioning.operation.check import find_doubts, find_problems, shown_values

    config = configuration(config_path)
    for destination in config.destinations:
        outlet_of(destination)  # reads the destination's certificates
    if problems := find_problems(config):
        raise ConfigurationError(existing_config(config_path), problems)
    pack = pack_of(config)
    out.print_json(json.dumps(shown_values(config)))
    out.print(f"pack {pack.name} {pack.version} {pack.digest[:12]} ({pack.kind}): {', '.join(pack.classifiers)}")
    compute = choose_compute(config.analyse.compute, half=config.analyse.half)
    out.print(escape(f"{compute.name}: {compute.reason}"))
    for doubt in find_doubts(config):
        out.print(f"[yellow]{escape(doubt)}[/]")
    out.print("[green]the configuration can be used[/]; `osteon doctor` asks the peers, and looks at this box")


@main.group()
def hl7() -> None:
    """Preview the HL7 messages that a RIS receives."""


@hl7.command("preview")
@click.argument("destination")
@click.argument("files", nargs=-1, type=EXISTING)
@click.option(
    "--message",
    type=click.Choice(["report", "revision", "withdrawal", "order"]),
    default="report",
    show_default=True,
    help="Message to show: the report, its second revision, its withdrawal, or the order's priority update.",
)
@click.option("--raw", is_flag=True, help="Print the message as sent, one segment per line.")
@config_option
def hl7_preview(destination: str, files: tuple[Path, ...], message: str, raw: bool, config_path: Path | None) -> None:
    """Show the message that DESTINATION would receive; nothing is sent.

    The study is drawn (a phantom), or that of your own FILES.
    """
    from provisioning.operation.hl7_preview import preview

    preview(configuration(config_path), destination, list(files), message, raw, out)  # type: ignore[arg-type]


for command in (
    run,
    status,
    doctor,
    queue,
    audit,
    account,
    backup,
    restore,
    pack,
    engines,
    setup,
    train,
    alarm,
    phase,
    validate,
):
    main.add_command(command)
validate.add_command(conclude)
validate.add_command(plan)
validate.add_command(refit)
validate.add_command(score)
