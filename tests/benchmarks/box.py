"""One Osteon of any checkout for a benchmark: its four roles on chosen cores, with real peers, and their figures."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.peers import PEERS, NodePeer, find, running, wait_for_port
from tests.support.ports import free_ports
from tests.support.waiting import wait_until

ROLES = ("receive", "analyse", "deliver", "status")
STOP_S = 30

UNFINISHED = """
    SELECT (SELECT count(*) FROM analyses WHERE state IN ('queued', 'leased'))
         + (SELECT count(*) FROM studies WHERE state IN ('queued', 'leased'))
         + (SELECT count(*) FROM deliveries WHERE state IN ('queued', 'leased'))
"""
TIMES = """
    SELECT i.received_at, min(CASE WHEN d.destination = 'pacs' THEN d.finished_at END), max(d.finished_at),
        min(d.state = 'done')
    FROM instances i JOIN analyses a ON a.instance_id = i.id JOIN results r ON r.analysis_id = a.id
    JOIN deliveries d ON d.study_instance_uid = r.study_instance_uid
    WHERE i.id > ? GROUP BY i.id
"""


@dataclass(frozen=True, slots=True)
class Passage:
    """Unix seconds of one radiograph: committed by receive, its first artefact at the PACS, its last anywhere."""

    received: float
    first: float
    last: float


class Box:
    """The roles of `checkout` in `folder`, on `cores`; stopped by signals while another box is measured.

    It is read through its database alone, whose tables are those of every checkout.
    """

    def __init__(self, checkout: Path, folder: Path, cores: int, destinations: list[dict[str, object]]) -> None:
        folder.mkdir(parents=True)
        self.port, page = free_ports(2)
        config = folder / "osteon.toml"
        lines = [
            f"state_dir = {json.dumps(str(folder / 'state'))}",
            f"receive.port = {self.port}",
            "receive.reserve_mb = 0",
            f"status.port = {page}",
            'analyse.pack = "phantom"',
            "study.settle_s = 0",
        ]
        for destination in destinations:
            lines += ["[[destinations]]", *(f"{key} = {json.dumps(value)}" for key, value in destination.items())]
        config.write_text("\n".join(lines) + "\n")
        self._folder = folder
        self._database = folder / "state" / "osteon.db"
        command = [sys.executable, "-m", "appliance.service", "all", "--config", str(config)]
        environment = os.environ | {"PYTHONPATH": str(checkout)}
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, set(sorted(before)[:cores]))  # the roles inherit it, and count their cores by it
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, cwd=checkout, env=environment, stderr=log, start_new_session=True)
        os.sched_setaffinity(0, before)
        wait_until(self._is_up, lambda: f"the roles of {checkout}: {(folder / 'log').read_text()}")

    def _is_up(self) -> bool:
        assert self._process.poll() is None, (self._folder / "log").read_text()
        try:
            return len(self.pids()) == len(ROLES)
        except sqlite3.OperationalError:  # the database is being made
            return False

    def _rows(self, query: str, *values: object) -> list[tuple[float, ...]]:
        connection = sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=60)
        try:
            return connection.execute(query, values).fetchall()
        finally:
            connection.close()

    def pids(self) -> dict[str, int]:
        """Return the process of each role."""
        return {str(role): int(pid) for role, pid in self._rows("SELECT role, pid FROM roles")}

    def pause(self) -> None:
        """Stop every process of this box, so that it takes no time from another one."""
        os.killpg(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let the processes run."""
        os.killpg(self._process.pid, signal.SIGCONT)

    def close(self) -> None:
        """End the roles."""
        self.go_on()
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        finally:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)

    def newest(self) -> int:
        """Return the id of the radiograph that was received last."""
        return int(self._rows("SELECT coalesce(max(id), 0) FROM instances")[0][0])

    def passages(self, after: int, number: int) -> list[Passage]:
        """Wait until `number` radiographs after the one of id `after` are answered everywhere; return their times."""
        wait_until(
            lambda: self.newest() >= after + number and not self._rows(UNFINISHED)[0][0],
            lambda: f"{number} radiographs: {(self._folder / 'log').read_text()[-2000:]}",
            patience_s=60 + 60 * number,
        )
        rows = self._rows(TIMES, after)
        assert len(rows) == number, f"{len(rows)} of {number} radiographs have deliveries"
        assert all(is_done for *_, is_done in rows), "a delivery did not end as done"
        return [Passage(received, first, last) for received, first, last, _ in rows]

    def processor_s(self) -> dict[str, float]:
        """Return processor seconds of each role so far; ``analyse: children`` are its processes beside the role's."""
        spent = {role: processor_s(pid) for role, pid in self.pids().items()}
        spent["analyse: children"] = sum(processor_s(child) for child in children(self.pids()["analyse"]))
        return spent

    def memory_mb(self) -> dict[str, float]:
        """Return the largest resident memory of each role with its children, in megabytes (proc(5), VmHWM)."""
        return {role: sum(_peak_mb(one) for one in (pid, *children(pid))) for role, pid in self.pids().items()}


def processor_s(pid: int) -> float:
    """Return processor seconds of a process and of its children that have ended (proc(5), fields 14 to 17)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """Return the running children of a process, and theirs."""
    own: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that ended since
            own += map(int, (task / "children").read_text().split())
    return own + [grandchild for child in own for grandchild in children(child)]


def _peak_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


@contextmanager
def peers(folder: Path) -> Iterator[list[dict[str, object]]]:
    """Run DCMTK's storescp, the HL7 receiver and the FHIR server; yield them as destinations."""
    (port,) = free_ports(1)
    (folder / "pacs").mkdir(parents=True)
    with ExitStack() as stack:
        scp = running(find("storescp"), "+B", "+xa", "-aet", "PACS", "-od", str(folder / "pacs"), str(port))
        wait_for_port(port, stack.enter_context(scp))
        node = [
            NodePeer(stack.enter_context(running("node", find(script), cwd=PEERS)))
            for script in ("mllp_receiver.js", "fhir_server.js")
        ]
        yield [
            {"kind": "dicom", "name": "pacs", "host": "127.0.0.1", "port": port, "called_ae_title": "PACS"},
            {"kind": "hl7", "name": "ris", "host": "127.0.0.1", "port": node[0].port},
            {"kind": "fhir", "name": "fhir", "base_url": f"http://127.0.0.1:{node[1].port}"},
        ]


def send(port: int, files: list[Path]) -> subprocess.Popen[bytes]:
    """Begin to send `files` in one association; the caller waits for the end."""
    command = [find("dcmsend"), "-aec", "OSTEON", "127.0.0.1", str(port), *map(str, files)]
    return subprocess.Popen(command, env=os.environ | {"TCP_NODELAY": "1"}, stdout=subprocess.DEVNULL)


def idle_percent(box: Box, seconds: float) -> dict[str, float]:
    """Return the share of a core that each role uses without work."""
    before, start = box.processor_s(), time.monotonic()
    time.sleep(seconds)
    after, spent = box.processor_s(), time.monotonic() - start
    return {role: 100 * (after[role] - before[role]) / spent for role in after}
