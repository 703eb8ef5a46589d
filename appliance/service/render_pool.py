"""Render processes of the analyse role: they draw, encode and keep artefacts while the role infers the next radiograph.

The role alone touches the GPU and the database: it hands over a reading, with the heat already blended where a GPU
blends, and gets the digests of files that are durable. A process that dies costs its radiograph a retry.
"""

from __future__ import annotations

import logging
import mmap
import multiprocessing
import os
import pickle
import signal
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import accumulate
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn, Protocol

from appliance.config import DestinationConfig
from appliance.domain.reason import ReasonCode
from appliance.errors import Killed, OsteonError, Transient
from appliance.picture.heat import Draw, draw_heats
from appliance.storage.spool import FileSpool

from .artefacts import Blended, Rendered, Renderer, blend, drawn_before
from .confinement import confine
from .isolated_pool import default_count
from .isolation import OWN_SIGNALS
from .log import hush_libraries, set_up_logging
from .reading import Reading
from .unexpected_error import log_unexpected

KEPT_BYTES = 64 * 2**20
"""Size of the shared memory that stays allocated between radiographs: new pages cost more than the copy into them."""

LIMIT_BYTES = 6 * 2**30
"""Most memory of a rendering: the largest radiograph that is read, uncompressed beside its overlay, takes
2.7 GiB, and each look that a GPU has blended 0.4."""

OOM_SCORE_ADJ = 900
"""If memory is short, the kernel ends a process that renders before the role, and after one that reads."""

LONGEST_S = 100.0
"""Longest rendering from its begin by the clock, however busy the machine is: the role's watchdog waits 120 s."""

STOP_S = 5.0
"""Time that a process has to end its rendering when the role stops."""

log = logging.getLogger(__name__)


class Rendering(Protocol):
    """A rendering that was begun."""

    def is_done(self) -> bool:
        """Return whether `result` returns at once."""
        ...

    def result(self) -> Rendered:
        """Return the rendered artefacts once they are durable, or raise the error of the rendering."""
        ...


class Renders(Protocol):
    """Rendering of radiographs, at most `count` at a time while the caller goes on; with 0 of them, it waits."""

    count: int

    def begin(self, reading: Reading) -> Rendering:
        """Begin to render a radiograph; fewer than `count` may be rendering."""
        ...


class RendersHere:
    """Rendering in the role itself, where one core is all there is."""

    count = 0

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def begin(self, reading: Reading) -> Rendering:
        """Render the radiograph now; raises as `Renderer.render_radiograph`."""
        return _Done(self._renderer.render_and_keep(reading))


class RenderPool:
    """Rendering in `count` processes of their own.

    Parameters
    ----------
    draw
        Draws heat maps: in the processes if it is `draw_heats`, else in the role.
    """

    def __init__(self, count: int, destinations: Sequence[DestinationConfig], spool_dir: Path, draw: Draw) -> None:
        self.count = count
        self._destinations = destinations
        self._draw = draw
        self._all = [_RenderProcess(destinations, spool_dir) for _ in range(count)]
        self._free = deque(self._all)

    def begin(self, reading: Reading) -> Rendering:
        """Hand the radiograph to a free process, which stays free if that fails.

        Raises
        ------
        Transient
            ``rendering_died`` if its process had ended and no new one can be started now.
        """
        blended = None if self._draw is draw_heats else blend(reading, self._destinations, self._draw)
        process = self._free.popleft()
        try:
            process.begin(reading, blended)
        except BaseException:
            self._free.append(process)
            raise
        return _Begun(process, self._free)

    def pids(self) -> list[int]:
        """Return the ids of the processes."""
        return [process.pid for process in self._all]

    def close(self) -> None:
        """End the processes."""
        for process in self._all:
            process.close()


def process_count() -> int:
    """Return the number of render processes for this machine: as many as decode, but none where there is one core."""
    return default_count() if len(os.sched_getaffinity(0)) > 1 else 0


class _Done:
    """A rendering that is done."""

    def __init__(self, rendered: Rendered) -> None:
        self._rendered = rendered

    def is_done(self) -> bool:
        return True

    def result(self) -> Rendered:
        return self._rendered


class _Begun:
    """A rendering in a process, which is free for the next one once the result was asked for."""

    def __init__(self, process: _RenderProcess, free: deque[_RenderProcess]) -> None:
        self._process, self._free = process, free

    def is_done(self) -> bool:
        return self._process.has_answered()

    def result(self) -> Rendered:
        try:
            return self._process.result()
        finally:
            self._free.append(self._process)


