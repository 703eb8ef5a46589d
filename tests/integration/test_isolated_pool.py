"""Several child processes at a time: each call has its own, and the end of one costs no other call anything."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from appliance.domain.reason import ReasonCode
from appliance.errors import Rejected, Transient
from appliance.service.isolated_pool import IsolatedPool, default_count
from tests.support.waiting import wait_until


def meet(folder: Path, name: str, others: tuple[str, ...], how: str = "well") -> int:
    """Wait until the calls `others` are under way as well, then behave as told; in a child process."""
    (folder / name).write_text(str(os.getpid()))
    while not all((folder / other).exists() for other in others):
        time.sleep(0.01)
    match how:
        case "segfault":
            ctypes.string_at(0)
        case "loop":
            while True:
                pass
    return os.getpid()


@pytest.fixture
def pool() -> Iterator[IsolatedPool[int]]:
    made = IsolatedPool(meet, 2, limit_s=2)
    yield made
    made.close()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as made:
        yield made


def test_two_calls_run_at_the_same_time_in_two_processes(
    pool: IsolatedPool[int], threads: ThreadPoolExecutor, tmp_path: Path
) -> None:
    first = threads.submit(pool, tmp_path, "a", ("b",))
    second = threads.submit(pool, tmp_path, "b", ("a",))
    assert first.result() != second.result()
    assert pool(tmp_path, "c", ()) in (first.result(), second.result())


@pytest.mark.parametrize(("how", "says"), [("segfault", "SIGSEGV"), ("loop", "2 s of processor time")])
def test_call_that_ends_its_process_costs_no_other_call(
    pool: IsolatedPool[int], threads: ThreadPoolExecutor, tmp_path: Path, how: str, says: str
) -> None:
    bad = threads.submit(pool, tmp_path, "bad", ("good",), how)
    good = threads.submit(pool, tmp_path, "good", ("bad",))
    assert good.result() == int((tmp_path / "good").read_text())
    with pytest.raises(Rejected, match=says):
        bad.result()
    again = [threads.submit(pool, tmp_path, name, others) for name, others in (("c", ("d",)), ("d", ("c",)))]
    assert int((tmp_path / "bad").read_text()) not in [each.result() for each in again]


def test_killed_process_costs_only_the_call_that_it_was_at(
    pool: IsolatedPool[int], threads: ThreadPoolExecutor, tmp_path: Path
) -> None:
    killed = threads.submit(pool, tmp_path, "killed", ("never",))
    wait_until((tmp_path / "killed").exists, "the call to be under way")
    other = threads.submit(pool, tmp_path, "other", ("later",))
    wait_until((tmp_path / "other").exists, "the other call to be under way")
    os.kill(int((tmp_path / "killed").read_text()), signal.SIGKILL)
    with pytest.raises(Transient) as caught:
        killed.result()
    assert caught.value.code is ReasonCode.DECODER_KILLED
    (tmp_path / "later").touch()
    assert other.result() == int((tmp_path / "other").read_text())


def test_interrupt_ends_every_call(pool: IsolatedPool[int], threads: ThreadPoolExecutor, tmp_path: Path) -> None:
    calls = [threads.submit(pool, tmp_path, name, ("never",)) for name in ("a", "b")]
    wait_until(lambda: (tmp_path / "a").exists() and (tmp_path / "b").exists(), "both calls to be under way")
    pool.interrupt()
    for call in calls:
        with pytest.raises(Transient, match="closed in the middle"):
            call.result()


def test_kernel_ends_a_child_first_if_memory_is_short(pool: IsolatedPool[int], tmp_path: Path) -> None:
    pid = pool(tmp_path, "a", ())
    assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "1000"


@pytest.mark.parametrize(("processors", "count"), [(1, 1), (2, 1), (3, 1), (4, 2), (6, 4), (16, 4)])
def test_default_count_leaves_two_processors(monkeypatch: pytest.MonkeyPatch, processors: int, count: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(processors)))
    assert default_count() == count
