"""Outcomes of objects at an archive by its profile, whichever protocol carried them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID

from appliance.config import Archive
from appliance.dicom.part10 import dataset_from_bytes
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.reason import ReasonCode
from appliance.errors import Refused, Rejected, Transient
from appliance.ports import Artefact, Fate, Outcome

from .dimse_status import StoreOutcome, StoreStatus
from .negotiation import ObjectForm, form_of, forms, uid_in_form
from .query import Identity

CONFLICTS = frozenset({0x0119, 0x0122})
"""Failure reasons that sending again cannot mend: class-instance conflict, SOP Class not supported (PS3.3 C.14.1.1)."""

IdentitiesOf = Callable[[str], list[Identity]]
"""Returns the identities that a study has at the archive; empty if the archive does not have the study."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """An artefact with the forms that it can have on the wire, best first."""

    artefact: Artefact
    forms: list[ObjectForm]

    def sent_as(self, form: ObjectForm) -> tuple[str, str]:
        """Return SOP class and SOP instance that the object has in `form`."""
        own = form_of(self.artefact.content)
        return form.sop_class_uid, uid_in_form(self.artefact.identifier, own, form)


class Outcomes:
    """Judges what happened to objects by the profile of their archive."""

    def __init__(self, config: Archive) -> None:
        self._config = config
        self._name = config.name

    def open_parcels(self, artefacts: Mapping[int, Artefact]) -> tuple[dict[int, Parcel], dict[int, Outcome]]:
        """Return the artefacts with their forms, and the outcomes of those that are no DICOM files."""
        parcels: dict[int, Parcel] = {}
        unfit: dict[int, Outcome] = {}
        for number, artefact in artefacts.items():
            try:
                parcels[number] = Parcel(artefact, forms(artefact.content, self._config.transfer_syntaxes))
            except (InvalidDicomError, AttributeError, ValueError):
                reason = "the artefact is not a DICOM file: analyse the radiograph again"
                unfit[number] = Outcome.of_error(Rejected(ReasonCode.NOT_DICOM, reason))
        return parcels, unfit

    def of_store(self, parcel: Parcel, form: ObjectForm, status: StoreStatus) -> Outcome:
        """Judge the status of an object that was sent, by the settings `existing` and `proof`."""
        words = f"{self._name}, {parcel.artefact.name}: {status.words}"
        is_there_already = status.outcome is StoreOutcome.EXISTS
        if status.outcome is StoreOutcome.TRANSIENT:
            return later(ReasonCode.STORE_TRANSIENT, words)
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
        return Outcome(
            fate=Fate.UNPROVEN if needs_proof else Fate.TAKEN,
            code=code or ReasonCode.DELIVERED,
            reason=reason,
            sent_as=parcel.sent_as(form),
        )

    def of_not_taken(self, parcel: Parcel) -> Outcome:
        """Leave out an object whose SOP class the archive does not accept, if the summary shows the same answer."""
        kind = parcel.artefact.kind
        sop_class = UID(parcel.forms[0].sop_class_uid).name
        if not kind.is_picture and kind is not ArtefactKind.REJECTION and "summary" in self._config.objects:
            reason = f"{self._name} accepts no {sop_class}: the summary shows the same answer"
            return Outcome(fate=Fate.LEFT_OUT, code=ReasonCode.NOT_TAKEN, reason=reason)
        reason = (
            f"{self._name} accepts no {sop_class} in any encoding: "
            f"allow it there, or remove {kind.value!r} from its `objects`"
        )
        return Outcome.of_error(Refused(ReasonCode.NOT_TAKEN, reason))

    def of_identities(
        self, parcels: Mapping[int, Parcel], queries: Callable[[], AbstractContextManager[IdentitiesOf]]
    ) -> Iterator[tuple[int, Outcome]]:
        """Yield outcomes of artefacts that must not be stored: their study is absent, or has another identity.

        Nothing is queried unless `recheck_identity` is set.
        """
        carried = {
            number: dataset_from_bytes(parcel.artefact.content)
            for number, parcel in parcels.items()
            if parcel.artefact.kind is not ArtefactKind.REJECTION  # needed most if the study has another identity
        }
        if not self._config.recheck_identity or not carried:
            return
        studies = dict.fromkeys(str(ds.StudyInstanceUID) for ds in carried.values())
        with queries() as identities_of:
            known = {study: identities_of(study) for study in studies}
        for number, ds in carried.items():
            if outcome := self._compare_identity(ds, known[str(ds.StudyInstanceUID)]):
                yield number, outcome

    def _compare_identity(self, ds: Dataset, at_archive: list[Identity]) -> Outcome | None:
        if not at_archive:
            return later(
                ReasonCode.STUDY_NOT_THERE,
                f"{self._name} does not have the study: it has not arrived yet, or was merged into another",
            )
        ours = Identity.of(ds)
        different = next(filter(None, (ours.difference(identity) for identity in at_archive)), "")
        if not different:
            return None
        reason = f"the study has another {different} at {self._name} than the artefact: send the radiograph again"
        return Outcome.of_error(Rejected(ReasonCode.IDENTITY_CHANGED, reason))


def proven(how: str) -> Outcome:
    """Return the outcome of an object that the archive confirms to have; `how` names the proof."""
    return Outcome(fate=Fate.TAKEN, code=ReasonCode.IN_PACS, reason=how, is_proven=True)


def not_found(how: str) -> Outcome:
    """Return the outcome of an object that a query does not find; `how` names the query."""
    reason = f"the PACS stored it, but {how} does not find it: see the log of the PACS"
    return later(ReasonCode.NOT_FOUND, reason)


def not_committed(failure_reason: int) -> Outcome:
    """Return the outcome of a failed storage commitment: send again, unless that cannot help."""
    words = f"the PACS refused storage commitment (failure reason 0x{failure_reason:04X})"
    if failure_reason in CONFLICTS:
        return Outcome.of_error(Rejected(ReasonCode.NOT_COMMITTED, words))
    return later(ReasonCode.NOT_COMMITTED, f"{words}: it is sent again")


def later(code: ReasonCode, reason: str) -> Outcome:
    """Return the outcome of an object that is sent again."""
    return Outcome.of_error(Transient(code, reason))
