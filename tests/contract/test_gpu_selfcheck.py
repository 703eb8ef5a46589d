"""The check of a GPU: a stand-in driver passes nothing, and a step that fails, crashes or hangs ends itself alone."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.config import Analyse, Configuration
from appliance.preprocessing.dali import DaliPreprocessor
from appliance.preprocessing.recipe import DIGEST, Cut
from appliance.preprocessing.reference import ReferencePreprocessor
from appliance.service.pipeline_assembly import GREY_LEVELS, SHIPPED, assemble_workbench
from engines.build import networks
from engines.pack import read_pack
from kernels.build import SOURCE
from provisioning.gpu_selfcheck.basics import _within
from provisioning.gpu_selfcheck.correctness import PACKS, compare_stage_one
from provisioning.gpu_selfcheck.run import NEEDS_CARD, run_step
from provisioning.gpu_selfcheck.speed import pipeline_figures
from provisioning.gpu_selfcheck.step import Figures, Outcome, Place, Report, StepFailed, is_stand_in
from provisioning.gpu_selfcheck.steps import STEPS, function_of
from tests.contract.test_kernels_cuda import python
from tests.support.waiting import PATIENCE_S

BASIC = ("card", "driver", "fatbin")
CARD_ALONE = {"dali", "plans", "speed", "bus", "pipeline"}
"""Steps whose subject a stand-in does not have: the vendor's programs, and times."""

MEASURE = f"""
import pathlib
from kernels.device import Gpu
from provisioning.gpu_selfcheck.speed import bus_figures, kernel_figures
from provisioning.gpu_selfcheck.timing import Rings
with Gpu() as gpu, Rings(gpu, 32 << 20) as rings:
    kernels = kernel_figures(gpu, rings, pathlib.Path({str(SOURCE)!r}), (37, 28), (2, 3, 5, 7), 2)
    print(*kernels, *bus_figures(gpu, rings, 2), sep="\\n")
"""


PLANS = f"""
import json, pathlib, sys
from provisioning.gpu_selfcheck.correctness import build_plans
from provisioning.gpu_selfcheck.step import Place
place = Place(folder=pathlib.Path(sys.argv[1]), fatbin=pathlib.Path({str(SOURCE)!r}), stand_in=True)
print(json.dumps(build_plans(place)))
"""


