"""`osteon demo`: run the whole product against a small hospital, on phantoms or on real radiographs."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType

from pydicom import dcmread
from rich.console import Console
from rich.markup import escape
from sqlalchemy import Engine

from appliance.clock import now
from appliance.config import Configuration, read_configuration
from appliance.dicom.part10 import part10_bytes
from appliance.dicom.scu.sender import send_files
from appliance.domain.identifiers import Site
from appliance.domain.job import State
from appliance.domain.reason import ReasonCode
from appliance.domain.roles import ROLES
from appliance.errors import Fault, Rejected
from appliance.service.supervisor import Supervisor
from appliance.storage.database import open_database, readers
from appliance.storage.heartbeats import heartbeats
from appliance.storage.overview import count_analyses, count_deliveries, count_studies
from provisioning.phantoms import VIEWS, instance_from_phantom, phantom
from provisioning.radiograph_files import find_radiograph_files, pick_evenly, read_instance

from .outcome import OutcomeRow, SentRadiograph, closing_table, outcome_rows, progress_bars, write_pictures
from .peers import DemonstrationHospital

SITES = (Site.ANKLE, Site.WRIST, Site.KNEE, Site.SHOULDER, Site.PELVIS, Site.SPINE)
"""Sites of the phantoms, in the order in which they are sent."""

START_TIMEOUT_S = 60
"""Longest wait until every role runs; on an idle machine they need about five seconds."""

UNFINISHED = (State.QUEUED, State.LEASED)
"""States of jobs that the demonstration waits for."""


def demonstrate(
    folder: Path, console: Console, radiographs: Path | None = None, limit: int | None = None, keep: bool = False
) -> list[OutcomeRow]:
    """Run the demonstration and leave everything that the hospital received in `folder`.

    Parameters
    ----------
    folder
        Is emptied first if an earlier demonstration wrote it.
    radiographs
        Folder of DICOM, JPEG or PNG files, read by the pack ``fracatlas``; None: sixteen phantoms of twelve studies,
        read by the pack ``phantom``.
    limit
        Largest number of radiographs, evenly spread over the folder or the phantoms.
    keep
        Leave everything running until Ctrl-C.

    Raises
    ------
    Fault
        ``demo_folder`` if `folder` holds other files, ``no_radiographs`` if there is nothing to send, ``demo_start`` if
        the roles do not start.
    """
    _empty_folder(folder)
    with _ending_in_order(), tempfile.TemporaryDirectory(prefix="osteon-demo-") as state:
        inputs = list(_inputs(Path(state) / "in", radiographs, limit, console))
        hospital = DemonstrationHospital(folder)
        try:
            path = _write_configuration(Path(state), hospital, "fracatlas" if radiographs else "phantom")
            config = read_configuration(path)
            engine = open_database(config.database)
            with Supervisor(path, folder / "logs") as supervisor:
                _wait_for_roles(engine, supervisor, folder, console)
                sent = _send(inputs, config, console)
                _wait_for_jobs(readers(engine), len(sent), supervisor.watch, console)
                rows = list(outcome_rows(readers(engine), sent))
                write_pictures(folder, rows, console)
                console.print(closing_table(rows, synthetic=radiographs is None))
                console.print(f"Results: {folder.resolve()}  (pictures: {folder / 'pictures'})")
                if keep:
                    console.print(
                        f"Status page: http://127.0.0.1:{config.status.port}/  -  Ctrl-C ends the demonstration"
                    )
                    _wait_for_interrupt(supervisor)
            engine.dispose()
        finally:
            hospital.close()
    return rows


@contextmanager
def _ending_in_order() -> Iterator[None]:
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


def _empty_folder(folder: Path) -> None:
    """Make `folder`, or empty it if an earlier demonstration wrote it; refuse a folder with other files."""
    mark = folder / ".osteon-demo"
    if folder.exists() and any(folder.iterdir()) and not mark.exists():
        raise Fault(ReasonCode.DEMO_FOLDER, f"{folder} holds other files: choose another folder with --out")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    mark.touch()


def _inputs(folder: Path, radiographs: Path | None, limit: int | None, console: Console) -> Iterator[tuple[str, Path]]:
    """Write every radiograph to be sent into `folder`; yield its name for people and its DICOM file."""
    folder.mkdir()
    made: list[tuple[str, Callable[[], bytes]]] = []
    if radiographs is None:
        for site in SITES:
            for fracture in (True, False):
                name = f"{site.label}, {'fracture' if fracture else 'no fracture'}"
                made.append((name, partial(_phantom, site, fracture)))
                if fracture and VIEWS[site.value] > 1:
                    made.append((f"{name}, second view", partial(_phantom, site, fracture, view=1)))
    else:
        made += [(file.name, partial(read_instance, file)) for file in find_radiograph_files([radiographs])]
    if not made:
        raise Fault(ReasonCode.NO_RADIOGRAPHS, f"{radiographs} holds no DICOM, JPEG or PNG file")
    for k, (name, make) in enumerate(pick_evenly(made, limit)):
        path = folder / f"{k:05}.dcm"
        try:
            path.write_bytes(make())
        except Rejected as error:
            console.print(f"[yellow]not sent:[/] {escape(f'{name}: {error.reason}')}")
        else:
            yield name, path


def _phantom(site: Site, fracture: bool, view: int = 0) -> bytes:
    return part10_bytes(instance_from_phantom(phantom(site.value, int(fracture), fracture, view)))


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def _write_configuration(state: Path, hospital: DemonstrationHospital, pack: str) -> Path:
    path = state / "osteon.toml"
    path.write_text(
        f"""\
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


def _wait_for_roles(engine: Engine, supervisor: Supervisor, folder: Path, console: Console) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    with console.status("starting receive, analyse, deliver, status"):
        while time.monotonic() < deadline:
            supervisor.watch()
            with readers(engine).connect() as c:
                if sum(beat.is_working for beat in heartbeats(c).values()) == len(ROLES):
                    return
            time.sleep(0.05)
    raise Fault(ReasonCode.DEMO_START, f"a role did not start within {START_TIMEOUT_S} s: see {folder}/logs")


def _send(inputs: list[tuple[str, Path]], config: Configuration, console: Console) -> dict[str, SentRadiograph]:
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


def _wait_for_jobs(engine: Engine, total: int, watch: Callable[[], None], console: Console) -> None:
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


def _wait_for_interrupt(supervisor: Supervisor) -> None:
    try:
        while True:
            supervisor.watch()
            time.sleep(0.5)
    except KeyboardInterrupt:
        return
