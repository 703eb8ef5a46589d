"""Our Storage SCP beside DCMTK's and Orthanc's, on this machine and disk: ``python -m tests.benchmarks.receive``.

Each takes the same files from DCMTK's dcmsend, from one sender and from four, and with fsync where it has one: DCMTK's
storescp has none. ``--flat 5000`` sends so many small instances instead, and prints what memory the receiver holds.
Orthanc (1.10) listens on every interface while it runs.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
from pydicom.dataset import Dataset

from tests.support.peers import running, wait_for_port
from tests.support.ports import free_ports
from tests.support.sources import source, with_meta

NO_FSYNC = "import os; os.fsync = lambda descriptor: None; from appliance.service.command import run; run()"
SIDE_PX = 2236
"""10 MB at 16 bits."""
SMALL_PX = 160
SENDERS = (1, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A Storage SCP: how it is started on a folder and a port."""

    name: str
    command: Callable[[Path, int], list[str]]


def ours(folder: Path, port: int, *, fsync: bool) -> list[str]:
    """Return the command of Osteon's receive role; it runs without fsync only here, by no option of the product."""
    (folder / "osteon.toml").write_text(
        f"state_dir = {json.dumps(str(folder / 'state'))}\nreceive.port = {port}\nreceive.reserve_mb = 0\n"
        f"retention.prune_below_mb = 0\n"
    )
    start = ["-m", "appliance.service"] if fsync else ["-c", NO_FSYNC]
    return [sys.executable, *start, "receive", "--config", str(folder / "osteon.toml")]


def storescp(folder: Path, port: int) -> list[str]:
    """DCMTK's, as fast as it goes: the bytes as they come, a process for each association."""
    (folder / "in").mkdir()
    return ["storescp", "--fork", "+B", "-pdu", "131072", "-od", str(folder / "in"), str(port)]


def orthanc(folder: Path, port: int, *, fsync: bool) -> list[str]:
    """Orthanc with its own database, without plugins."""
    config = {
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "HttpServerEnabled": False,
        "DicomAet": "OSTEON",
        "DicomPort": port,
        "DicomAlwaysAllowStore": True,
        "DicomCheckCalledAet": False,
        "MaximumPduLength": 131072,
        "SyncStorageArea": fsync,
    }
    (folder / "orthanc.json").write_text(json.dumps(config))
    return ["Orthanc", str(folder / "orthanc.json")]


CONTESTANTS = (
    Contestant(name="dcmtk storescp --fork +B", command=storescp),
    Contestant(name="Osteon, without fsync", command=lambda f, p: ours(f, p, fsync=False)),
    Contestant(name="Orthanc, without fsync", command=lambda f, p: orthanc(f, p, fsync=False)),
    Contestant(name="Osteon", command=lambda f, p: ours(f, p, fsync=True)),
    Contestant(name="Orthanc, SyncStorageArea", command=lambda f, p: orthanc(f, p, fsync=True)),
)


