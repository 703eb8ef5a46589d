"""What the analyse role does with a radiograph, and what becomes of it when that fails."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Row
from sqlalchemy.exc import SQLAlchemyError

from appliance.analysis.heat import Draw, draw_heats
from appliance.config import DestinationConfig, Study
from appliance.dicom.patient_study import patient_digest
from appliance.dicom.rejection import rejection_from_dataset
from appliance.dicom.transfer_syntaxes import RADIOGRAPHS
from appliance.domain.job import Event, Lease
from appliance.errors import Fault, OsteonError, Rejected, Transient
from appliance.storage.ledger import instance_of, latest_answer, record_result
from appliance.storage.queue import Queue
from appliance.storage.spool import FileSpool, SpoolDamaged
from appliance.storage.studies import reject
from engines.runner import RunnerError
from kernels.operations import KernelError

from .answers import of_radiograph, picture
from .bugs import bug
from .reading import Headers, Reader

log = logging.getLogger(__name__)


class Analyser:
    """Takes one radiograph at a time from received to answered."""

    def __init__(
        self,
        engine: Engine,
        queue: Queue,
        spool: FileSpool,
        reader: Reader,
        headers: Headers,
        destinations: Sequence[DestinationConfig],
        settling: Study,
        draw: Draw = draw_heats,
    ) -> None:
        self._engine, self._queue, self._spool = engine, queue, spool
        self._reader, self._headers = reader, headers
        self._destinations, self._settling, self._draw = destinations, settling, draw
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
        except SpoolDamaged as error:
            log.error("analysis %d is parked: %s", lease.job_id, error)
            self._queue.failed(lease, error, for_good=True)
        except Rejected as error:
            with self._queue.ending(lease, Event.DECLINE, error.code, error.reason):
                pass
        except Transient as error:
            log.warning("analysis %d waits: %s", lease.job_id, error)
            self._queue.failed(lease, error)
        except (RunnerError, KernelError) as error:
            raise Fault("engine_failed", str(error)) from error
        except (Fault, SQLAlchemyError):
            raise  # the worker loop decides; the lease gives the job back
        except OsteonError as error:  # a bug in the process that reads instances, which has logged it
            self._queue.failed(lease, error, for_good=self._queue.is_last(lease))
        except Exception as error:  # noqa: BLE001  the one broad handler of this role: a bug costs one radiograph
            self._queue.failed(lease, bug(error, f"analysis {lease.job_id}"), for_good=self._queue.is_last(lease))

    def _answer(self, lease: Lease) -> None:
        row = instance_of(self._engine, lease.job_id)
        if row.sop_class_uid not in RADIOGRAPHS:
            self._reject(lease, row)
            return
        examined = self._reader.examine(Kept(self._spool, row.digest), row.calling_ae_title)
        if examined.header.sop_instance_uid != row.sop_instance_uid:
            raise Rejected("uid_differs", "its SOP Instance UID is not that of its C-STORE: check the sender")
        latest = latest_answer(self._engine, row.sop_instance_uid)
        if latest and latest.received_at > row.received_at:
            raise Rejected("superseded", f"what came after it is answered: revision {latest.revision}")
        if latest and latest.source_digest == examined.digest and latest.analysis_id != lease.job_id:
            raise Rejected("unchanged", f"pixels and identity are those of revision {latest.revision}: answered")
        self._look_ahead()
        reading = self._reader.read(examined)
        result = reading.analysis.result
        if latest:
            result = dataclasses.replace(result, revision=latest.revision + 1, predecessor=latest.predecessor)
        analysis = dataclasses.replace(reading.analysis, result=result)
        lease = self._queue.renew(lease)
        made = of_radiograph(
            reading.source, analysis, reading.grey, reading.window, self._destinations, self._spool.put, self._draw
        )
        overlay = picture(result, analysis, reading.grey, self._draw)
        picture_digest = self._spool.put(overlay) if overlay else ""
        reason = result.not_analysed
        event = Event.DECLINE if reason else Event.FINISH
        with self._queue.ending(lease, event, *((reason.code, reason.reason) if reason else ())) as connection:
            record_result(
                connection,
                lease.job_id,
                result,
                made,
                source_digest=examined.digest,
                picture_digest=picture_digest,
                patient_digest=patient_digest(reading.source),
                settling=self._settling,
            )

    def _reject(self, lease: Lease, row: Row[Any]) -> None:
        """What an archive rejects is answered no more; key objects that reject nothing are not for us."""
        source = self._headers.source(Kept(self._spool, row.digest), row.calling_ae_title)
        rejection = rejection_from_dataset(source)
        if rejection is None:
            raise Rejected("not_a_radiograph", "key objects that reject no radiograph")
        reason = f"{row.calling_ae_title} rejects it: {rejection.title.meaning}"
        with self._queue.ending(lease, Event.DECLINE, "rejection_note", rejection.title.meaning) as connection:
            reject(connection, rejection.sop_instance_uids, reason, self._settling)

    def _look_ahead(self) -> None:
        """Have the next radiograph decoded while this one is inferred and rendered; it is not ours yet."""
        job_id = self._queue.peek()
        if job_id is not None:
            row = instance_of(self._engine, job_id)
            self._reader.expect(Kept(self._spool, row.digest), row.calling_ae_title)


@dataclass(frozen=True, slots=True)
class Kept:
    """Loads an instance from the spool; two that load the same one are equal."""

    spool: FileSpool
    digest: str

    def __call__(self) -> bytes:
        return self.spool.get(self.digest)
