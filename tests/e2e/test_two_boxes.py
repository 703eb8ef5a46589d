"""Two machines that share a PostgreSQL database and a spool: each radiograph gets its answer once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pydicom import dcmread
from sqlalchemy import Engine, func, select

from appliance.config import read_configuration
from appliance.storage.database import open_database, readers
from appliance.storage.heartbeats import FAILED, STARTING
from appliance.storage.tables import analyses, deliveries, roles
from provisioning.demonstration.peers import DemonstrationHospital
from provisioning.phantoms import instance_from_phantom, phantom
from tests.support.peers import Peer
from tests.support.phases import set_phases_of
from tests.support.ports import free_ports
from tests.support.postgresql import new_database, postgresql_server
from tests.support.send import storescu
from tests.support.waiting import wait_until

RADIOGRAPHS = 8


class Box:
    """One machine: a host name, a folder of its own with the shared spool in it, and its roles."""

    def __init__(self, folder: Path, name: str, url: str, spool: Path, destinations: list[dict[str, object]]) -> None:
        self._name, self._folder = name, folder / name
        (self._folder / "state").mkdir(parents=True)
        (self._folder / "state" / "spool").symlink_to(spool)
        self.port, page_port = free_ports(2)
        self.config = self._folder / "osteon.toml"
        lines = [
            f"state_dir = {json.dumps(str(self._folder / 'state'))}",
            f"database_url = {json.dumps(url)}",
            f"receive.port = {self.port}",
            "receive.reserve_mb = 0",
            f"status.port = {page_port}",
            'analyse.pack = "phantom"',
            "study.settle_s = 0",
        ]
        for destination in destinations:
            lines += ["[[destinations]]", *(f"{key} = {json.dumps(value)}" for key, value in destination.items())]
        self.config.write_text("\n".join(lines) + "\n")
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, engine: Engine, *names: str) -> None:
        """Start roles under the host name of this box, and wait until they work."""
        for name in names:
            role = [sys.executable, "-m", "appliance.service", name, "--config", str(self.config)]
            with (self._folder / f"{name}.log").open("ab") as log:
                self._processes[name] = subprocess.Popen(
                    [
                        "unshare",
                        "--map-root-user",
                        "--uts",
                        "sh",
                        "-c",
                        f'hostname {self._name}; exec "$@"',
                        "sh",
                        *role,
                    ],
                    stderr=log,
                )
        works = (roles.c.host == self._name) & roles.c.detail.not_in([STARTING, FAILED])
        for name in names:
            wait_until(lambda name=name: count(engine, roles, works & (roles.c.role == name)) == 1, f"{name} works")  # type: ignore[misc]

    def kill(self, name: str) -> None:
        """End a role with SIGKILL."""
        process = self._processes.pop(name)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        """End every role."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.wait(60)


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[DemonstrationHospital]:
    hospital = DemonstrationHospital(tmp_path / "hospital")
    yield hospital
    hospital.close()


def count(engine: Engine, table: object, where: object) -> int:
    with readers(engine).connect() as c:
        return c.execute(select(func.count()).select_from(table).where(where)).scalar_one()  # type: ignore[arg-type]


@pytest.mark.release
def test_two_boxes_answer_each_radiograph_once(tmp_path: Path, hospital: DemonstrationHospital, peer: Peer) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    pacs = {"kind": "dicom", "name": "pacs", "host": "127.0.0.1", "port": hospital.pacs_port, "called_ae_title": "PACS"}
    files = [tmp_path / f"{seed}.dcm" for seed in range(RADIOGRAPHS)]
    for seed, file in enumerate(files):
        instance_from_phantom(phantom("wrist", 900 + seed, seed % 2 == 0)).save_as(file, enforce_file_format=True)
    with ExitStack() as stack:
        url = new_database(stack.enter_context(postgresql_server()), "osteon")
        engine = open_database(url)
        stack.callback(engine.dispose)
        one, two = (Box(tmp_path, name, url, spool, [pacs]) for name in ("box-one", "box-two"))
        stack.callback(one.stop)
        stack.callback(two.stop)
        set_phases_of(read_configuration(one.config), engine)
        one.start(engine, "receive", "analyse", "deliver", "status")
        two.start(engine, "receive", "analyse", "status")
        storescu(peer, one.port, *files[::2])
        storescu(peer, two.port, *files[1::2])
        one.kill("analyse")
        one.start(engine, "analyse")
        wait_until(lambda: count(engine, analyses, analyses.c.state == "done") == RADIOGRAPHS, "every answer")
        wait_until(lambda: count(engine, deliveries, deliveries.c.state != "done") == 0, "every delivery")
        analysed_by = count(engine, analyses, analyses.c.attempts > 0)
    objects = [dcmread(path, stop_before_pixels=True) for path in hospital.pacs.folder.glob("*.dcm")]
    assert analysed_by == RADIOGRAPHS
    assert sorted(ds.Modality for ds in objects) == ["OT"] * (2 * RADIOGRAPHS) + ["SR"] * RADIOGRAPHS
    assert hospital.pacs.count == len(objects)
