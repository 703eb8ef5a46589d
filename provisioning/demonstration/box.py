"""The box of a demonstration: its configuration, its start, radiographs that are sent to it, and its progress."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from pydicom import dcmread
from rich.console import Console
from rich.markup import escape
from sqlalchemy import Engine

from appliance.clock import now
from appliance.config import Configuration
from appliance.dicom.scu.sender import send_files
from appliance.domain.job import State
from appliance.domain.reason import ReasonCode
from appliance.domain.roles import ROLES
from appliance.errors import Fault
from appliance.service.supervisor import Supervisor
from appliance.storage.database import readers
from appliance.storage.heartbeats import heartbeats
from appliance.storage.overview import count_analyses, count_deliveries, count_studies

from .outcome import SentRadiograph, progress_bars
from .peers import DemonstrationHospital

START_TIMEOUT_S = 60
"""Longest wait until every role runs; on an idle machine they need about five seconds."""

UNFINISHED = (State.QUEUED, State.LEASED)
"""States of jobs that the demonstration waits for."""


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into `SystemExit` during a block, so that roles stop and the folder of the state goes."""

    def end(number: int, _frame: FrameType | None) -> None:
        for later in before:
            signal.signal(later, signal.SIG_IGN)  # a second signal must not interrupt the clearing up
        raise SystemExit(128 + number)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        for number in before:
            signal.signal(number, end)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def empty_folder(folder: Path) -> None:
    """Make `folder`, or empty it if an earlier demonstration wrote it; refuse a folder with other files."""
    mark = folder / ".osteon-demo"
    if folder.exists() and any(folder.iterdir()) and not mark.exists():
        raise Fault(ReasonCode.DEMO_FOLDER, f"{folder} holds other files: choose another folder with --out")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    mark.touch()


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def write_configuration(state: Path, hospital: DemonstrationHospital, pack: str, more: str = "") -> Path:
    """Write the configuration of a box in `state` that answers to `hospital`; return its file.

    Parameters
    ----------
    more
        Further lines of TOML, at the top of the file.
    """
    path = state / "osteon.toml"
    path.write_text(
        f"""\
{more}
state_dir = {json.dumps(str(state / "state"))}
receive.port = {_free_port()}
status.port = {_free_port()}
analyse.pack = "{pack}"
study.settle_s = 1

[[destinations]]
kind = "dicom"
name = "pacs"
host = "127.0.0.1"
port = {hospital.pacs_port}
called_ae_title = "PACS"

[[destinations]]
kind = "hl7"
name = "ris"
host = "127.0.0.1"
port = {hospital.ris_port}
receiving_application = "RIS"

[[destinations]]
kind = "fhir"
name = "fhir"
base_url = "{hospital.fhir_url}"
"""
    )
    return path


def wait_for_roles(engine: Engine, supervisor: Supervisor, folder: Path, console: Console) -> None:
    """Wait until every role runs; raise Fault (``demo_start``) after `START_TIMEOUT_S`."""
    deadline = time.monotonic() + START_TIMEOUT_S
    with console.status("starting receive, analyse, deliver, status"):
        while time.monotonic() < deadline:
            supervisor.watch()
            with readers(engine).connect() as c:
                if sum(beat.is_working for beat in heartbeats(c).values()) == len(ROLES):
                    return
            time.sleep(0.05)
    raise Fault(ReasonCode.DEMO_START, f"a role did not start within {START_TIMEOUT_S} s: see {folder}/logs")


def send(inputs: list[tuple[str, Path]], config: Configuration, console: Console) -> dict[str, SentRadiograph]:
    """Send every file by C-STORE; return the stored radiographs by SOP Instance UID."""
    receive = config.receive
    names = {path: name for name, path in inputs}
    sent: dict[str, SentRadiograph] = {}
    with progress_bars(console) as progress:
        task = progress.add_task("C-STORE", total=len(inputs))
        begun_at = now()
        sending = send_files(
            names, host=receive.host, port=receive.port, called_ae_title=receive.ae_title, calling_ae_title="DEMO"
        )
        for path, status in sending:
            if not status.is_there:
                console.print(f"[yellow]not stored:[/] {escape(f'{names[path]}: {status.words}')}")
            else:
                uid = str(dcmread(path, stop_before_pixels=True, force=True).SOPInstanceUID)
                sent[uid] = SentRadiograph(name=names[path], sent_at=begun_at)
            begun_at = now()
            progress.advance(task)
    return sent


def wait_for_jobs(engine: Engine, total: int, watch: Callable[[], None], console: Console) -> None:
    """Show progress until every radiograph is analysed and every artefact is delivered.

    Parameters
    ----------
    total
        Number of radiographs that were sent.
    watch
        Raises if a role has ended.
    """
    with progress_bars(console) as progress:
        bars = {
            count_analyses: progress.add_task("analysed", total=total),
            count_studies: progress.add_task("reported", total=0),
            count_deliveries: progress.add_task("delivered", total=0),
        }
        while True:
            watch()
            open_jobs = 0
            for count_jobs, bar in bars.items():
                with engine.connect() as c:
                    counts = count_jobs(c)
                waiting = sum(count.jobs for count in counts if count.state in UNFINISHED)
                everything = sum(count.jobs for count in counts)
                progress.update(bar, total=everything, completed=everything - waiting)
                open_jobs += waiting
            if not open_jobs:
                return
            time.sleep(0.05)


def wait_for_interrupt(supervisor: Supervisor) -> None:
    """Leave everything running until Ctrl-C."""
    try:
        while True:
            supervisor.watch()
            time.sleep(0.5)
    except KeyboardInterrupt:
        return
