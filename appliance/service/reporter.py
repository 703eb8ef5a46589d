"""Reports on a study once it has settled: no new radiograph for a while, and none of its own in the queue.

A radiograph that comes later queues its study again, and the next report is a revision of this one.
"""

from __future__ import annotations

import io
import logging
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from appliance.clock import now
from appliance.domain.job import Event, Lease
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Predecessor
from appliance.domain.study import StudyResult
from appliance.errors import Fault, OsteonError, Rejected, Transient
from appliance.storage.database import readers
from appliance.storage.spool import FileSpool, SpoolDamaged
from appliance.storage.studies import (
    StudyPart,
    StudyQueue,
    latest_study_result,
    parts_of_study,
    record_study_result,
    retracted_statements,
    study_results_by_id,
)
from appliance.storage.withdrawals import flagging_reports

from .artefacts import Renderer
from .bugs import bug
from .instance_reader import Headers

log = logging.getLogger(__name__)


class Reporter:
    """Takes one study at a time from settled to reported."""

    def __init__(
        self,
        engine: Engine,
        queue: StudyQueue,
        spool: FileSpool,
        headers: Headers,
        renderer: Renderer,
    ) -> None:
        self._engine, self._queue, self._spool = engine, queue, spool
        self._headers, self._renderer = headers, renderer

    def step(self) -> bool:
        """Report on the study that is due for longest; False if there is none."""
        leases = self._queue.lease()
        for lease in leases:
            self._report(lease)
        return bool(leases)

    def _report(self, lease: Lease) -> None:
        try:
            self._answer(lease)
        except Transient as error:
            log.warning("study %d waits: %s", lease.job_id, error)
            self._queue.failed(lease, error)
        except (Fault, SQLAlchemyError):
            raise  # the worker loop decides; the lease gives the job back
        except OsteonError as error:
            for_good = isinstance(error, Rejected) or self._queue.is_last(lease)
            self._queue.failed(lease, error, for_good=for_good)
        except Exception as error:  # noqa: BLE001  the one broad handler of this role: a bug costs one study
            self._queue.failed(lease, bug(error, f"study {lease.job_id}"), for_good=self._queue.is_last(lease))

    def _answer(self, lease: Lease) -> None:
        parts = parts_of_study(self._engine, lease.job_id)
        parts, notes = _of_one_patient(parts)
        sources = {part.result.sop_instance_uid: self._source(part) for part in parts}
        study_instance_uid = parts[-1].result.study_instance_uid
        with readers(self._engine).connect() as c:
            last = latest_study_result(c, study_instance_uid)
            revision = last[1].revision + 1 if last else 1
            gone = retracted_statements(c, lease.job_id, revision)
        predecessor = None
        if last is not None:
            predecessor = Predecessor(revision=last[1].revision, pack_digest=last[1].provenance.pack_digest)
        study = StudyResult(
            study_instance_uid=study_instance_uid,
            created_at=now(),
            results=tuple(part.result for part in parts),
            revision=revision,
            predecessor=predecessor,
            notes=notes,
            unsaid=gone,
        )
        pictures = {part.result.sop_instance_uid: p for part in parts if (p := self._picture(part)) is not None}
        lease = self._queue.renew(lease)
        raised = self._raised(lease.job_id, study_instance_uid)
        made = self._renderer.render_study(study, sources, pictures, raised)
        with self._queue.ending(lease, Event.FINISH) as c:
            record_study_result(c, lease.job_id, study, [part.result_id for part in parts], made)

    def _raised(self, study_id: int, study_instance_uid: str) -> dict[str, Dataset]:
        """By destination: the radiograph by which an order was flagged there that still is."""
        flagged = flagging_reports(self._engine, study_instance_uid)
        reports = study_results_by_id(self._engine, set(flagged.values()))
        parts = (
            {part.result_id: part for part in parts_of_study(self._engine, study_id, standing=False)} if flagged else {}
        )
        return {name: self._source(parts[reports[report_id][1][-1]]) for name, report_id in flagged.items()}

    def _source(self, part: StudyPart) -> Dataset:
        """The radiograph's header; as much of it as its answers name, where its bytes are gone by retention.

        The newest radiograph's are there: it has just come.
        """
        try:
            return self._headers.source(partial(self._spool.get, part.digest), part.calling_ae_title)
        except SpoolDamaged:
            gone = Dataset()
            gone.SOPInstanceUID, gone.StudyInstanceUID = part.result.sop_instance_uid, part.result.study_instance_uid
            return gone

    def _picture(self, part: StudyPart) -> NDArray[np.uint8] | None:
        if not part.picture_digest:
            return None
        try:
            return np.asarray(Image.open(io.BytesIO(self._spool.get(part.picture_digest))).convert("RGB"))
        except SpoolDamaged:
            return None


def _of_one_patient(parts: list[StudyPart]) -> tuple[list[StudyPart], tuple[str, ...]]:
    """Those of the patient whom the newest names, and a sentence if there are others: a report never speaks of two.

    Two patients under one Study Instance UID are a mistake somewhere; a correction that has come for one radiograph
    of several is the usual one, and the others follow. What names no patient is taken to be of the same.

    Raises
    ------
    Rejected
        ``no_radiographs``: there is nothing to report on.
    """
    if not parts:
        raise Rejected(ReasonCode.NO_RADIOGRAPHS, "no radiograph of the study is answered and stands")
    known = [part.patient_digest for part in parts if part.patient_digest]
    kept = [part for part in parts if not known or part.patient_digest in ("", known[-1])]
    if len(kept) == len(parts):
        return kept, ()
    return kept, (f"{len(parts) - len(kept)} of {len(parts)} radiographs name another patient: not part of this",)
