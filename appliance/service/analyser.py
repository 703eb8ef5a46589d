"""Analysis of received radiographs: lease a job, examine its radiograph, analyse it in a batch, record its result."""

from __future__ import annotations

import logging
import time
from collections import deque
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from itertools import takewhile

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from appliance.analysis.traits import traits_of
from appliance.dicom.objects.patient_study import patient_digest
from appliance.dicom.reading.attributes import text
from appliance.dicom.transfer_syntaxes import RADIOGRAPHS
from appliance.domain.finding import Answer
from appliance.domain.identifiers import Site
from appliance.domain.job import Event, Lease, Settling
from appliance.domain.phase import Phase
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Result
from appliance.domain.traits import Traits
from appliance.errors import Rejected, Transient
from appliance.storage.database import readers
from appliance.storage.instances import AnalysisJob, AnalysisQueue, analysis_jobs
from appliance.storage.phases import PhaseBook
from appliance.storage.results import LatestResult, latest_result, record_result
from appliance.storage.shadow import has_left

from .artefacts import Rendered
from .batching import Candidate, may_join
from .error_policy import Action, settling_failures
from .examined_instance import Examined
from .reading import Reading
from .rejection_notes import RejectionNotes
from .render_pool import Rendering, Renders
from .spool_reader import SpooledInstance, SpoolReader
from .systemd_notify import Notify, silent
from .telling import tell_reading
from .unexpected_error import without_patients_data

BROKEN = frozenset({ReasonCode.UNREADABLE, ReasonCode.BROKEN_PIXELS})
"""Reasons that lie in the bytes of a transfer, and not in the radiograph."""

log = logging.getLogger(__name__)


RECLAIM_S = 30.0
"""Longest time without a look for lost leases, during which results that are being rendered are leased."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A leased and examined radiograph; `latest` is the last result of an earlier version of it."""

    lease: Lease
    job: AnalysisJob
    examined: Examined
    latest: LatestResult | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unrecorded:
    """A result while its artefacts are rendered; its job is leased.

    Attributes
    ----------
    result
        The full record.
    phases
        The phases by which it is rendered.
    takes_back
        Whether an earlier answer has left, which it replaces even if nothing may be told of it.
    """

    lease: Lease
    result: Result
    phases: dict[Site, Phase]
    takes_back: bool
    rendering: Rendering
    source_digest: str
    patient_digest: str
    traits: Traits


