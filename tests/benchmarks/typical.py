"""Osteon beside the stack that a user would assemble, on the same networks, files and threads, in one run.

``python -m tests.benchmarks.typical``, after ``pip install '.[bench]'``. Each round reads each file with both, in turn,
so that other work on the machine meets both alike. Osteon's receiver hashes and syncs each instance and commits its
row, its reader is a process that may die, and its reports are checked; the examples do none of it.
"""

from __future__ import annotations

import json
import logging
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
import pydicom
from pynetdicom import AE

from appliance.config import Analyse, Configuration, Hl7Destination, Picture
from appliance.dicom.objects.secondary_capture import secondary_capture
from appliance.dicom.objects.structured_report import structured_report
from appliance.dicom.part10 import part10_bytes
from appliance.dicom.reading.order import read_examination
from appliance.domain.study import StudyResult
from appliance.picture.overlay import overlay
from appliance.reporting.hl7.oru import oru_r01
from appliance.service.instance_reader import Reader
from appliance.service.pipeline_assembly import pack_of, pipeline_of
from provisioning.phantoms import instance_from_phantom, phantom
from tests.support.peers import running, wait_for_port
from tests.support.ports import free_ports

# PyTorch's threads spin by default: on a busy machine that costs ten times what they compute. Osteon's do not spin
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
try:
    from tests.benchmarks import typical_stack
except ImportError as error:
    sys.exit(f"{error}: the other stack is not installed; run pip install '.[bench]'")

READ, INFER, OVERLAY, CAPTURE, SR, ORU = "read", "stages 1 to 3", "overlay", "capture", "SR", "ORU"
SUMS = {"up to the overlay": (READ, INFER, OVERLAY), "reports": (SR, ORU)}
STAGES = ("receive", READ, INFER, OVERLAY, CAPTURE, SR, ORU)

RIS = Hl7Destination(kind="hl7", name="ris", host="127.0.0.1", port=2575)
UNCOMPRESSED = Picture(compression="none")
"""highdicom's example does not compress, either."""

ENLARGED = 3
"""Factor on the sides of a phantom: 11 to 14 megapixels, as the largest detectors have."""


@dataclass(slots=True)
class Stopwatch:
    """Milliseconds by stage: by the clock, and of processors in this process and those of `pids`."""

    pids: tuple[int, ...] = ()
    wall_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    spent_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time a block."""
        spent, wall = self._spent_s(), time.perf_counter()
        yield
        self.wall_ms[stage].append((time.perf_counter() - wall) * 1e3)
        self.spent_ms[stage].append((self._spent_s() - spent) * 1e3)

    def _spent_s(self) -> float:
        # the clock of another process is made as in clock_getcpuclockid(3)
        return time.process_time() + sum(time.clock_gettime(~pid << 3 | 2) for pid in self.pids)


class Osteon:
    """The product's stages, without its queue."""

    def __init__(self, config: Configuration) -> None:
        self._pipeline = pipeline_of(config)
        self._reader = Reader(self._pipeline)
        self.pid = int(self._reader._examine._all[0]._process.pid or 0)
        self.close = self._reader.close

    def read(self, path: Path, stage: Callable[[str], object]) -> list[str]:
        """Read one file; return the sites of its regions."""
        assert isinstance(stage, Stopwatch)
        with stage(READ):
            examined = self._reader.examine(path.read_bytes)
        with stage(INFER):
            reading = self._reader.read(examined)
        result, source, heats = reading.analysis.result, reading.source, reading.analysis.heats
        with stage(OVERLAY):
            picture = overlay(reading.grey, result, heats, UNCOMPRESSED)
        with stage(CAPTURE):
            part10_bytes(secondary_capture(source, result, picture, UNCOMPRESSED))
        uid, at = result.study_instance_uid, result.created_at
        study = StudyResult(study_instance_uid=uid, created_at=at, results=(result,))
        with stage(SR):
            part10_bytes(structured_report(study, {result.sop_instance_uid: source}))
        with stage(ORU):
            oru_r01(study, read_examination(source), RIS)
        return [finding.site.value for finding in result.findings]


