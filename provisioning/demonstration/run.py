"""`osteon demo`: run the whole product against a small hospital, on phantoms or on real radiographs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from sqlalchemy import Engine

from appliance.config import Configuration, read_configuration
from appliance.dicom.part10 import part10_bytes
from appliance.domain.audit import Door, Intervention
from appliance.domain.identifiers import Site
from appliance.domain.phase import Phase
from appliance.domain.reason import ReasonCode
from appliance.errors import Fault, Rejected
from appliance.service.pipeline_assembly import fingerprints_of
from appliance.service.supervisor import Supervisor
from appliance.storage.database import open_database, readers
from appliance.storage.phases import enter_sites, set_phase
from provisioning.phantoms import VIEWS, instance_from_phantom, phantom
from provisioning.radiograph_files import find_radiograph_files, pick_evenly, read_instance

from .box import (
    empty_folder,
    ending_in_order,
    send,
    wait_for_interrupt,
    wait_for_jobs,
    wait_for_roles,
    write_configuration,
)
from .outcome import OutcomeRow, closing_table, outcome_rows, write_pictures
from .peers import DemonstrationHospital

SITES = (Site.ANKLE, Site.WRIST, Site.KNEE, Site.SHOULDER, Site.PELVIS, Site.SPINE)
"""Sites of the phantoms, in the order in which they are sent."""


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
    empty_folder(folder)
    with ending_in_order(), tempfile.TemporaryDirectory(prefix="osteon-demo-") as state:
        inputs = list(_inputs(Path(state) / "in", radiographs, limit, console))
        hospital = DemonstrationHospital(folder)
        try:
            path = write_configuration(Path(state), hospital, "fracatlas" if radiographs else "phantom")
            config = read_configuration(path)
            engine = open_database(config.database)
            _go_live(engine, config)
            with Supervisor(path, folder / "logs") as supervisor:
                wait_for_roles(engine, supervisor, folder, console)
                sent = send(inputs, config, console)
                wait_for_jobs(readers(engine), len(sent), supervisor.watch, console)
                rows = list(outcome_rows(readers(engine), sent))
                write_pictures(folder, rows, console)
                console.print(closing_table(rows, synthetic=radiographs is None))
                console.print(f"Results: {folder.resolve()}  (pictures: {folder / 'pictures'})")
                if keep:
                    console.print(
                        f"Status page: http://127.0.0.1:{config.status.port}/  -  Ctrl-C ends the demonstration"
                    )
                    wait_for_interrupt(supervisor)
            engine.dispose()
        finally:
            hospital.close()
    return rows


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


def _go_live(engine: Engine, config: Configuration) -> None:
    """Set every site live, so that the demonstration shows flags; a hospital's sites begin in an evaluation."""
    sites = fingerprints_of(config)
    enter_sites(engine, sites, Phase.FAMILIARISE)
    by = Intervention(person="osteon demo", door=Door.COMMAND_LINE, reason="a demonstration without patients")
    set_phase(engine, sites, Phase.LIVE, by, passed="not validated: this box is a demonstration and ends with it")


def _phantom(site: Site, fracture: bool, view: int = 0) -> bytes:
    return part10_bytes(instance_from_phantom(phantom(site.value, int(fracture), fracture, view)))
