"""Rejection notes for objects that a revision has replaced, at archives whose profile asks for them.

The new objects go first. Once they are delivered, with the proof that the profile asks for, a note names the old ones
(IHE Imaging Object Change Management). The note is a delivery of its own: refused, it is parked, and holds up nothing.

References
----------
IHE RAD TF-1, Imaging Object Change Management; DICOM PS3.16 CID 7011, 113001.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from appliance.config import Archive, DestinationConfig
from appliance.dicom.objects.key_objects import rejection_uid
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.codes import REJECTED_FOR_QUALITY
from appliance.domain.job import State
from appliance.domain.sentence import Sentence
from appliance.errors import Fault, OsteonError, Rejected, Transient
from appliance.storage.deliveries import Delivery
from appliance.storage.outgoing import Outgoing
from appliance.storage.spool import FileSpool
from appliance.storage.superseded import queue_rejection, replaced_objects
from appliance.storage.withdrawals import find_study
from appliance.words import language

from .instance_reader import HeaderReader
from .sent_artefacts import SentArtefacts, group_by_patient, rejection
from .unexpected_error import log_unexpected

INTERVAL_S = 5.0
"""Time between two looks: a note is not urgent, and each look reads the deliveries of its archives."""

WORDS = Sentence.of("A later revision takes the place of these objects")

log = logging.getLogger(__name__)


class Superseding:
    """Queues the rejection notes of replaced objects."""

    def __init__(
        self,
        engine: Engine,
        spool: FileSpool,
        headers: HeaderReader,
        destinations: Iterable[DestinationConfig],
        *,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._engine = engine
        self._spool = spool
        self._headers = headers
        self._languages = {
            d.name: language(d.language) for d in destinations if isinstance(d, Archive) and d.superseded == "reject"
        }
        self._interval_s = interval_s
        self._next_look = 0.0

    def step(self) -> bool:
        """Queue the notes of all objects that are replaced by now; return whether there was any.

        Raises
        ------
        Fault
            As `HeaderReader`.
        """
        if not self._languages or time.monotonic() < self._next_look:
            return False
        self._next_look = time.monotonic() + self._interval_s
        by_place: dict[tuple[str, str], list[Delivery]] = {}
        for delivery in replaced_objects(self._engine, list(self._languages)):
            by_place.setdefault((delivery.study_instance_uid, delivery.destination), []).append(delivery)
        queued = [self._reject(*place, replaced) for place, replaced in by_place.items()]
        return any(queued)

    def _reject(self, study_instance_uid: str, destination: str, replaced: Sequence[Delivery]) -> bool:
        """Queue the notes for one study at one archive, one for each patient.

        Objects that may never have arrived have a note of their own, since an archive that lacks one refuses the note.
        """
        study_id, _ = find_study(self._engine, study_instance_uid)
        is_queued = False
        for told in group_by_patient(self._engine, study_id, replaced):
            certain = [each for each in told.deliveries if each.state is State.DONE or each.sent_uid]
            uncertain = [each for each in told.deliveries if each not in certain]
            for named in filter(None, (certain, uncertain)):
                try:
                    is_queued |= queue_rejection(self._engine, named, self._note(told, named, destination))
                except Transient as error:
                    log.warning("the rejection note for study %d waits: %s", study_id, error)
        return is_queued

    def _note(self, told: SentArtefacts, replaced: Sequence[Delivery], destination: str) -> Outgoing:
        """Return the note as a delivery; one that cannot be made is parked.

        Raises
        ------
        Transient
            If spool or reader cannot work now.
        """
        error: OsteonError
        try:
            sources = told.sources(self._headers, self._spool)
            spoken = self._languages[destination]
            words = spoken.say(WORDS)
            uid, content = rejection(told, replaced, sources, self._spool, REJECTED_FOR_QUALITY, words, spoken)
            kind = ArtefactKind.REJECTION
            return Outgoing(destination=destination, kind=kind, identifier=uid, digest=self._spool.put(content))
        except (Transient, Fault, SQLAlchemyError):
            raise
        except Rejected as why:
            error = why
        except Exception as why:  # noqa: BLE001  a note that cannot be made must not stop the analyses
            error = log_unexpected(why, f"a rejection note for {destination}")
        uid = rejection_uid(REJECTED_FOR_QUALITY, {each.sent_uid or each.identifier for each in replaced})
        return Outgoing(destination=destination, kind=ArtefactKind.REJECTION, identifier=uid, digest="", refused=error)