class Analyser:
    """Leases radiographs, examines them, analyses them in batches and records their results.

    A radiograph that fails is settled by `error_policy`, and the others of its batch are analysed alone. While
    artefacts are rendered, the next radiographs are analysed; results are recorded in the order of the analyses.

    Parameters
    ----------
    phases
        The phases of the sites; None: of whichever engines.
    batch_size
        Most radiographs in a batch.
    notify
        Notifies systemd before each wait for a rendering or for an instance.

    Attributes
    ----------
    done
        Number of radiographs examined since the start.
    """

    def __init__(
        self,
        engine: Engine,
        queue: AnalysisQueue,
        reader: SpoolReader,
        renders: Renders,
        rejection_notes: RejectionNotes,
        *,
        settling: Settling,
        phases: PhaseBook | None = None,
        batch_size: int = 1,
        notify: Notify = silent,
    ) -> None:
        self._engine = engine
        self._queue = queue
        self._reader = reader
        self._renders = renders
        self._unrecorded: deque[Unrecorded] = deque()
        self._reclaim_at = 0.0
        self._rejection_notes = rejection_notes
        self._settling = settling
        self._phases = phases or PhaseBook(engine=engine)
        self._batch_size = batch_size
        self._notify = notify
        self.done = 0

    def step(self) -> bool:
        """Analyse the radiograph that is due first, with those that may join it; return False if there is no work."""
        while self._unrecorded and self._unrecorded[0].rendering.is_done():
            self._record_first()
        leases = self._lease()
        if not leases and self._unrecorded:
            self._record_first()
            return True
        batch: deque[Case] = deque()
        try:
            for lease in leases:
                self._examine(lease, batch)
                self._fill(batch)
                self._decode_ahead()
                self._analyse(batch)
        except Exception:
            self._put_back(batch)
            raise
        return bool(leases)

    def close(self) -> None:
        """Give back the radiographs that are being rendered: the next start analyses them again."""
        with suppress(SQLAlchemyError):
            while self._unrecorded:
                self._queue.put_back(self._unrecorded.popleft().lease)

    def _lease(self) -> list[Lease]:
        """Lease the radiograph that is due first.

        A lease of this process without an outcome counts as lost when the queue looks for lost ones, so that nothing
        may be rendering then.
        """
        if self._unrecorded and time.monotonic() < self._reclaim_at:
            leases = (self._queue.lease_job(job_id) for job_id in self._queue.peek())
            return [lease for lease in leases if lease]
        self._record_all()
        self._reclaim_at = time.monotonic() + RECLAIM_S
        return self._queue.lease()

    def _examine(self, lease: Lease, batch: deque[Case]) -> None:
        """Add the radiograph of `lease` to `batch`, unless its job ends without an analysis."""
        self.done += 1
        self._notify("WATCHDOG=1")
        with self._settling_failures(lease):
            (job,) = analysis_jobs(self._engine, [lease.job_id])
            if self._must_follow_the_others(lease, job):
                self._record_all()
            if job.instance.sop_class_uid not in RADIOGRAPHS:
                self._rejection_notes.apply(lease, job)
                return
            examined = self._reader.examine_spooled(_spooled_instance(job))
            latest = latest_result(self._engine, job.instance.sop_instance_uid)
            _check_is_new(job, examined, latest)
            batch.append(Case(lease=lease, job=job, examined=examined, latest=latest))

    def _must_follow_the_others(self, lease: Lease, job: AnalysisJob) -> bool:
        """Tell whether a radiograph depends on results that are not recorded, or may end the role before they are."""
        is_newer_version = job.instance.sop_instance_uid in {u.result.sop_instance_uid for u in self._unrecorded}
        is_note = job.instance.sop_class_uid not in RADIOGRAPHS
        return is_newer_version or is_note or bool(job.code) or self._queue.is_last(lease)

    def _fill(self, batch: deque[Case]) -> None:
        """Lease and examine the next radiographs as long as they may join `batch`."""
        while 0 < len(batch) < self._batch_size:
            next_jobs = self._next_jobs(1)
            members = [self._member(case) for case in batch]
            if not next_jobs or not may_join(members, self._candidate(next_jobs[0])):
                return
            lease = self._queue.lease_job(next_jobs[0].analysis_id)
            if lease is None:
                return
            self._examine(lease, batch)

    def _member(self, case: Case) -> Candidate:
        return Candidate(
            sop_instance_uid=case.job.instance.sop_instance_uid,
            size_px=case.examined.size_px,
            must_be_alone=bool(case.job.code) or self._queue.is_last(case.lease),
        )

    def _candidate(self, job: AnalysisJob) -> Candidate:
        examined = self._reader.decoded(_spooled_instance(job))
        return Candidate(
            sop_instance_uid=job.instance.sop_instance_uid,
            size_px=examined.size_px if examined else None,
            must_be_alone=bool(job.code),
        )

    def _decode_ahead(self) -> None:
        """Begin to decode the radiographs that are due next, without a lease, while this process analyses.

        They are those of the next batch, and at least one for each process that decodes.
        """
        next_jobs = self._next_jobs(max(self._batch_size, self._reader.processes))
        radiographs = takewhile(lambda job: job.instance.sop_class_uid in RADIOGRAPHS, next_jobs)
        self._reader.decode_ahead([_spooled_instance(job) for job in radiographs])

    def _next_jobs(self, most: int) -> list[AnalysisJob]:
        """Return the jobs that are due next."""
        return analysis_jobs(self._engine, self._queue.peek(most))

    def _analyse(self, batch: deque[Case]) -> None:
        """Analyse every case, begin to render it and take it out of `batch`; an error leaves the untried ones there."""
        readings = deque(self._read_batch(batch))
        while batch:
            case = batch.popleft()
            with self._settling_failures(case.lease):
                reading = readings.popleft() if readings else self._reader.read(case.examined)
                while len(self._unrecorded) >= max(self._renders.count, 1):
                    self._record_first()
                self._render(case, reading)
            if not self._renders.count:
                self._record_all()

    def _read_batch(self, batch: deque[Case]) -> list[Reading]:
        """Return the readings of a batch of several; an empty list if each radiograph has to be read alone."""
        if len(batch) < 2:
            return []
        try:
            return self._reader.read_all([case.examined for case in batch])
        except Exception as error:  # noqa: BLE001  the one to blame fails again alone, and is settled then
            log.warning("a batch of %d failed, each is analysed alone: %s", len(batch), without_patients_data(error))
            return []

    def _render(self, case: Case, reading: Reading) -> None:
        """Begin to render what may be told of a radiograph."""
        result, latest = reading.analysis.result, case.latest
        if latest:
            result = replace(result, revision=latest.revision + 1, predecessor=latest.predecessor)
            reading = replace(reading, analysis=replace(reading.analysis, result=result))
        source = reading.source
        patient = patient_digest(source)
        maker, model = (text(source, keyword) for keyword in ("Manufacturer", "ManufacturerModelName"))
        traits = traits_of(case.examined.header, maker, model, reading.grey)
        phases = self._phases.now(traits.device)
        takes_back = latest is not None and self._has_left(result.sop_instance_uid)
        told = tell_reading(reading, phases, takes_back=takes_back)
        lease = self._queue.renew(case.lease)
        unrecorded = Unrecorded(
            lease=lease,
            result=result,
            phases=phases,
            takes_back=takes_back,
            rendering=self._renders.begin(told),  # last: nothing may fail before its result is asked for
            source_digest=case.examined.digest,
            patient_digest=patient,
            traits=traits,
        )
        self._unrecorded.append(unrecorded)

    def _has_left(self, sop_instance_uid: str) -> bool:
        """Return whether an earlier answer about the radiograph has left the box."""
        with readers(self._engine).connect() as c:
            return has_left(c, sop_instance_uid)

    def _record_all(self) -> None:
        """Record every result in turn, as soon as its artefacts are rendered."""
        while self._unrecorded:
            self._record_first()

    def _record_first(self) -> None:
        """Record the result that was begun first, once its artefacts are rendered; settle its job if that failed."""
        unrecorded = self._unrecorded.popleft()
        self._notify("WATCHDOG=1")  # several renderings that hang take longer together than it waits
        with self._settling_failures(unrecorded.lease):
            self._record(unrecorded, unrecorded.rendering.result())

    def _record(self, unrecorded: Unrecorded, rendered: Rendered) -> None:
        """Write the result and its deliveries in one transaction, which also ends the job.

        Raises
        ------
        Transient
            ``phase_changed`` if the artefacts are not those to be told now.
        """
        lease, result = unrecorded.lease, unrecorded.result
        if reason := result.not_analysed:
            log.info("analysis %d is answered as not analysed: %s [%s]", lease.job_id, reason.reason, reason.code)
            ending = self._queue.ending(lease, Event.DECLINE, reason.code, str(reason.reason))
        else:
            ending = self._queue.ending(lease, Event.FINISH)
        with ending as connection:
            self._phases.require(connection, unrecorded.phases, unrecorded.traits.device)
            if (
                result.revision > 1
                and has_left(connection, result.sop_instance_uid, hold=True) != unrecorded.takes_back
            ):
                raise Transient(ReasonCode.PHASE_CHANGED, "an earlier answer has left: it is rendered again")
            record_result(
                connection,
                lease.job_id,
                result,
                rendered.outgoing,
                source_digest=unrecorded.source_digest,
                picture_digest=rendered.thumbnail_digest,
                patient_digest=unrecorded.patient_digest,
                traits=unrecorded.traits,
                settling=self._settling,
                phases=unrecorded.phases,
            )

    def _settling_failures(self, lease: Lease) -> AbstractContextManager[None]:
        return settling_failures(self._queue, lease, f"analysis {lease.job_id}", rejected=Action.DECLINE)

    def _put_back(self, batch: deque[Case]) -> None:
        """Queue the cases that were not tried again; each is analysed alone then, since the error may be its own."""
        reason = "another radiograph of its batch failed, so that it is analysed alone"
        with suppress(SQLAlchemyError):
            for case in batch:
                self._queue.put_back(case.lease, code=ReasonCode.ANALYSED_ALONE, reason=reason)