@click.command()
@click.option("--files", default=100, show_default=True, help="Files of 10 MB for each contestant.")
@click.option("--rounds", default=3, show_default=True, help="Rounds, of which the best counts.")
@click.option("--flat", default=0, help="Instead: send so many small instances, and watch the memory.")
@click.option("--folder", type=click.Path(path_type=Path), default=Path("build/receive"), show_default=True)
def main(files: int, rounds: int, flat: int, folder: Path) -> None:
    """Print a table in Markdown, and progress on standard error."""
    os.environ["TCP_NODELAY"] = "1"  # DCMTK's programs would wait for each other's acknowledgements
    shutil.rmtree(folder, ignore_errors=True)
    try:
        if flat:
            watch_memory(folder, flat)
            return
        total_mb = sum(f.stat().st_size for f in make_files(folder / "files", files, SIDE_PX, senders=4)) / 1e6
        best: dict[tuple[str, int], tuple[float, float]] = {}
        for number in range(rounds):  # in turn, so that what else the machine does meets all alike
            for contestant in CONTESTANTS:
                for senders in SENDERS:
                    print(f"round {number + 1}: ", end="", file=sys.stderr)
                    seen = one_round(contestant, folder, senders, files)
                    best[contestant.name, senders] = min(seen, best.get((contestant.name, senders), seen))
        print(f"{files} files, {total_mb:.0f} MB, best of {rounds}, {os.cpu_count()} cores\n")
        print("| Storage SCP | MB/s, 1 sender | CPU s | of storescp | MB/s, 4 senders | CPU s | of storescp |")
        print("|---|---|---|---|---|---|---|")
        for contestant in CONTESTANTS:
            cells = []
            for senders in SENDERS:
                spent, cpu = best[contestant.name, senders]
                used = "-" if contestant is CONTESTANTS[0] else f"{cpu:.1f}"  # its children's is not seen
                cells += [
                    f"{total_mb / spent:.0f}",
                    used,
                    f"{best[CONTESTANTS[0].name, senders][0] / spent:.2f}",
                ]
            print(f"| {contestant.name} | {' | '.join(cells)} |")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def one_round(contestant: Contestant, folder: Path, senders: int, files: int) -> tuple[float, float]:
    """Wall seconds from the first association until the last answer, and CPU seconds of the receiver."""
    with listening(contestant, folder / "scp") as (process, port):
        before = cpu_s(process.pid)
        spent = send([folder / "files"] if senders == 1 else sorted((folder / "files").iterdir()), port, files)
        used = cpu_s(process.pid) - before
    print(f"{contestant.name}, {senders} senders: {spent:.2f} s, CPU {used:.2f} s", file=sys.stderr, flush=True)
    return spent, used


def watch_memory(folder: Path, instances: int) -> None:
    """Resident memory of our receiver after each tenth of the instances."""
    make_files(folder / "files", instances, SMALL_PX, senders=10)
    with listening(CONTESTANTS[3], folder / "scp") as (process, port):
        sent = 0
        for part in sorted((folder / "files").iterdir()):
            count = len(list(part.iterdir()))
            rate = count / send([part], port, count)
            sent += count
            print(f"{sent} instances, {rate:.0f} a second: {resident_mb(process.pid):.1f} MB resident", flush=True)


@contextmanager
def listening(contestant: Contestant, folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The contestant in a fresh folder, on a port of its own."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.sync()  # what the last one left to be written must not slow this one down
    (port,) = free_ports(1)
    with running(*contestant.command(folder, port)) as process:
        wait_for_port(port, process)
        yield process, port


def send(folders: list[Path], port: int, files: int) -> float:
    """One dcmsend for each folder, all at once; seconds from the first association until the last is released.

    Every file must have been answered with Success. What dcmsend reads before it connects does not count.
    """
    with ThreadPoolExecutor(len(folders)) as threads:
        done = list(threads.map(lambda folder: dcmsend(folder, port), folders))
    stored = sum(int(line.rsplit(":", 1)[1]) for *_, said in done for line in said if "SUCCESS  :" in line)
    assert stored == files, done
    return max(end for _, end, _ in done) - min(start for start, _, _ in done)


def dcmsend(folder: Path, port: int) -> tuple[float, float, list[str]]:
    """Send a folder in one association: return its begin, its end, and the output of dcmsend."""
    command = ["dcmsend", "-v", "-dn", "-aec", "OSTEON", "127.0.0.1", str(port), "+sd", "+r", str(folder)]
    start, said = 0.0, []
    with running(*command) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if "starting association" in line:
                start = time.monotonic()
        process.wait()
    return start, time.monotonic(), said


def make_files(folder: Path, number: int, side_px: int, senders: int) -> list[Path]:
    """`number` instances that differ in their UIDs, in a folder for each sender."""
    ds = source("benchmark", side_px, side_px)
    paths = []
    for index in range(number):
        path = folder / str(index % senders) / f"{index}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        numbered(ds, index).save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def numbered(ds: Dataset, index: int) -> Dataset:
    """The same pixels under another SOP Instance UID."""
    other = copy.copy(ds)
    other.SOPInstanceUID = f"{ds.StudyInstanceUID[:50]}.{index + 1}"
    return with_meta(other)


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and of its children that have ended (proc(5), fields 14 to 17)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """VmRSS of proc(5)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


if __name__ == "__main__":
    main()