class _RenderProcess:
    """A process that renders one radiograph after the other; readings travel through memory that it maps.

    The pipe, on which a process that is busy may keep the role waiting, carries their sizes alone.
    """

    def __init__(self, *arguments: object) -> None:
        self._arguments = arguments
        self._memory = os.memfd_create("osteon-render")
        self._start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def begin(self, reading: Reading, blended: Blended | None) -> None:
        if not self._process.is_alive():  # it died after its last radiograph, so this one is not to blame
            self._connection.close()
            try:
                self._start()
            except OSError as error:
                reason = f"no process that renders can be started: {error.strerror}"
                raise Transient(ReasonCode.RENDERING_DIED, reason) from error
        self._begun_at = time.monotonic()
        arrays: list[pickle.PickleBuffer] = []
        pickled = pickle.dumps((reading, blended), protocol=5, buffer_callback=arrays.append)
        parts = [memoryview(pickled), *(array.raw() for array in arrays)]
        offset = 0
        for part in parts:
            rest = part
            while rest:
                count = os.pwrite(self._memory, rest, offset)
                rest, offset = rest[count:], offset + count
        with suppress(OSError):  # the process has died: `result` says so
            self._connection.send((f"/proc/{os.getpid()}/fd/{self._memory}", [part.nbytes for part in parts]))

    def has_answered(self) -> bool:
        return self._connection.poll()

    def result(self) -> Rendered:
        try:
            if not self._connection.poll(max(self._begun_at + LONGEST_S - time.monotonic(), 0.0)):
                self._end(f"rendering was not done after {LONGEST_S:.0f} s", by_itself=True)
            answer = self._connection.recv()
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode or 0
            cause = signal.Signals(-code).name if code < 0 else f"exit status {code}"
            self._end(f"the process that renders died ({cause})", by_itself=code > 0 or -code in OWN_SIGNALS)
        if os.fstat(self._memory).st_size > KEPT_BYTES:
            os.ftruncate(self._memory, KEPT_BYTES)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Rendered)
        return answer

    def close(self) -> None:
        self._connection.close()
        self._process.join(STOP_S)
        self._process.kill()
        self._process.join()
        os.close(self._memory)

    def _start(self) -> None:
        # a fork would inherit the threads' locks of DALI and the inference engine
        context = multiprocessing.get_context("spawn")
        connection, childs_connection = context.Pipe()
        process = context.Process(target=_serve, args=(childs_connection, *self._arguments), daemon=True)
        with childs_connection:
            process.start()
        self._connection, self._process = connection, process

    def _end(self, what: str, *, by_itself: bool) -> NoReturn:
        """End the process, which the next radiograph starts anew, and raise the error of this one."""
        log.error("%s; the next radiograph has a new one", what)
        self._process.kill()
        self._process.join()
        kind = OsteonError if by_itself else Killed
        raise kind(ReasonCode.RENDERING_DIED, f"{what}: the radiograph is analysed again")


def _serve(connection: Connection, destinations: Sequence[DestinationConfig], spool_dir: Path) -> None:
    """Render until the role closes the connection, or ends."""
    set_up_logging()
    hush_libraries()
    for number in (signal.SIGINT, signal.SIGTERM):  # the role handles them, and closes the connection
        signal.signal(number, signal.SIG_IGN)
    confine(LIMIT_BYTES, OOM_SCORE_ADJ)
    renderer = Renderer(destinations=destinations, put=FileSpool(spool_dir).put, draw=draw_heats)
    while True:
        try:
            memory, sizes = connection.recv()
        except (EOFError, OSError):
            os._exit(0)  # nothing is left to be written; the libraries take a second to be unloaded
        answer = _answer(renderer, memory, sizes)
        with suppress(OSError):  # the role has ended: its next start renders this radiograph again
            connection.send(answer)


def _answer(renderer: Renderer, memory: str, sizes: list[int]) -> Rendered | Exception:
    """Return the rendered artefacts, or the error to raise in the role."""
    try:
        pickled, *arrays = _parts(memory, sizes)
        reading, blended = pickle.loads(pickled, buffers=arrays)  # noqa: S301  from the role
        draw = draw_heats if blended is None else drawn_before(blended)
        return replace(renderer, draw=draw).render_and_keep(reading)
    except OsteonError as error:
        return error
    except Exception as error:  # noqa: BLE001  an unexpected error costs one radiograph a retry
        return log_unexpected(error, "rendering a radiograph")


def _parts(memory: str, sizes: list[int]) -> list[memoryview]:
    """Map parts of these sizes in bytes, one after the other in the file `memory`."""
    with Path(memory).open("rb") as file:
        mapped = memoryview(mmap.mmap(file.fileno(), sum(sizes), prot=mmap.PROT_READ))
    ends = accumulate(sizes)
    return [mapped[end - size : end] for size, end in zip(sizes, ends, strict=True)]
