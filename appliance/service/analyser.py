"""What the analyse role does with a radiograph, and what becomes of it when that fails."""

from __future__ import annotations

import dataclasses
import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import takewhile

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from appliance.dicom.objects.patient_study import patient_digest
from appliance.dicom.reading.rejection import rejection_from_dataset
from appliance.dicom.transfer_syntaxes import RADIOGRAPHS
from appliance.domain.job import Event, Lease, Settling
from appliance.domain.reason import ReasonCode
from appliance.errors import Fault, OsteonError, Rejected, Transient
from appliance.storage.instances import AnalysisJob, AnalysisQueue, analysis_jobs
from appliance.storage.results import LatestResult, latest_result, record_result
from appliance.storage.spool import FileSpool, SpoolDamaged
from appliance.storage.studies import reject_radiographs
from engines.runner import RunnerError
from kernels.operations import KernelError

from .artefacts import Renderer
from .bugs import bug
from .instance_reader import TOGETHER_PX, Examined, Headers, Reader, Reading

log = logging.getLogger(__name__)


ALONE = ReasonCode.ANALYSED_ALONE
"""Code of a radiograph that waits to be tried again by itself."""


@dataclass(frozen=True, slots=True)
class Case:
    """A radiograph in hand: its lease, its row, what it holds, and what was last answered for it."""

    lease: Lease
    job: AnalysisJob
    examined: Examined
    latest: LatestResult | None


