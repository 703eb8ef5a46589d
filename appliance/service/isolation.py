"""A function in a process of its own, which may die.

Parsers and codecs meet whatever a network sends. A segmentation fault, an endless loop or a decompression bomb there
ends that process and costs one radiograph; the caller gets a reason, and the next call a fresh process.

Outcomes are pickled; arrays in them go beside the pickle (PEP 574) through memory that both processes hold, which for
the pixels of a radiograph takes less than half of the time that the socket does.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import resource
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from appliance.domain.reason import ReasonCode
from appliance.errors import OsteonError, Rejected, Transient

from .bugs import bug
from .log import hush_libraries, set_up_logging

LIMIT_S = 30
"""A 120-megapixel JPEG 2000 takes some 20 s on one slow core; the watchdog of the role waits 120 s."""

LIMIT_BYTES = 3 * 2**30
"""Seven copies, some 32 bits wide, of the largest image that `dicom.reading.reader` accepts."""

ITS_OWN = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL, signal.SIGALRM, signal.SIGSYS}
"""Signals by which a call ends its process; any other comes from somebody else, and says nothing of the arguments."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class Isolated(Generic[T]):
    """Calls `function`, which must be importable, in a child process; arguments and outcome are pickled.

    Parameters
    ----------
    limit_s
        Seconds after which a call is ended.
    limit_bytes
        Memory that a call may take beyond what the process has at its start.
    """

    def __init__(self, function: Callable[..., T], *, limit_s: int = LIMIT_S, limit_bytes: int = LIMIT_BYTES) -> None:
        self._function, self._limits = function, (limit_s, limit_bytes)
        self._memory = os.memfd_create("osteon")
        self._is_over = False
        self._start()

    def __call__(self, *arguments: object) -> T:
        """What the function returns.

        Raises
        ------
        OsteonError
            What the function raised.
        Rejected
            ``decoder_died``: these arguments end the process, or take too long.
        Transient
            ``decoder_killed``: somebody else ended it.
        """
        if not self._process.is_alive():  # between two calls, so this one is not to blame
            self._connection.close()
            self._start()
        try:
            self._connection.send(arguments)
            pickled, sizes = self._connection.recv()
        except (EOFError, OSError):
            self._bury(self._limits[0])
        outcome = pickle.loads(pickled, buffers=_taken(self._memory, sizes))
        if isinstance(outcome, OsteonError):
            raise outcome
        return outcome

    def interrupt(self) -> None:
        """End the call that another thread waits for, where it is ``decoder_killed``; it is the last one."""
        self._is_over = True
        self._process.kill()

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.join(self._limits[0])
        os.close(self._memory)

    def _start(self) -> None:
        if self._is_over:
            raise Transient(ReasonCode.DECODER_KILLED, "the instance is not waited for any more")
        # a fork would inherit the threads' locks of DALI and the inference engine
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        arguments = (theirs, _SharedMemory(self._memory), self._function, *self._limits)
        process = context.Process(target=_serve, args=arguments, daemon=True)
        process.start()
        self._process = process  # from here on `interrupt` ends this one
        if self._is_over:
            process.kill()
        theirs.close()

    def _bury(self, limit_s: int) -> NoReturn:
        self._connection.close()
        self._process.join(limit_s)
        code = self._process.exitcode or 0
        os.ftruncate(self._memory, 0)
        self._start()
        cause = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        log.error("the process that reads instances died (%s); a new one is started", cause)
        if code <= 0 and -code not in ITS_OWN:
            raise Transient(
                ReasonCode.DECODER_KILLED, f"the process that reads instances was ended ({cause}): is memory short?"
            )
        if code == -signal.SIGALRM:
            raise Rejected(
                ReasonCode.DECODER_DIED, f"reading the instance took longer than {limit_s} s: try its job again"
            )
        raise Rejected(ReasonCode.DECODER_DIED, f"reading the instance ended its process ({cause}): export it again")


class _SharedMemory:
    """A memory file's descriptor on its way to a new process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __reduce__(self) -> tuple[Callable[[Any], int], tuple[Any]]:
        return _detached, (DupFd(self._descriptor),)


def _detached(duplicate: Any) -> int:
    return int(duplicate.detach())


def _given(memory: int, outcome: object) -> tuple[bytes, list[int]]:
    """`outcome` pickled, its arrays in `memory` one after the other, and their sizes in bytes."""
    arrays: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(outcome, protocol=5, buffer_callback=arrays.append)
    offset, sizes = 0, []
    for array in arrays:
        raw = array.raw()
        while raw:
            count = os.pwrite(memory, raw, offset)
            raw, offset = raw[count:], offset + count
        sizes.append(array.raw().nbytes)
    return pickled, sizes


def _taken(memory: int, sizes: list[int]) -> list[NDArray[np.uint8]]:
    """What lies in `memory`, which is empty afterwards."""
    offset, arrays = 0, []
    for size in sizes:
        array = np.empty(size, np.uint8)
        rest = memoryview(array.data)
        while rest:
            if not (count := os.preadv(memory, [rest], offset)):
                raise AssertionError("what was passed on is shorter than was said")
            rest, offset = rest[count:], offset + count
        arrays.append(array)
    os.ftruncate(memory, 0)
    return arrays


def _serve(connection: Connection, memory: int, function: Callable[..., Any], limit_s: int, limit_bytes: int) -> None:
    set_up_logging()
    hush_libraries()
    for number in (signal.SIGINT, signal.SIGTERM):  # they are for the role, which closes the connection
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process, also inside a codec
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most_bytes = pages * resource.getpagesize() + limit_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold a patient's data
    while True:
        try:
            arguments = connection.recv()
        except EOFError:
            return
        signal.alarm(limit_s)
        outcome = _outcome(function, arguments)
        signal.alarm(0)
        try:
            given = _given(memory, outcome)
        except (MemoryError, RecursionError):
            reason = "what the instance holds cannot be passed on: export it again"
            given = _given(memory, Rejected(ReasonCode.UNREADABLE, reason))
        except Exception as error:  # noqa: BLE001  what cannot be pickled: likewise
            given = _given(memory, bug(error, "passing an instance on"))
        connection.send(given)
        del arguments, outcome, given


def _outcome(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    try:
        return function(*arguments)
    except OsteonError as error:
        return error
    except MemoryError:
        return Rejected(ReasonCode.TOO_LARGE, "reading it takes more memory than a radiograph may need: send it again")
    except Exception as error:  # noqa: BLE001  as in the worker loop: a bug costs one radiograph
        return bug(error, "reading an instance")
