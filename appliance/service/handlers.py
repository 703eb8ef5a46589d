"""What the analyse and deliver roles do with a job, and what becomes of it when that fails."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Engine

from appliance.analysis.pipeline import Pipeline
from appliance.config import DestinationConfig
from appliance.domain.job import Event, Lease
from appliance.errors import Fault, OsteonError, Rejected, Transient
from appliance.ports import Artefact, Destination
from appliance.storage.ledger import delivery, instance_of, record_result
from appliance.storage.queue import Queue
from appliance.storage.spool import FileSpool
from appliance.storage.tables import deliveries
from engines.runner import RunnerError

from .answers import outgoing
from .reading import read

AT_ONCE = 8
"""Objects on one association; more would let a lease run out on a slow peer."""

log = logging.getLogger(__name__)


class Analyser:
    """Takes one radiograph at a time from received to answered."""

    def __init__(
        self,
        engine: Engine,
        queue: Queue,
        spool: FileSpool,
        pipeline: Pipeline,
        destinations: Sequence[DestinationConfig],
    ) -> None:
        self._engine, self._queue, self._spool = engine, queue, spool
        self._pipeline, self._destinations = pipeline, destinations
        self.done = 0

    def step(self) -> bool:
        """Analyse the oldest radiograph that is due; False if there is none."""
        leases = self._queue.lease()
        for lease in leases:
            self._analyse(lease)
            self.done += 1
        return bool(leases)

    def _analyse(self, lease: Lease) -> None:
        try:
            self._answer(lease)
        except Rejected as error:
            with self._queue.ending(lease, Event.DECLINE, error.code, error.reason):
                pass
        except Transient as error:
            log.warning("analysis %d waits: %s", lease.job_id, error)
            self._queue.failed(lease, error)
        except RunnerError as error:
            raise Fault("engine_failed", str(error)) from error
        except Fault:
            raise
        except Exception as error:  # noqa: BLE001  the one broad handler of this role: a bug costs one radiograph
            self._queue.failed(lease, _bug(error, f"analysis {lease.job_id}"))

    def _answer(self, lease: Lease) -> None:
        row = instance_of(self._engine, lease.job_id)
        reading = read(self._spool.get(row.digest), self._pipeline)
        result = reading.analysis.result
        lease = self._queue.renew(lease)
        made = outgoing(reading.source, reading.analysis, reading.grey, self._destinations, self._spool.put)
        reason = result.not_analysed
        event = Event.DECLINE if reason else Event.FINISH
        with self._queue.ending(lease, event, *((reason.code, reason.reason) if reason else ())) as connection:
            record_result(connection, lease.job_id, result, made)


class Courier:
    """Brings the answers for one destination there; a deaf one holds up nobody else."""

    def __init__(self, engine: Engine, queue: Queue, spool: FileSpool, destination: Destination) -> None:
        self._engine, self._queue, self._spool = engine, queue, spool
        self.destination = destination
        self.done = 0

    def step(self) -> bool:
        """Send what is due, oldest first, on one association; False if there is nothing."""
        leases = self._queue.lease(deliveries.c.destination == self.destination.name, most=AT_ONCE)
        self._send(leases)
        return bool(leases)

    def _send(self, leases: list[Lease]) -> None:
        if not leases:
            return
        try:
            leases = [self._queue.renew(lease) for lease in leases]
            notes = self.destination.send([self._artefact(lease) for lease in leases])
        except Rejected as error:
            if len(leases) > 1:  # find out which one it was
                for lease in leases:
                    self._send([lease])
                return
            log.error("delivery %d to %s refused: %s", leases[0].job_id, self.destination.name, error)
            self._queue.failed(leases[0], error, for_good=True)
        except Transient as error:
            log.warning("%s: %d deliveries wait: %s", self.destination.name, len(leases), error)
            for lease in leases:
                self._queue.failed(lease, error)
        except Exception as error:  # noqa: BLE001  the one broad handler of this role: a bug costs one delivery
            for lease in leases:
                self._queue.failed(lease, _bug(error, f"delivery {lease.job_id}"), for_good=lease.attempts > 3)
        else:
            for lease, note in zip(leases, notes, strict=True):
                with self._queue.ending(lease, Event.FINISH, "delivered", note):
                    self.done += 1

    def _artefact(self, lease: Lease) -> Artefact:
        row = delivery(self._engine, lease.job_id)
        return Artefact(kind=row.kind, identifier=row.identifier, content=self._spool.get(row.digest))


def _bug(error: Exception, what: str) -> OsteonError:
    """An unforeseen exception as a value; its text may hold patients' data, so only its type and place are kept."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(frame.filename).name}:{frame.lineno}"
    stack = " < ".join(
        f"{Path(f.filename).name}:{f.lineno}" for f in reversed(traceback.extract_tb(error.__traceback__))
    )
    log.error("%s failed: %s at %s", what, type(error).__name__, stack)
    return OsteonError("bug", f"{type(error).__name__} at {place}: report it, with the software version")
