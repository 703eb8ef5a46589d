"""Reader of the spool: decodes the next instances while the analyse role infers and renders the current ones."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from appliance.analysis.pipeline import Pipeline
from appliance.storage.spool import FileSpool

from .batching import BATCH_PX
from .examined_instance import Examined
from .instance_reader import Reader


@dataclass(frozen=True, slots=True)
class SpooledInstance:
    """An instance in the spool: the SHA-256 of its bytes, and the AE title that sent it."""

    digest: str
    calling_ae_title: str


class SpoolReader(Reader):
    """Reads instances of the spool, and decodes those that come next before their turn.

    `_begun` holds the decoding of each instance that was begun and not yet asked for. Its value is None if as many
    pixels were decoded as a batch may have; the instance is then decoded in its turn. Decoded ahead are at most those
    pixels, and for each child process those of one radiograph.
    """

    def __init__(self, pipeline: Pipeline, spool: FileSpool, processes: int = 1) -> None:
        super().__init__(pipeline, processes)
        self._spool = spool
        self._begun: dict[SpooledInstance, Future[Examined | None]] = {}

    def decode_ahead(self, coming: Sequence[SpooledInstance]) -> None:
        """Begin to decode the instances that come next; drop any others that were begun."""
        for instance in self._begun.keys() - set(coming):
            self._begun.pop(instance).cancel()
        for instance in coming:
            begun = self._begun.get(instance)
            if begun is None or _was_postponed(begun):
                self._begun[instance] = self._submit(self._decode_if_room, instance)

    def decoded(self, instance: SpooledInstance) -> Examined | None:
        """Return the instance if it was decoded before its turn without an error, else None."""
        begun = self._begun.get(instance)
        return _result_by_now(begun) if begun else None

    def examine_spooled(self, instance: SpooledInstance) -> Examined:
        """Return the examined instance, decoded before its turn or now; raises as `examine`."""
        begun = self._begun.pop(instance, None)
        if begun and (examined := begun.result()):
            return examined
        for other, waiting in list(self._begun.items()):
            if waiting.cancel():  # it has not begun, and this instance comes before it after all
                del self._begun[other]
        return self.examine(self._load(instance), instance.calling_ae_title)

    def _decode_if_room(self, instance: SpooledInstance) -> Examined | None:
        """Examine the instance, on a reading thread; None if a batch's worth of pixels is decoded already."""
        decoded = [_result_by_now(begun) for begun in list(self._begun.values())]  # copied: another thread changes it
        held_px = sum(examined.size_px for examined in decoded if examined)
        if held_px >= BATCH_PX:
            return None
        return self._examine_now(self._load(instance), instance.calling_ae_title)

    def _load(self, instance: SpooledInstance) -> partial[bytes]:
        return partial(self._spool.get, instance.digest)


def _result_by_now(begun: Future[Examined | None]) -> Examined | None:
    """Return the result of a decoding that has ended without an error, else None."""
    return begun.result() if begun.done() and not begun.cancelled() and not begun.exception() else None


def _was_postponed(begun: Future[Examined | None]) -> bool:
    """Tell whether a decoding ended for want of room, so that it is to be tried again."""
    return begun.done() and not begun.exception() and begun.result() is None