def check(environment: dict[str, str], folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = python(environment, "-m", "provisioning.gpu_selfcheck", "--out", str(folder), *arguments)
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    text = (folder / "report.txt").read_text()
    assert text.rstrip("\n") in done.stdout
    assert report["stand_in"]
    assert "NO GPU: a stand-in" in text.splitlines()[1]
    assert all(step["outcome"] != "passed" for step in report["steps"]), "no step passes without a card"
    return done.returncode, {step["name"]: step for step in report["steps"]}


def chosen(*names: str) -> list[str]:
    return [argument for name in names for argument in ("--step", name)]


def test_every_step_has_a_function() -> None:
    assert len({function_of(step.name) for step in STEPS}) == len(STEPS)
    assert {step.name for step in STEPS if step.needs_card} == CARD_ALONE


def test_basic_steps_run_over_the_stand_in(environment: dict[str, str], tmp_path: Path) -> None:
    """The source stands for the fatbin, since the stand-in's machine code is its own."""
    code, steps = check(environment, tmp_path, "--fatbin", str(SOURCE), *chosen(*BASIC, "dali"))
    assert code == 0
    assert [steps[name]["outcome"] for name in BASIC] == ["stand-in only"] * len(BASIC)
    assert (steps["dali"]["outcome"], steps["dali"]["fault"]) == ("not run", NEEDS_CARD)
    assert steps["card"]["figures"]["name"] == "NVIDIA GeForce RTX 4090"


def test_failing_step_does_not_end_the_others(environment: dict[str, str], tmp_path: Path) -> None:
    code, steps = check(environment, tmp_path, "--fatbin", str(tmp_path / "no"), *chosen("fatbin", "driver"))
    assert code == 1
    assert steps["driver"]["outcome"] == "stand-in only"
    assert steps["fatbin"]["outcome"] == "failed"
    assert "no is missing: run " in steps["fatbin"]["fault"]


def run_program_as_step(program: str, folder: Path, limit_s: float, patch: pytest.MonkeyPatch) -> Report:
    """Run `program` in place of a step's process."""
    (folder / "ends").write_text(f"#!{sys.executable}\n{program}\n")
    (folder / "ends").chmod(0o755)
    patch.setattr(sys, "executable", str(folder / "ends"))
    return run_step(replace(STEPS[0], limit_s=limit_s), Place(folder=folder, fatbin=folder, stand_in=False))


@pytest.mark.parametrize(
    ("program", "fault"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "ended with status -11"),
        ("print('the driver says no'); raise SystemExit(3)", "ended with status 3: the driver says no"),
        ("pass", "ended with status 0"),
    ],
    ids=["crash", "exit", "silence"],
)
def test_step_whose_process_gives_no_answer_has_failed(
    program: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = run_program_as_step(program, tmp_path, PATIENCE_S, monkeypatch)
    assert report.outcome is Outcome.FAILED
    assert report.fault.startswith(fault)


def test_step_that_hangs_is_ended_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(str(tmp_path / "child"))
        held.listen()
        child = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({str(tmp_path / 'child')!r}); s.recv(1)"
        program = f"import subprocess, sys; subprocess.run([{sys.executable!r}, '-c', {child!r}])"
        report = run_program_as_step(program, tmp_path, 2, monkeypatch)
        assert (report.outcome, report.fault) == (Outcome.FAILED, "ended after 2 s; see card.log")
        held.settimeout(PATIENCE_S)
        connection, _ = held.accept()
        with connection:
            connection.settimeout(PATIENCE_S)
            assert connection.recv(1) == b"", "the child has gone"


def test_machine_without_the_stand_in_is_not_taken_for_it() -> None:
    assert not is_stand_in()


def test_kernels_and_bus_are_measured_by_their_names(environment: dict[str, str]) -> None:
    """The launches of the measurement are those of the product: the stand-in checks their arguments."""
    done = python(environment, "-c", MEASURE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "copy on the card, GB/s",
        "overlay, no heat",
        "overlay, heat on a tenth",
        "overlay, heat on all",
        "channel_weights",
        "combine",
        "up",
        "down",
    ]


def test_difference_beyond_its_limit_or_nan_fails_a_step() -> None:
    one, found = np.ones(3, np.float32), Figures()
    _within("a kernel", one + np.float32(0.5), one, 0.5, found)
    assert found == {"a kernel": 0.5}
    for wrong in (one + np.float32(0.6), one * np.float32("nan"), one[:1]):
        with pytest.raises(StepFailed, match="a kernel differs"):
            _within("a kernel", wrong, one, 0.5, found)


class Brighter(ReferencePreprocessor):
    """Stage 1 that makes every region too bright."""

    def regions(self, cuts: Sequence[Cut]) -> NDArray[np.uint8]:
        return np.minimum(super().regions(cuts).astype(int) + GREY_LEVELS + 2, 255).astype(np.uint8)


def test_stage_one_is_compared_pixel_by_pixel() -> None:
    on_cpu = DaliPreprocessor("cpu", 1)
    found = compare_stage_one(ReferencePreprocessor(), on_cpu, ["wrist"])
    shares = [share for name, share in found.items() if name.startswith("share") and isinstance(share, float)]
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    with pytest.raises(StepFailed, match="stage 1 differs"):
        compare_stage_one(on_cpu, Brighter(), ["wrist"])


@pytest.mark.release
def test_pipeline_is_measured_by_stage_and_batch() -> None:
    config = Configuration(analyse=Analyse(pack="phantom", compute="cpu"))
    found = pipeline_figures(assemble_workbench(config).pipeline, 1)
    assert set(found) == {"one radiograph, ms", "radiographs a second, by batch"}


@pytest.mark.release
def test_plans_are_built_and_loaded_each(environment: dict[str, str], tmp_path: Path) -> None:
    """The stand-in's, whose build the report never shows."""
    done = python(environment, "-c", PLANS, str(tmp_path))
    assert done.returncode == 0, done.stderr
    loaded = [name for name in json.loads(done.stdout) if name.endswith("loaded, s")]
    assert len(loaded) == sum(len(networks(read_pack(SHIPPED / pack, DIGEST))) for pack in PACKS)


@pytest.mark.release  # minutes
def test_whole_check_over_the_stand_in(environment: dict[str, str], tmp_path: Path) -> None:
    code, steps = check(environment, tmp_path, "--fatbin", str(SOURCE))
    assert code == 0, steps
    assert list(steps) == [step.name for step in STEPS]
    assert {name for name, step in steps.items() if step["outcome"] == "not run"} == CARD_ALONE
    assert all(step["fault"] in {"", NEEDS_CARD} for step in steps.values())
    assert steps["parity"]["figures"]["radiographs"] == 12
