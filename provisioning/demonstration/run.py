"""`osteon demo`: the whole product against a small hospital, on phantoms or on real radiographs."""

from __future__ import annotations

import json
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

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

from .outcome import Row, Sent, bars, render, rows_of, table_of
from .peers import DemonstrationHospital

SITES = (Site.ANKLE, Site.WRIST, Site.KNEE, Site.SHOULDER, Site.PELVIS, Site.SPINE)
START_TIMEOUT_S = 60
WORKING = (State.QUEUED, State.LEASED)


def demonstrate(
    folder: Path, console: Console, radiographs: Path | None = None, limit: int | None = None, keep: bool = False
) -> list[Row]:
    """Play the demonstration; what came back lies in `folder`, which is made anew.

    Parameters
    ----------
    radiographs
        Folder of DICOM files, JPEG or PNG, read by the real pack; None: sixteen phantoms of twelve studies, read by the
        phantom pack.
    limit
        At most so many radiographs, evenly spread over the folder.
    keep
        Leave everything running until Ctrl-C.
    """
    _make_anew(folder)
    with tempfile.TemporaryDirectory(prefix="osteon-demo-") as state:
        inputs = list(_inputs(Path(state) / "in", radiographs, limit, console))
        hospital = DemonstrationHospital(folder)
        try:
            path = _write_configuration(Path(state), hospital, "fracatlas" if radiographs else "phantom")
            config = read_configuration(path)
            engine = open_database(config.database)
            with Supervisor(path, folder / "logs") as supervisor:
                _wait_for_roles(engine, supervisor, folder, console)
                sent = _send(inputs, config, console)
                _follow(readers(engine), len(sent), supervisor.watch, console)
                rows = list(rows_of(readers(engine), sent))
                render(folder, rows, console)
                console.print(table_of(rows, synthetic=radiographs is None))
                console.print(f"What came back: {folder.resolve()}  (pictures: {folder / 'pictures'})")
                if keep:
                    console.print(
                        f"Status page: http://127.0.0.1:{config.status.port}/  -  Ctrl-C ends the demonstration"
                    )
                    _wait_for_interrupt(supervisor)
            engine.dispose()
        finally:
            hospital.close()
    return rows


def _make_anew(folder: Path) -> None:
    """Empty `folder`, if it is absent, empty or of an earlier demonstration; anything else is left alone."""
    mark = folder / ".osteon-demo"
    if folder.exists() and any(folder.iterdir()) and not mark.exists():
        raise Fault(ReasonCode.DEMO_FOLDER, f"{folder} holds something else: choose another folder with --out")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    mark.touch()


def _inputs(folder: Path, radiographs: Path | None, limit: int | None, console: Console) -> Iterator[tuple[str, Path]]:
    """(name, DICOM file) of every radiograph to be sent."""
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
        files = pick_evenly(find_radiograph_files([radiographs]), limit)
        made += [(file.name, partial(read_instance, file)) for file in files]
    if not made:
        raise Fault(ReasonCode.NO_RADIOGRAPHS, f"{radiographs} holds no DICOM, JPEG or PNG file")
    for k, (name, make) in enumerate(made):
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
                if len(heartbeats(c)) == len(ROLES):
                    return
            time.sleep(0.05)
    raise Fault(ReasonCode.DEMO_START, f"not every role was up after {START_TIMEOUT_S} s: see {folder}/logs")


def _send(inputs: list[tuple[str, Path]], config: Configuration, console: Console) -> dict[str, Sent]:
    """C-STORE every file; by SOP Instance UID, what was sent."""
    receive = config.receive
    names = {path: name for name, path in inputs}
    sent: dict[str, Sent] = {}
    with bars(console) as progress:
        task = progress.add_task("C-STORE", total=len(inputs))
        at = now()
        sending = send_files(
            names, host=receive.host, port=receive.port, called_ae_title=receive.ae_title, calling_ae_title="DEMO"
        )
        for path, status in sending:
            if not status.is_there:
                console.print(f"[yellow]not stored:[/] {escape(f'{names[path]}: {status.words}')}")
            else:
                uid = str(dcmread(path, stop_before_pixels=True, force=True).SOPInstanceUID)
                sent[uid] = Sent(name=names[path], at=at)
            at = now()
            progress.advance(task)
    return sent


def _follow(engine: Engine, total: int, watch: Callable[[], None], console: Console) -> None:
    """Bars until every radiograph is analysed and every answer has arrived."""
    with bars(console) as progress:
        bars_by_queue = {
            count_analyses: progress.add_task("analysed", total=total),
            count_studies: progress.add_task("reported", total=0),
            count_deliveries: progress.add_task("delivered", total=0),
        }
        while True:
            watch()
            open_jobs = 0
            for count_jobs, bar in bars_by_queue.items():
                with engine.connect() as c:
                    counts = count_jobs(c)
                waiting = sum(count.jobs for count in counts if count.state in WORKING)
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