class Analyser:
    """Takes radiographs from received to answered: the one that is due, and with it those that are read by then.

    Nothing waits for company: a batch is what the reading process has finished while the batch before was in hand.
    What failed before, alone or among others, is tried alone, so that nobody pays for another's failure.

    Parameters
    ----------
    most
        Radiographs in one batch.
    """

    def __init__(
        self,
        engine: Engine,
        queue: AnalysisQueue,
        spool: FileSpool,
        reader: Reader,
        headers: Headers,
        renderer: Renderer,
        settling: Settling,
        most: int = 1,
    ) -> None:
        self._engine, self._queue, self._spool = engine, queue, spool
        self._reader, self._headers = reader, headers
        self._renderer, self._settling, self._most = renderer, settling, most
        self.done = 0

    def step(self) -> bool:
        """Analyse the oldest radiograph that is due, and what goes with it; False if there is none."""
        leases = self._queue.lease()
        batch: deque[Case] = deque()
        try:
            for lease in leases:
                self._gather(lease, batch)
                self._look_ahead()
                self._analyse(batch)
        except Exception:
            reason = "it was in hand together with one that failed, and is tried alone"
            with suppress(SQLAlchemyError):
                for case in batch:
                    self._queue.put_back(case.lease, code=ALONE, reason=reason)
            raise
        return bool(leases)

    def _gather(self, first: Lease, batch: deque[Case]) -> None:
        """`first`, and what is due after it and has been read already."""
        self._take(first, batch)
        if not batch or batch[0].job.code or self._queue.is_last(first):
            return
        while len(batch) < self._most:
            joining = [
                lease
                for job in self._coming(1)
                if self._goes_with(batch, job) and (lease := self._queue.lease_job(job.analysis_id))
            ]
            if not joining:
                return
            self._take(joining[0], batch)

    def _goes_with(self, batch: deque[Case], job: AnalysisJob) -> bool:
        """Whether what is due next is read, has never failed, finds room, and is no later version of one of `batch`."""
        read = self._reader.read_ahead(*self._instance(job))
        return (
            read is not None
            and not job.code
            and read.size_px + sum(case.examined.size_px for case in batch) <= TOGETHER_PX
            and all(case.job.instance.sop_instance_uid != job.instance.sop_instance_uid for case in batch)
        )

    def _take(self, lease: Lease, batch: deque[Case]) -> None:
        """Put into `batch` what is to be analysed for `lease`, unless it ends without that."""
        self.done += 1
        with self._on_its_own(lease):
            (job,) = analysis_jobs(self._engine, [lease.job_id])
            if job.instance.sop_class_uid not in RADIOGRAPHS:
                self._reject(lease, job)
                return
            examined = self._reader.examine(*self._instance(job))
            if examined.header.sop_instance_uid != job.instance.sop_instance_uid:
                raise Rejected(
                    ReasonCode.UID_DIFFERS, "its SOP Instance UID is not that of its C-STORE: check the sender"
                )
            latest = latest_result(self._engine, job.instance.sop_instance_uid)
            if latest and latest.received_at > job.received_at:
                raise Rejected(ReasonCode.SUPERSEDED, f"what came after it is answered: revision {latest.revision}")
            if latest and latest.source_digest == examined.digest and latest.analysis_id != lease.job_id:
                raise Rejected(
                    ReasonCode.UNCHANGED, f"pixels and identity are those of revision {latest.revision}: answered"
                )
            batch.append(Case(lease, job, examined, latest))

    def _analyse(self, batch: deque[Case]) -> None:
        """Answer all of `batch`, which is empty then; where it raises, what was not tried is still there."""
        readings = iter(self._together(batch))
        while batch:
            case = batch.popleft()
            with self._on_its_own(case.lease):
                self._answer(case, next(readings, None) or self._reader.read(case.examined))

    def _together(self, batch: deque[Case]) -> list[Reading]:
        """The readings of all; none where each is to be read by itself."""
        if len(batch) < 2:
            return []
        try:
            return self._reader.read_all([case.examined for case in batch])
        except (OsteonError, RunnerError, KernelError) as error:
            log.warning("%d analyses together failed, and each is tried by itself: %s", len(batch), error)
        except Exception as error:  # noqa: BLE001  it comes again where each is alone, and is decided on there
            bug(error, f"{len(batch)} analyses together")
        return []

    @contextmanager
    def _on_its_own(self, lease: Lease) -> Iterator[None]:
        """What becomes of a job when this fails."""
        try:
            yield
        except SpoolDamaged as error:
            log.error("analysis %d is parked: %s", lease.job_id, error)
            self._queue.failed(lease, error, for_good=True)
        except Rejected as error:
            with self._on_its_own(lease), self._queue.ending(lease, Event.DECLINE, error.code, error.reason):
                pass  # or the lease is lost by now
        except Transient as error:
            log.warning("analysis %d waits: %s", lease.job_id, error)
            self._queue.failed(lease, error)
        except (RunnerError, KernelError) as error:
            raise Fault(ReasonCode.ENGINE_FAILED, str(error)) from error
        except (Fault, SQLAlchemyError):
            raise  # the worker loop decides; the lease gives the job back
        except OsteonError as error:  # a bug in the process that reads instances, which has logged it
            self._queue.failed(lease, error, for_good=self._queue.is_last(lease))
        except Exception as error:  # noqa: BLE001  the one broad handler of this role: a bug costs one radiograph
            self._queue.failed(lease, bug(error, f"analysis {lease.job_id}"), for_good=self._queue.is_last(lease))

    def _answer(self, case: Case, reading: Reading) -> None:
        result, latest = reading.analysis.result, case.latest
        if latest:
            result = dataclasses.replace(result, revision=latest.revision + 1, predecessor=latest.predecessor)
        reading = dataclasses.replace(reading, analysis=dataclasses.replace(reading.analysis, result=result))
        lease = self._queue.renew(case.lease)
        made = self._renderer.render_radiograph(reading)
        thumbnail = self._renderer.render_thumbnail(reading)
        picture_digest = self._spool.put(thumbnail) if thumbnail else ""
        reason = result.not_analysed
        event = Event.DECLINE if reason else Event.FINISH
        with self._queue.ending(lease, event, *((reason.code, reason.reason) if reason else ())) as connection:
            record_result(
                connection,
                lease.job_id,
                result,
                made,
                source_digest=case.examined.digest,
                picture_digest=picture_digest,
                patient_digest=patient_digest(reading.source),
                settling=self._settling,
            )

    def _reject(self, lease: Lease, job: AnalysisJob) -> None:
        """What an archive rejects is answered no more; key objects that reject nothing are not for us."""
        source = self._headers.source(Kept(self._spool, job.instance.digest), job.instance.calling_ae_title)
        rejection = rejection_from_dataset(source)
        if rejection is None:
            raise Rejected(ReasonCode.NOT_A_RADIOGRAPH, "key objects that reject no radiograph")
        reason = f"{job.instance.calling_ae_title} rejects it: {rejection.title.meaning}"
        with self._queue.ending(lease, Event.DECLINE, ReasonCode.REJECTION_NOTE, rejection.title.meaning) as connection:
            reject_radiographs(connection, rejection.sop_instance_uids, reason, self._settling)

    def _look_ahead(self) -> None:
        """Have what is due next decoded while this process infers and renders; it is not ours yet."""
        radiographs = takewhile(lambda job: job.instance.sop_class_uid in RADIOGRAPHS, self._coming(self._most))
        self._reader.look_ahead([self._instance(job) for job in radiographs])

    def _coming(self, most: int) -> list[AnalysisJob]:
        return analysis_jobs(self._engine, self._queue.peek(most))

    def _instance(self, job: AnalysisJob) -> tuple[Kept, str]:
        return Kept(self._spool, job.instance.digest), job.instance.calling_ae_title


@dataclass(frozen=True, slots=True)
class Kept:
    """Loads an instance from the spool; two that load the same one are equal."""

    spool: FileSpool
    digest: str

    def __call__(self) -> bytes:
        return self.spool.get(self.digest)
