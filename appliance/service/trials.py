"""Analysis of trials: the same reading and the same pipeline as a radiograph's, and none of its consequences.

A trial is read in a process of its own, so that a hostile file keeps no radiograph waiting, and analysed when no
radiograph is due. Its answer is two files: nothing here knows studies, reports, deliveries or figures.
"""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import dataclass
from functools import partial

from PIL import Image
from sqlalchemy.exc import SQLAlchemyError

from appliance.config import Analyse, Picture
from appliance.dicom.objects.wrapped_picture import instance_from_file
from appliance.domain.job import Event, Lease
from appliance.domain.result import Result
from appliance.picture.heat import Draw
from appliance.picture.overlay import overlay
from appliance.storage.trials import TrialQueue, TrialStore, record_answer

from .error_policy import Action, settling_failures
from .examined_instance import Examined, Load, examine
from .isolation import Isolated
from .reading import Reading

LOOK = Picture(longest_px=1600)
"""The look of the picture: it fits a screen, and is drawn in a fraction of a second."""

LIMIT_S = 20
"""Most processor time for reading a trial; the largest radiograph as JPEG 2000 takes as much on one slow core."""

LONGEST_S = 60
"""Longest reading of a trial by the clock; a person waits for it."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    """A leased trial that is being read."""

    lease: Lease
    process: Isolated[Examined]
    examined: Future[Examined]


class Trials:
    """Analyses one trial at a time.

    Parameters
    ----------
    read
        Analyses an examined instance.
    wake
        Is called on another thread when a trial has been read: the role may wait.
    """

    def __init__(
        self,
        queue: TrialQueue,
        store: TrialStore,
        read: Callable[[Examined], Reading],
        *,
        rules: Analyse,
        draw: Draw,
        wake: Callable[[], None],
    ) -> None:
        self._queue = queue
        self._store = store
        self._read = read
        self._rules = rules
        self._draw = draw
        self._wake = wake
        self._thread = ThreadPoolExecutor(1, "trial")
        self._begun: _Begun | None = None

    @property
    def rest_s(self) -> float:
        """Seconds until a trial is due that waits for its time."""
        return math.inf if self._begun else self._queue.rest_s

    def step(self) -> bool:
        """Begin to read the next trial, or answer the one that has been read; return False if neither can be done."""
        if self._begun is None:
            leases = self._queue.lease()
            for lease in leases:
                self._begin(lease)
            return bool(leases)
        if not self._begun.examined.done():
            return False
        begun, self._begun = self._begun, None
        with self._settling_failures(begun.lease):
            self._answer(begun.lease, begun.examined.result())
        self._store.remove_uploads()
        return True

    def close(self) -> None:
        """End the process that reads, and give its trial back."""
        if self._begun:
            self._begun.process.interrupt()
        self._thread.shutdown()
        if self._begun:
            with suppress(SQLAlchemyError):
                self._queue.put_back(self._begun.lease)

    def _begin(self, lease: Lease) -> None:
        with self._settling_failures(lease):
            load = partial(_load, partial(self._store.files.get, self._queue.digest(lease)))
            process = Isolated(examine, limit_s=LIMIT_S, longest_s=LONGEST_S)
            examined = self._thread.submit(_examine_and_close, process, load, self._rules)
            self._begun = _Begun(lease=lease, process=process, examined=examined)
            examined.add_done_callback(lambda _: self._wake())

    def _answer(self, lease: Lease, examined: Examined) -> None:
        """Analyse a trial, draw its picture, and record both."""
        lease = self._queue.renew(lease)
        reading = self._read(examined)
        result = reading.analysis.result
        picture = _picture(reading, result, self._draw)
        if reason := result.not_analysed:
            ending = self._queue.ending(lease, Event.DECLINE, reason.code, str(reason.reason))
        else:
            ending = self._queue.ending(lease, Event.FINISH)
        with ending as c:  # the files, too, are written only while no other may remove the trial
            put = self._store.files.put
            record_answer(c, lease.job_id, result_digest=put(result.to_json().encode()), picture_digest=put(picture))
        log.info("trial %d is answered", lease.job_id)

    def _settling_failures(self, lease: Lease) -> AbstractContextManager[None]:
        return settling_failures(self._queue, lease, f"trial {lease.job_id}", rejected=Action.DECLINE)


def _load(get: Load) -> bytes:
    """Load the file of a trial, and wrap a picture, in the process that reads."""
    return instance_from_file(get())


def _examine_and_close(process: Isolated[Examined], load: Load, rules: Analyse) -> Examined:
    with closing(process):
        return process(load, "", rules)


def _picture(reading: Reading, result: Result, draw: Draw) -> bytes:
    """Return the overlay as PNG."""
    file = io.BytesIO()
    drawn = overlay(reading.grey, result, reading.analysis.heats, LOOK, draw)
    Image.fromarray(drawn).save(file, "PNG", compress_level=1)
    return file.getvalue()
