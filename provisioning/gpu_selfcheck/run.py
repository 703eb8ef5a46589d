"""The run of one step in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from .step import Figures, Outcome, Place, Report, Step

NEEDS_CARD = "needs a card"

LOG_LINES = 5
"""Lines of a step's log that stand in the report where its process ended without an answer."""


def run_step(step: Step, place: Place) -> Report:
    """Run `step` within its time limit; whatever its process does is told in the report."""
    if step.needs_card and place.stand_in:
        return _report(step, Outcome.NOT_RUN, fault=NEEDS_CARD)
    log = place.folder / f"{step.name}.log"
    start = perf_counter()
    with TemporaryDirectory() as scratch, log.open("wb") as lines:
        out = Path(scratch) / "said"
        command = [
            sys.executable,
            "-m",
            f"{__package__}.worker",
            step.name,
            *map(str, (place.folder, place.fatbin, out)),
        ]
        # a session of its own: the processes of a step end with it
        process = subprocess.Popen(command, stdout=lines, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            status = process.wait(step.limit_s)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            _end(process)
        said = json.loads(out.read_text()) if status == 0 and out.is_file() else {}
    seconds = perf_counter() - start
    if "figures" in said:
        passed = Outcome.STAND_IN if place.stand_in else Outcome.PASSED
        return _report(step, passed, seconds, figures=said["figures"])
    if status is None:
        return _report(step, Outcome.FAILED, seconds, f"ended after {step.limit_s:.0f} s; see {log.name}")
    ended = f"ended with status {status}: " + " / ".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
    return _report(step, Outcome.FAILED, seconds, said.get("fault", ended))


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _report(
    step: Step, outcome: Outcome, seconds: float = 0.0, fault: str = "", figures: Figures | None = None
) -> Report:
    return Report(
        name=step.name,
        about=step.about,
        outcome=outcome,
        seconds=round(seconds, 1),
        fault=fault,
        figures=figures or {},
    )
