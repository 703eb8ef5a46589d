"""A PACS as a destination: identity check, C-STORE and proof of delivery, as its configuration asks.

The order of a delivery: recheck the identity of the study (`query`), store the objects (`sender`, `negotiation`), prove
them by C-FIND or storage commitment (`query`, `commitment`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from appliance.config import DicomDestination
from appliance.dicom.part10 import dataset_from_bytes
from appliance.network import client_context
from appliance.ports import Artefact, Outcome, Sent

from .commitment import SopReference, request_commitment
from .negotiation import in_form
from .outcomes import IdentitiesOf, Outcomes, not_committed, not_found, proven
from .peer import DicomPeer
from .query import has_instance, identities, querying
from .sender import accepted_forms, store_association, store_bytes


def peer_of(config: DicomDestination) -> DicomPeer:
    """Return the application entity of a destination; raises as `client_context`."""
    return DicomPeer(
        host=config.host,
        port=config.port,
        called_ae_title=config.called_ae_title,
        calling_ae_title=config.calling_ae_title,
        timeout_s=config.timeout_s,
        max_pdu_bytes=config.max_pdu_bytes,
        tls=client_context(config.tls, config.name) if config.tls else None,
        server_name=(config.tls.server_name if config.tls else None) or "",
    )


class Pacs:
    """Delivers artefacts by C-STORE, many on one association, each with its own outcome."""

    def __init__(self, config: DicomDestination) -> None:
        self.name = config.name
        self.most = config.objects_at_a_time
        self._config = config
        self._outcomes = Outcomes(config)
        self._peer = peer_of(config)

    def deliver(
        self, artefacts: Mapping[int, Artefact], may_go: Callable[[int], bool]
    ) -> Iterator[tuple[int, Outcome]]:
        """Store each artefact that `may_go` allows, in order; end early if the association ends.

        Raises
        ------
        Transient
            Before anything was sent.
        Away
            If there is no association.
        """
        parcels, unfit = self._outcomes.open_parcels(artefacts)
        yield from unfit.items()
        for number, outcome in list(self._outcomes.of_identities(parcels, self._queries)):
            del parcels[number]
            yield number, outcome
        if not parcels:
            return
        wanted = [form for parcel in parcels.values() for form in parcel.forms]
        with store_association(self._peer, wanted) as association:
            accepted = accepted_forms(association)
            for number, parcel in parcels.items():
                form = next((form for form in parcel.forms if form in accepted), None)
                if not may_go(number):
                    continue
                if form is None:
                    yield number, self._outcomes.of_not_taken(parcel)
                    continue
                status = store_bytes(association, in_form(parcel.artefact.content, form, self._config.character_set))
                yield number, self._outcomes.of_store(parcel, form, status)
                if status.code is None:  # no response: the association is over; the rest was not sent
                    return

    @contextmanager
    def _queries(self) -> Iterator[IdentitiesOf]:
        with querying(self._peer) as association:
            yield partial(identities, association)

    def prove(self, sent: Mapping[int, Sent]) -> Iterator[tuple[int, Outcome]]:
        """Query each object by C-FIND, or request storage commitment for all; its result may come later.

        Raises
        ------
        Transient
            If the PACS cannot be asked now.
        """
        if self._config.proof == "commitment":
            yield from self._commitment(sent)
            return
        with querying(self._peer) as association:
            for number, one in sent.items():
                ds = dataset_from_bytes(one.artefact.content)
                ds.SOPInstanceUID = one.sop_instance_uid
                is_there = has_instance(association, ds)
                yield number, proven("found by C-FIND") if is_there else not_found("C-FIND")

    def _commitment(self, sent: Mapping[int, Sent]) -> Iterator[tuple[int, Outcome]]:
        (transaction_uid,) = {one.transaction_uid for one in sent.values()}
        references = [SopReference(one.sop_class_uid, one.sop_instance_uid) for one in sent.values()]
        result = request_commitment(self._peer, transaction_uid, references)
        if result is None:
            return
        for number, one in sent.items():
            if one.sop_instance_uid in result.committed:
                yield number, proven("committed")
            elif one.sop_instance_uid in result.failed:
                yield number, not_committed(result.failed[one.sop_instance_uid])
