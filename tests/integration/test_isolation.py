"""A call that ends its child process costs one call: it gets an error, and the next call a new child."""

import ctypes
import multiprocessing.spawn
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.domain.reason import ReasonCode
from appliance.errors import Killed, OsteonError, Rejected, Transient
from appliance.service import isolation
from appliance.service.isolation import Isolated
from tests.support.waiting import wait_until


def behave(how: str) -> str:
    """Behave as told, in the child process."""
    match how:
        case "well":
            return f"{os.getpid()}"
        case "segfault":
            ctypes.string_at(0)
        case "loop":
            while True:
                pass
        case "asleep":
            time.sleep(3)
            return "awake"
        case "locked":
            threading.Event().wait()
        case "bomb":
            bytearray(2**40)
        case "reject":
            raise Rejected(ReasonCode.BROKEN_PIXELS, "cut")
        case "bug":
            raise KeyError("Doe^Jane")
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "terminated":
            os.kill(os.getpid(), signal.SIGTERM)
            return "still there"
        case "hung up":
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored
            os.kill(os.getpid(), signal.SIGHUP)
        case "exit":
            os._exit(3)
        case "core":
            return str(resource.getrlimit(resource.RLIMIT_CORE))
        case "deep":
            nest: list[object] = []
            for _ in range(100_000):
                nest = [nest]
            return nest  # type: ignore[return-value]
    raise AssertionError(how)


def burn(seconds: float) -> str:
    """Take this much processor time, in the child process."""
    began = time.process_time()
    while time.process_time() - began < seconds:
        pass
    return "done"


class Left:
    """Behaves well; calls functions while a child process is started for it."""

    def __init__(self) -> None:
        self.leave: list[Callable[[], None]] = []

    def __call__(self) -> str:
        return behave("well")

    def __reduce__(self) -> tuple[type["Left"], tuple[()]]:
        for leave in self.leave:
            leave()
        return Left, ()


@pytest.fixture
def isolated() -> Iterator[Isolated[str]]:
    made = Isolated(behave, limit_s=2, limit_bytes=2**30)
    yield made
    made.close()


def numbers(count: int, first: int = 0) -> tuple[NDArray[np.uint16], str, NDArray[np.float64]]:
    """Return a large array, a text and a small array."""
    return np.arange(first, first + count).astype(np.uint16), "beside", np.array([[0.5]])


def test_arrays_are_returned_whole_and_large_ones_leave_the_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "KEPT_BYTES", 4_000_000)
    made = Isolated(numbers)
    try:
        for count, first in ((1_000_000, 7), (10, 1), (0, 0), (1_500_001, 3), (3_000_000, 5), (11, 2)):
            whole, beside, small = made(count, first)
            np.testing.assert_array_equal(whole, numbers(count, first)[0])
            assert (whole.dtype, beside, small.tolist()) == (np.dtype(np.uint16), "beside", [[0.5]])
            assert os.fstat(made._memory).st_size <= 4_000_000
    finally:
        made.close()


def test_child_process_serves_many_calls(isolated: Isolated[str]) -> None:
    assert isolated("well") == isolated("well") != str(os.getpid())


@pytest.mark.parametrize(
    ("how", "kind", "code", "says"),
    [
        ("segfault", Rejected, "decoder_died", "SIGSEGV"),
        ("loop", Rejected, "decoder_died", "more than 2 s of processor time"),
        ("exit", Rejected, "decoder_died", "exit status 3"),
        ("bomb", Rejected, "too_large", "memory"),
        ("deep", Rejected, "unreadable", "passed on"),
        ("reject", Rejected, "broken_pixels", "cut"),
        ("killed", Killed, "decoder_killed", "memory"),
        ("hung up", Killed, "decoder_killed", "SIGHUP"),
        ("bug", OsteonError, "bug", "KeyError"),
    ],
)
def test_bad_call_raises_its_error_and_the_next_call_works(
    isolated: Isolated[str], how: str, kind: type[OsteonError], code: str, says: str
) -> None:
    with pytest.raises(OsteonError, match=says) as caught:
        isolated(how)
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert "Doe" not in caught.value.reason
    assert isolated("well")


def test_call_of_a_busy_machine_takes_longer_than_its_processor_time() -> None:
    made = Isolated(behave, limit_s=1)
    try:
        assert made("asleep") == "awake"
        assert made("well")
    finally:
        made.close()


def test_call_that_gets_no_processor_for_long_is_tried_again_and_not_declined() -> None:
    made = Isolated(behave, longest_s=1)
    try:
        with pytest.raises(Transient, match="not done after 1 s") as caught:
            made("locked")
        assert caught.value.code is ReasonCode.DECODER_KILLED
        assert made("well")
    finally:
        made.close()


def test_processor_time_of_earlier_calls_does_not_count() -> None:
    made = Isolated(burn, limit_s=2)
    try:
        assert [made(0.8) for _ in range(4)] == ["done"] * 4
    finally:
        made.close()


def test_child_ignores_sigterm_and_finishes_its_call(isolated: Isolated[str]) -> None:
    """systemd and Ctrl-C signal every process of the role; the role itself ends the child."""
    assert isolated("terminated") == "still there"


@pytest.mark.proves("SEC-3")
def test_child_killed_between_calls_is_replaced(isolated: Isolated[str]) -> None:
    pid = int(isolated("well"))
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not isolated._process.is_alive(), "the child to be gone")
    assert int(isolated("well")) != pid


def test_child_that_cannot_begin_is_no_verdict_on_an_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocessing.spawn, "get_executable", lambda: b"/bin/false")
    isolated = Isolated(behave)
    try:
        with pytest.raises(Killed, match="could not begin"):
            isolated("well")
    finally:
        isolated.close()


def test_child_writes_no_core_file(isolated: Isolated[str]) -> None:
    assert isolated("core") == "(0, 0)"


def test_child_that_was_never_called_ends_without_an_error() -> None:
    isolated = Isolated(behave)
    wait_until(isolated._connection.poll, "the child to begin")
    isolated.close()
    assert isolated._process.exitcode == 0


def test_close_ends_the_child_process() -> None:
    made = Isolated(behave)
    pid = int(made("well"))
    made.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_interrupt_ends_the_call_of_another_thread() -> None:
    made = Isolated(behave, limit_s=30)
    assert made("well")
    with ThreadPoolExecutor(1) as thread:
        call = thread.submit(made, "loop")
        began = time.monotonic()
        made.interrupt()
        with pytest.raises(Transient, match="closed in the middle"):
            call.result()
    assert time.monotonic() - began < 10
    assert not made._process.is_alive()
    made.close()


def test_child_started_during_an_interrupt_is_ended() -> None:
    left = Left()
    made = Isolated(left)
    os.kill(int(made()), signal.SIGKILL)
    wait_until(lambda: not made._process.is_alive(), "the child to be gone")
    left.leave.append(made.interrupt)
    with pytest.raises(Transient, match="closed in the middle"):
        made()
    assert not made._process.is_alive()
    made.close()
