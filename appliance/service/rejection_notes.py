"""Rejection notes of archives: key objects that take radiographs back (IHE Imaging Object Change Management)."""

from __future__ import annotations

from functools import partial

from appliance.dicom.reading.rejection import rejection_from_dataset
from appliance.domain.job import Event, Lease, Settling
from appliance.domain.reason import ReasonCode
from appliance.errors import Rejected
from appliance.storage.instances import AnalysisJob, AnalysisQueue
from appliance.storage.spool import FileSpool
from appliance.storage.studies import reject_radiographs

from .instance_reader import HeaderReader


class RejectionNotes:
    """Applies rejection notes: no report speaks of a rejected radiograph any more."""

    def __init__(self, queue: AnalysisQueue, spool: FileSpool, headers: HeaderReader, settling: Settling) -> None:
        self._queue = queue
        self._spool = spool
        self._headers = headers
        self._settling = settling

    def apply(self, lease: Lease, job: AnalysisJob) -> None:
        """Take back the radiographs that the key object of `job` rejects, and end the job.

        Raises
        ------
        Rejected
            ``not_a_radiograph`` if the key object rejects no radiograph.
        """
        sender = job.instance.calling_ae_title
        note = rejection_from_dataset(self._headers.source(partial(self._spool.get, job.instance.digest), sender))
        if note is None:
            raise Rejected(ReasonCode.NOT_A_RADIOGRAPH, "key objects that reject no radiograph")
        title = note.title.meaning
        with self._queue.ending(lease, Event.DECLINE, ReasonCode.REJECTION_NOTE, title) as connection:
            reject_radiographs(connection, note.sop_instance_uids, f"{sender} rejects it: {title}", self._settling)