def cases(folder: Path) -> Iterator[tuple[str, Path, str]]:
    """Yield name, path and pack of each file: a phantom, and a real radiograph where OSTEON_DATA has it."""
    ds = instance_from_phantom(phantom("wrist", 3, True))
    pixels = np.kron(ds.pixel_array, np.ones((ENLARGED, ENLARGED), np.uint16))
    (ds.Rows, ds.Columns), ds.PixelData = pixels.shape, pixels.tobytes()
    ds.save_as(folder / "phantom.dcm", enforce_file_format=True)
    yield "phantom", folder / "phantom.dcm", "phantom"
    hip = Path(os.environ.get("OSTEON_DATA", "")) / "dicom" / "happy_RG2_UNC.dcm"
    if hip.is_file():
        yield "CR of a hip", hip, "fracatlas"


@contextmanager
def receivers(folder: Path) -> Iterator[dict[str, tuple[int, int]]]:
    """Start both Storage SCPs; yield process id and port of each by its name."""
    ours, theirs = free_ports(2)
    (folder / "stored").mkdir()
    state = json.dumps(str(folder / "state"))
    (folder / "osteon.toml").write_text(f"state_dir = {state}\nreceive.port = {ours}\nreceive.reserve_mb = 0\n")
    start = [sys.executable, "-m", "appliance.service", "receive", "--config", str(folder / "osteon.toml")]
    example = [sys.executable, "-m", "tests.benchmarks.typical_stack", str(theirs), str(folder / "stored")]
    with running(*start) as one, running(*example) as other:
        wait_for_port(ours, one)
        wait_for_port(theirs, other)
        yield {"Osteon": (one.pid, ours), "typical": (other.pid, theirs)}


def send(path: Path, port: int) -> None:
    """Send a file on an association of its own."""
    ds = pydicom.dcmread(path)
    ae = AE()
    ae.add_requested_context(ds.SOPClassUID, ds.file_meta.TransferSyntaxUID)
    association = ae.associate("127.0.0.1", port, ae_title="OSTEON")
    status = association.send_c_store(path)
    association.release()
    assert status.Status == 0x0000, status


@click.command()
@click.option("--rounds", default=15, show_default=True, help="Rounds that count; one before them warms up.")
@click.option("--threads", default=2, show_default=True, help="Threads of both stacks.")
def main(rounds: int, threads: int) -> None:
    """Print a table in Markdown for each file: medians by the clock and of processor time, and their ratios."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name, receivers(Path(name)) as ports:
        for title, path, pack in cases(Path(name)):
            config = Configuration(analyse=Analyse(pack=pack, compute="cpu", threads=threads))
            osteon, typical = Osteon(config), typical_stack.TypicalStack(pack_of(config), threads)
            watches = {}
            for number in range(rounds + 1):
                if number in (0, 1):  # the first round warms up
                    watches = {
                        "Osteon": Stopwatch((osteon.pid, ports["Osteon"][0])),
                        "typical": Stopwatch((ports["typical"][0],)),
                    }
                for stack, watch in watches.items():
                    with watch("receive"):
                        send(path, ports[stack][1])
                ours = osteon.read(path, watches["Osteon"])
                theirs = [read.site for read in typical.read(path, watches["typical"])]
            osteon.close()
            ds = pydicom.dcmread(path, stop_before_pixels=True)
            print(f"\n{title}, {ds.Columns} x {ds.Rows}, pack {pack}, {threads} threads, n = {rounds}")
            print(f"regions: Osteon {', '.join(ours)}; typical {', '.join(theirs)}\n")
            _print_table(watches["Osteon"], watches["typical"])


def _print_table(osteon: Stopwatch, typical: Stopwatch) -> None:
    print("| stage | Osteon ms | typical ms | ratio | Osteon processor ms | typical processor ms | ratio |")
    print("|---|---|---|---|---|---|---|")
    for stage in (*STAGES, *SUMS):
        cells = []
        for ours, theirs in ((osteon.wall_ms, typical.wall_ms), (osteon.spent_ms, typical.spent_ms)):
            a, b = (_median_sum(times, SUMS.get(stage, (stage,))) for times in (ours, theirs))
            cells += [f"{a:.0f}", f"{b:.0f}", f"{b / a:.1f}"]
        print(f"| {stage} | {' | '.join(cells)} |")


def _median_sum(times: dict[str, list[float]], stages: tuple[str, ...]) -> float:
    """Return the median over the rounds of the sum of `stages`."""
    return statistics.median(map(sum, zip(*(times[stage] for stage in stages), strict=True)))


if __name__ == "__main__":
    main()
