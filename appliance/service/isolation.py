"""Isolation of a function in a child process that may die.

Parsers and codecs meet hostile bytes. A segmentation fault, an endless loop or a decompression bomb ends the child
process and costs one radiograph: the caller gets an error with the reason, and the next call a new child.

Results are pickled. Their arrays travel beside the pickle (PEP 574) through memory that both processes map, which takes
less than half the time of the socket for the pixels of a radiograph.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import DupFd
from typing import Any, Generic, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from appliance.domain.reason import ReasonCode
from appliance.domain.sentence import Sentence
from appliance.errors import Killed, OsteonError, Rejected

from .confinement import confine
from .heap import keep_freed_memory
from .log import hush_libraries, set_up_logging
from .unexpected_error import log_unexpected

LIMIT_S = 30
"""Most processor time of a call. A 120-megapixel JPEG 2000 takes some 20 s on one slow core."""

LONGEST_S = 100
"""Longest call by the clock, however busy the machine is: the role's watchdog waits 120 s."""

LIMIT_BYTES = 3 * 2**30
"""Most memory of a call: seven copies, some 32 bits wide, of the largest image that `dicom.reading.reader` accepts."""

KEPT_BYTES = 64 * 2**20
"""Size of the shared memory that stays allocated between calls: new pages cost three times as much as the copy."""

OWN_SIGNALS = {
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGABRT,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGPROF,
    signal.SIGSYS,
}
"""Signals by which a call ends its own process; any other signal was sent by another process."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class Isolated(Generic[T]):
    """Calls a function in a child process; the function is importable, its arguments and its result are pickled.

    Parameters
    ----------
    limit_s
        Processor time after which a call is ended, seconds: a busy machine takes longer and costs no instance.
    longest_s
        Time by the clock after which a call is ended, to be tried again, seconds.
    limit_bytes
        Memory that a call may take in addition to that of the child process at its start.
    """

    def __init__(
        self,
        function: Callable[..., T],
        *,
        limit_s: int = LIMIT_S,
        longest_s: int = LONGEST_S,
        limit_bytes: int = LIMIT_BYTES,
    ) -> None:
        self._function = function
        self._limits = (limit_s, longest_s, limit_bytes)
        self._memory = os.memfd_create("osteon")
        self._is_interrupted = False
        self._process: BaseProcess
        self._connection: Connection
        self._has_begun: bool
        self._start()

    def __call__(self, *arguments: object) -> T:
        """Return the result of the function.

        Raises
        ------
        OsteonError
            The error that the function raised.
        Rejected
            ``decoder_died`` if these arguments ended the child process, or took too much processor time.
        Killed
            ``decoder_killed`` if another process ended the child, it could not begin, or the machine was too busy.
        """
        if not self._process.is_alive():  # it died between two calls, so this call is not to blame
            self._connection.close()
            self._start()
        try:
            if not self._has_begun:
                self._connection.recv()
                self._has_begun = True
            self._connection.send(arguments)
            pickled, sizes = self._connection.recv()
        except (EOFError, OSError):
            self._replace_dead_process()
        result = pickle.loads(pickled, buffers=_read_arrays(self._memory, sizes))  # noqa: S301  from our own child
        if isinstance(result, OsteonError):
            raise result
        return result

    def interrupt(self) -> None:
        """End the call that another thread waits for; it raises ``decoder_killed``, and no call follows."""
        self._is_interrupted = True
        self._process.kill()

    def close(self) -> None:
        """End the child process after its last call."""
        self._connection.close()
        self._process.join(self._limits[1])
        os.close(self._memory)

    def _start(self) -> None:
        if self._is_interrupted:
            raise Killed(ReasonCode.DECODER_KILLED, "the reader was closed in the middle of the instance")
        self._has_begun = False
        # a fork would inherit the threads' locks of DALI and the inference engine
        context = multiprocessing.get_context("spawn")
        self._connection, childs_connection = context.Pipe()
        arguments = (childs_connection, _SharedMemory(self._memory), self._function, *self._limits)
        process = context.Process(target=_serve, args=arguments, daemon=True)
        process.start()
        self._process = process  # from here on `interrupt` ends this process
        if self._is_interrupted:
            process.kill()
        childs_connection.close()

    def _replace_dead_process(self) -> NoReturn:
        """Start a new child process, and raise the error that names the end of the old one."""
        limit_s, longest_s, _ = self._limits
        self._connection.close()
        self._process.join(longest_s)
        code, had_begun = self._process.exitcode or 0, self._has_begun
        _shrink(self._memory)
        self._start()
        cause = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        log.error("the process that reads instances died (%s); a new one is started", cause)
        if not had_begun:  # before any instance: a library is missing, or memory
            raise Killed(ReasonCode.DECODER_KILLED, f"the process that reads instances could not begin ({cause})")
        if code == -signal.SIGALRM:
            reason = f"reading the instance was not done after {longest_s} s, while the machine was busy: tried again"
            raise Killed(ReasonCode.DECODER_KILLED, reason)
        if code <= 0 and -code not in OWN_SIGNALS:
            raise Killed(
                ReasonCode.DECODER_KILLED, f"the process that reads instances was ended ({cause}): is memory short?"
            )
        if code == -signal.SIGPROF:
            sentence = Sentence.of(
                "reading the instance took more than {limit_s} s of processor time: export it again", limit_s=limit_s
            )
            raise Rejected(ReasonCode.DECODER_DIED, sentence)
        sentence = Sentence.of("reading the instance ended its process ({cause}): export it again", cause=cause)
        raise Rejected(ReasonCode.DECODER_DIED, sentence)


class _SharedMemory:
    """The descriptor of a memory file, pickled as a duplicate for the child process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __reduce__(self) -> tuple[Callable[[Any], int], tuple[Any]]:
        return _detach, (DupFd(self._descriptor),)


