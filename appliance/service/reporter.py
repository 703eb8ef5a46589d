"""Reports on studies that have settled: no new radiograph came for a while, and none is waiting for its analysis.

A radiograph that comes later queues its study again; the next report is a revision of the one before.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from sqlalchemy import Connection, Engine

from appliance.clock import now
from appliance.domain.job import Event, Lease
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Predecessor
from appliance.domain.sentence import Sentence
from appliance.domain.study import StudyResult
from appliance.errors import Rejected, Transient
from appliance.rollout.told import Phases
from appliance.storage.database import readers
from appliance.storage.phases import PhaseBook
from appliance.storage.shadow import radiographs_that_left
from appliance.storage.spool import FileSpool, SpoolDamaged
from appliance.storage.studies import (
    StudyPart,
    StudyQueue,
    drop_reports,
    earlier_deliveries,
    latest_study_result,
    parts_of_study,
    record_study_result,
    retracted_statements,
    study_results_by_id,
)
from appliance.storage.withdrawals import flagging_reports

from .artefacts import Renderer
from .error_policy import Action, settling_failures
from .instance_reader import HeaderReader
from .telling import ToldPart, note_on_untold, tell_parts

log = logging.getLogger(__name__)


class Reporter:
    """Leases settled studies, one at a time, and records a report of each."""

    def __init__(
        self,
        engine: Engine,
        queue: StudyQueue,
        spool: FileSpool,
        headers: HeaderReader,
        renderer: Renderer,
        phases: PhaseBook | None = None,
    ) -> None:
        self._engine = engine
        self._queue = queue
        self._spool = spool
        self._headers = headers
        self._renderer = renderer
        self._phases = phases or PhaseBook(engine=engine)

    def step(self) -> bool:
        """Report on the study that has been due for longest; return False if none is due."""
        leases = self._queue.lease()
        for lease in leases:
            with settling_failures(self._queue, lease, f"study {lease.job_id}", rejected=Action.PARK):
                self._report(lease)
        return bool(leases)

    def _report(self, lease: Lease) -> None:
        """Write the result of the study and its deliveries in one transaction, which also ends the job."""
        parts, of_others = _of_one_patient(parts_of_study(self._engine, lease.job_id))
        phases, left = self._phases.now(), self._radiographs_that_left(lease.job_id)
        told = tell_parts(parts, phases, left)
        if not told:
            with self._ending(lease, phases, left) as connection:
                drop_reports(connection, lease.job_id)
            log.info("study:%d: nothing leaves the box: its sites are in shadow", lease.job_id)
            return
        study = self._study_result(lease.job_id, told, len(parts) - len(told), of_others)
        sources = {each.result.sop_instance_uid: self._source(each.part) for each in told}
        drawn = {each.result.sop_instance_uid: self._thumbnail(each.part) for each in told if each.is_as_drawn}
        thumbnails = {uid: picture for uid, picture in drawn.items() if picture is not None}
        lease = self._queue.renew(lease)
        flagged_by = self._flagged_by(lease.job_id, study.study_instance_uid)
        result_ids = [each.part.result_id for each in told]
        earlier = earlier_deliveries(self._engine, lease.job_id, study.revision, result_ids)
        outgoing = self._renderer.render_study(study, sources, thumbnails, flagged_by, earlier)
        with self._ending(lease, phases, left) as connection:
            used = [each.phases for each in told]
            record_study_result(connection, lease.job_id, study, result_ids, outgoing, used)
        log.info("%s", _sentence(lease.job_id, parts, study.revision))

    @contextmanager
    def _ending(self, lease: Lease, phases: Phases, left: Collection[str]) -> Iterator[Connection]:
        """Open the transaction that ends the study's job, in which what was rendered is still what may be told.

        Raises
        ------
        Transient
            ``phase_changed`` if it is not.
        """
        with self._queue.ending(lease, Event.FINISH) as connection:
            self._phases.require(connection, phases)
            if radiographs_that_left(connection, lease.job_id, hold=True) != left:
                raise Transient(ReasonCode.PHASE_CHANGED, "an earlier report has left: it is rendered again")
            yield connection

    def _radiographs_that_left(self, study_id: int) -> frozenset[str]:
        with readers(self._engine).connect() as connection:
            return radiographs_that_left(connection, study_id)

    def _study_result(self, study_id: int, told: list[ToldPart], untold: int, of_others: int) -> StudyResult:
        """Make the next revision of the study's result from the told records of its radiographs.

        Parameters
        ----------
        untold, of_others
            Number of radiographs of which nothing is told, and of other patients.
        """
        study_instance_uid = told[-1].result.study_instance_uid
        count = len(told) + untold + of_others
        notes = [_note_on_other_patients(of_others, count)] if of_others else []
        notes += [note_on_untold(untold, count)] if untold else []
        with readers(self._engine).connect() as connection:
            latest = latest_study_result(connection, study_instance_uid)
            previous = latest[1] if latest else None
            revision = previous.revision + 1 if previous else 1
            retracted = retracted_statements(connection, study_id, revision)
        return StudyResult(
            study_instance_uid=study_instance_uid,
            created_at=now(),
            results=tuple(each.result for each in told),
            revision=revision,
            predecessor=(
                Predecessor(revision=previous.revision, pack_digest=previous.provenance.pack_digest)
                if previous
                else None
            ),
            notes=tuple(notes),
            left_out=untold + of_others,
            retracted=retracted,
        )

    def _flagged_by(self, study_id: int, study_instance_uid: str) -> dict[str, Dataset]:
        """Return the data set that names the order flagged at a destination, by name of the destination."""
        flagged = flagging_reports(self._engine, study_instance_uid)
        if not flagged:
            return {}
        reports = study_results_by_id(self._engine, set(flagged.values()))
        parts = {part.result_id: part for part in parts_of_study(self._engine, study_id, standing=False)}
        newest_ids = {name: reports[report_id][1][-1] for name, report_id in flagged.items()}
        return {name: self._source(parts[result_id]) for name, result_id in newest_ids.items()}

    def _source(self, part: StudyPart) -> Dataset:
        """Return the header of a radiograph; only its UIDs if retention has removed its bytes.

        The bytes of the newest radiograph are in the spool, since it has just been received.
        """
        try:
            return self._headers.source(partial(self._spool.get, part.digest), part.calling_ae_title)
        except SpoolDamaged:
            uids = Dataset()
            uids.SOPInstanceUID = part.result.sop_instance_uid
            uids.StudyInstanceUID = part.result.study_instance_uid
            return uids

    def _thumbnail(self, part: StudyPart) -> NDArray[np.uint8] | None:
        """Return the overlay (h, w, 3) kept at the analysis; None if there is none or retention has removed it."""
        if not part.picture_digest:
            return None
        try:
            return np.asarray(Image.open(io.BytesIO(self._spool.get(part.picture_digest))).convert("RGB"))
        except SpoolDamaged:
            return None


def _sentence(study_id: int, parts: list[StudyPart], revision: int) -> str:
    """Return the sentence of the log about a study: its radiographs, and the time since the last one was received."""
    senders = (
        ", ".join(sorted({part.calling_ae_title for part in parts if part.calling_ae_title})) or "an unknown sender"
    )
    radiographs = "1 radiograph" if len(parts) == 1 else f"{len(parts)} radiographs"
    took_s = max(0.0, (now() - max(part.received_at for part in parts)).total_seconds())
    again = f", revision {revision}" if revision > 1 else ""
    return f"study:{study_id}: {radiographs} of {senders} answered in {took_s:.0f} s{again}"


def _of_one_patient(parts: list[StudyPart]) -> tuple[list[StudyPart], int]:
    """Select the radiographs of the newest one's patient; return the number of the others, too.

    A report never covers two patients. Two patients under one Study Instance UID are a mistake, most often a
    correction that has arrived for one of several radiographs and not yet for the others. A radiograph without a
    patient is taken for the same patient's.

    Raises
    ------
    Rejected
        ``no_radiographs`` if there is nothing to report on.
    """
    if not parts:
        raise Rejected(ReasonCode.NO_RADIOGRAPHS, "no radiograph of the study has a result that stands")
    known = [part.patient_digest for part in parts if part.patient_digest]
    kept = [part for part in parts if not known or part.patient_digest in ("", known[-1])]
    return kept, len(parts) - len(kept)


def _note_on_other_patients(others: int, count: int) -> Sentence:
    return Sentence.of(
        "{other} of {all} radiographs name another patient: not part of this",
        other=others,
        all=count,
    )
