"""A PACS as a destination: identity check, C-STORE and proof of delivery, as its configuration asks.

The order of a delivery: recheck the identity of the study (`query`), store the objects (`sender`, `negotiation`), prove
them by C-FIND or storage commitment (`query`, `commitment`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID

from appliance.config import DicomDestination, Encoding
from appliance.dicom.part10 import dataset_from_bytes
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.reason import ReasonCode
from appliance.errors import Refused, Rejected, Transient
from appliance.network import client_context
from appliance.ports import Artefact, Fate, Outcome, Sent

from .commitment import SopReference, request_commitment
from .dimse_status import StoreOutcome, StoreStatus
from .negotiation import ObjectForm, form_of, forms, in_form, uid_in_form
from .peer import DicomPeer
from .query import Identity, has_instance, identities, querying
from .sender import accepted_forms, store_association, store_bytes

CONFLICTS = frozenset({0x0119, 0x0122})
"""Failure reasons that sending again cannot mend: class-instance conflict, SOP Class not supported (PS3.3 C.14.1.1)."""


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


@dataclass(frozen=True, slots=True)
class _Parcel:
    """An artefact with the forms that it can have on the wire, best first."""

    artefact: Artefact
    forms: list[ObjectForm]


class Pacs:
    """Delivers artefacts by C-STORE, many on one association, each with its own outcome."""

    def __init__(self, config: DicomDestination) -> None:
        self.name = config.name
        self.most = config.objects_at_a_time
        self._config = config
        self._encodings: Sequence[Encoding] = config.transfer_syntaxes
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
        parcels: dict[int, _Parcel] = {}
        for number, artefact in artefacts.items():
            try:
                parcels[number] = _Parcel(artefact, forms(artefact.content, self._encodings))
            except (InvalidDicomError, AttributeError, ValueError):
                yield (
                    number,
                    Outcome.of_error(
                        Rejected(ReasonCode.NOT_DICOM, "the artefact is not a DICOM file: analyse the radiograph again")
                    ),
                )
        if self._config.recheck_identity:
            for number, outcome in self._check_identities(parcels):
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
                    yield number, self._not_accepted(parcel)
                    continue
                status = store_bytes(association, in_form(parcel.artefact.content, form, self._config.character_set))
                yield number, self._outcome_of_store(parcel, form, status)
                if status.code is None:  # no response: the association is over; the rest was not sent
                    return

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
                if has_instance(association, ds):
                    yield number, proven("found by C-FIND")
                else:
                    yield (
                        number,
                        _later(
                            ReasonCode.NOT_FOUND,
                            "the PACS stored it, but C-FIND does not find it: see the log of the PACS",
                        ),
                    )

    def _outcome_of_store(self, parcel: _Parcel, form: ObjectForm, status: StoreStatus) -> Outcome:
        """Judge a C-STORE status by the `existing` and `proof` settings of the destination."""
        words = f"{self.name}, {parcel.artefact.name}: {status.words}"
        is_there_already = status.outcome is StoreOutcome.EXISTS
        if status.outcome is StoreOutcome.TRANSIENT:
            return _later(ReasonCode.STORE_TRANSIENT, words)
        if status.outcome is StoreOutcome.REJECTED:
            return Outcome.of_error(Refused(ReasonCode.STORE_REJECTED, words))
        if is_there_already and self._config.existing == "hold":
            return Outcome.of_error(Rejected(ReasonCode.ALREADY_THERE, words))
        needs_proof = self._config.proof != "none" or (is_there_already and self._config.existing == "verify")
        code, reason = ReasonCode.NONE, status.words
        if is_there_already:
            code, reason = ReasonCode.ALREADY_THERE, f"probably delivered: {status.words}"
        if form != parcel.forms[0]:
            reason += f"; as {form}, since the PACS accepts no {parcel.forms[0]}"
            code = code or ReasonCode.DELIVERED_OTHERWISE
        own = form_of(parcel.artefact.content)
        return Outcome(
            fate=Fate.UNPROVEN if needs_proof else Fate.TAKEN,
            code=code or ReasonCode.DELIVERED,
            reason=reason,
            sent_as=(form.sop_class_uid, uid_in_form(parcel.artefact.identifier, own, form)),
        )

    def _not_accepted(self, parcel: _Parcel) -> Outcome:
        """Leave out an object whose SOP class the PACS does not accept, if the summary shows the same answer."""
        kind = parcel.artefact.kind
        sop_class = UID(parcel.forms[0].sop_class_uid).name
        if not kind.is_picture and kind is not ArtefactKind.REJECTION and "summary" in self._config.objects:
            reason = f"{self.name} accepts no {sop_class}: the summary shows the same answer"
            return Outcome(fate=Fate.LEFT_OUT, code=ReasonCode.NOT_TAKEN, reason=reason)
        reason = (
            f"{self.name} accepts no {sop_class} in any encoding: "
            f"allow it there, or remove {kind.value!r} from its `objects`"
        )
        return Outcome.of_error(Refused(ReasonCode.NOT_TAKEN, reason))

    def _check_identities(self, parcels: Mapping[int, _Parcel]) -> list[tuple[int, Outcome]]:
        """Return outcomes of artefacts that must not be stored: their study is absent, or has another identity."""
        carried = {
            number: dataset_from_bytes(parcel.artefact.content)
            for number, parcel in parcels.items()
            if parcel.artefact.kind is not ArtefactKind.REJECTION  # needed most if the study has another identity
        }
        if not carried:
            return []
        studies = dict.fromkeys(str(ds.StudyInstanceUID) for ds in carried.values())
        with querying(self._peer) as association:
            known = {study: identities(association, study) for study in studies}
        found: list[tuple[int, Outcome]] = []
        for number, ds in carried.items():
            if outcome := self._compare_identity(ds, known[str(ds.StudyInstanceUID)]):
                found.append((number, outcome))
        return found

    def _compare_identity(self, ds: Dataset, at_pacs: list[Identity]) -> Outcome | None:
        if not at_pacs:
            return _later(
                ReasonCode.STUDY_NOT_THERE,
                f"{self.name} does not have the study: it has not arrived yet, or was merged into another",
            )
        ours = Identity.of(ds)
        different = next(filter(None, (ours.difference(identity) for identity in at_pacs)), "")
        if not different:
            return None
        reason = f"the study has another {different} at {self.name} than the artefact: send the radiograph again"
        return Outcome.of_error(Rejected(ReasonCode.IDENTITY_CHANGED, reason))

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


def proven(how: str) -> Outcome:
    """Return the outcome of an object that the PACS confirms to have; `how` names the proof."""
    return Outcome(fate=Fate.TAKEN, code=ReasonCode.IN_PACS, reason=how, is_proven=True)


def not_committed(failure_reason: int) -> Outcome:
    """Return the outcome of a failed storage commitment: send again, unless that cannot help."""
    words = f"the PACS refused storage commitment (failure reason 0x{failure_reason:04X})"
    if failure_reason in CONFLICTS:
        return Outcome.of_error(Rejected(ReasonCode.NOT_COMMITTED, words))
    return _later(ReasonCode.NOT_COMMITTED, f"{words}: it is sent again")


def _later(code: ReasonCode, reason: str) -> Outcome:
    return Outcome.of_error(Transient(code, reason))