def _detach(duplicate: Any) -> int:
    return int(duplicate.detach())


def _write(memory: int, result: object) -> tuple[bytes, list[int]]:
    """Write the arrays of `result` one after the other into `memory`; return its pickle and their sizes in bytes."""
    arrays: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(result, protocol=5, buffer_callback=arrays.append)
    offset, sizes = 0, []
    for array in arrays:
        raw = array.raw()
        while raw:
            count = os.pwrite(memory, raw, offset)
            raw, offset = raw[count:], offset + count
        sizes.append(array.raw().nbytes)
    return pickled, sizes


def _read_arrays(memory: int, sizes: list[int]) -> list[NDArray[np.uint8]]:
    """Read arrays of these sizes in bytes from `memory`, and free all of it but `KEPT_BYTES`."""
    offset, arrays = 0, []
    for size in sizes:
        array = np.empty(size, np.uint8)
        rest = memoryview(array.data)
        while rest:
            if not (count := os.preadv(memory, [rest], offset)):
                raise AssertionError("the shared memory ends before the last array")
            rest, offset = rest[count:], offset + count
        arrays.append(array)
    _shrink(memory)
    return arrays


def _shrink(memory: int) -> None:
    if os.fstat(memory).st_size > KEPT_BYTES:
        os.ftruncate(memory, KEPT_BYTES)


def _serve(
    connection: Connection,
    memory: int,
    function: Callable[..., Any],
    limit_s: int,
    longest_s: int,
    limit_bytes: int,
) -> None:
    set_up_logging()
    hush_libraries()
    keep_freed_memory()
    for number in (signal.SIGINT, signal.SIGTERM):  # the role handles them, and closes the connection
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGALRM, signal.SIGPROF):  # they end the process, also inside a codec
        signal.signal(number, signal.SIG_DFL)
    confine(limit_bytes, oom_score_adj=1000)
    with suppress(BrokenPipeError):  # the role has ended meanwhile, and `recv` says so
        connection.send("begun")
    while True:
        try:
            arguments = connection.recv()
        except (EOFError, OSError):  # OSError if the role closes it before it has read that this process has begun
            return
        signal.alarm(longest_s)
        signal.setitimer(signal.ITIMER_PROF, limit_s)
        result = _call(function, arguments)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        try:
            written = _write(memory, result)
        except (MemoryError, RecursionError):
            reason = "its content is too large or too deep to be passed on: export it again"
            written = _write(memory, Rejected(ReasonCode.UNREADABLE, reason))
        except Exception as error:  # noqa: BLE001  pydicom's values can raise anything when pickled
            written = _write(memory, log_unexpected(error, "passing an instance on"))
        connection.send(written)
        del arguments, result, written  # they hold a patient's data, and memory


def _call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Return the result of the function, or the error to raise in the parent process."""
    try:
        return function(*arguments)
    except OsteonError as error:
        return error
    except MemoryError:
        return Rejected(ReasonCode.TOO_LARGE, "reading it takes more memory than a radiograph may need: send it again")
    except Exception as error:  # noqa: BLE001  an unexpected error in a parser costs one radiograph
        return log_unexpected(error, "reading an instance")