def _spooled_instance(job: AnalysisJob) -> SpooledInstance:
    return SpooledInstance(job.instance.digest, job.instance.calling_ae_title)


def _check_is_new(job: AnalysisJob, examined: Examined, latest: LatestResult | None) -> None:
    """Check that the instance is the one that was announced, and newer than the last result.

    Raises
    ------
    Rejected
        ``uid_differs``, ``superseded`` or ``unchanged``; ``unreadable`` or ``broken_pixels`` if a whole version of the
        same patient's radiograph has an answer other than "no fracture found", which alone a broken one takes back.
    """
    if examined.header.sop_instance_uid != job.instance.sop_instance_uid:
        reason = "its SOP Instance UID is not that of its C-STORE: check the sender"
        raise Rejected(ReasonCode.UID_DIFFERS, reason)
    if latest is None:
        return
    if latest.receipt > job.receipt:
        reason = f"a version received later is answered already: revision {latest.revision}"
        raise Rejected(ReasonCode.SUPERSEDED, reason)
    if latest.source_digest == examined.digest and latest.analysis_id != job.analysis_id:
        reason = f"pixels and identity are those of revision {latest.revision}, which is answered already"
        raise Rejected(ReasonCode.UNCHANGED, reason)
    broken = examined.reason if examined.reason and examined.reason.code in BROKEN else None
    patients = {latest.patient_digest, patient_digest(examined.source)} - {""}
    if broken and latest.answer not in (Answer.NEGATIVE, Answer.NOT_ANALYSED) and len(patients) < 2:
        reason = f"{broken.reason}; the answer to a whole version of it, revision {latest.revision}, stays"
        raise Rejected(broken.code, reason)
