"""An archive as a destination by DICOMweb: identity check, STOW-RS and proof of delivery, as its configuration asks.

A request holds objects of one study. A response that says nothing of one of several objects, or refuses the request as
a whole, is no verdict on any: each of them is then sent in a request of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from appliance.config import DicomWebDestination
from appliance.dicom.part10 import dataset_from_bytes
from appliance.dicom.scu.dimse_status import StoreStatus
from appliance.dicom.scu.negotiation import ObjectForm, in_form
from appliance.dicom.scu.outcomes import IdentitiesOf, Outcomes, Parcel, not_found, proven
from appliance.dicom.scu.query import Identity
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.reason import ReasonCode
from appliance.errors import Away, Refused, Rejected, Transient
from appliance.ports import Artefact, Fate, Outcome, Sent

from .qido import has_instance, identities
from .server import DicomWebServer
from .stow import JSON, SOP_CLASS_NOT_SUPPORTED, SYNTAX_NOT_SUPPORTED, multipart, store_statuses

MOST_REQUEST_BYTES = 32_000_000
"""Bytes of the objects in one request, unless a single one has more: `timeout_s` is the limit of the whole request."""

TELLING = frozenset({400, 409})
"""Statuses of a failure whose content may name objects; Orthanc answers 400 where it stored some of them."""

UNSUPPORTED_MEDIA_TYPE = 415

LONGEST_ROUND_S = 120.0
"""Time for the queries of one round, and one more request: well within a lease."""

_Named = Mapping[str, StoreStatus]


class WebArchive:
    """Delivers artefacts by STOW-RS, several of a study in one request, each with its own outcome."""

    def __init__(self, config: DicomWebDestination) -> None:
        self.name = config.name
        self.most = config.objects_at_a_time
        self._config = config
        self._outcomes = Outcomes(config)
        self._server = DicomWebServer(config)

    def deliver(
        self, artefacts: Mapping[int, Artefact], may_go: Callable[[int], bool]
    ) -> Iterator[tuple[int, Outcome]]:
        """Store each artefact that `may_go` allows, study by study, in the order of each study.

        Raises
        ------
        Transient
            Before anything was sent.
        Away
            If there is no connection, or the server asks to wait.
        """
        parcels, unfit = self._outcomes.open_parcels(artefacts)
        yield from unfit.items()
        for number, outcome in list(self._outcomes.of_identities(parcels, self._queries)):
            del parcels[number]
            yield number, outcome
        for group in _groups(parcels):
            yield from self._deliver_group(group, may_go)

    @contextmanager
    def _queries(self) -> Iterator[IdentitiesOf]:
        ends_at = time.monotonic() + LONGEST_ROUND_S

        def identities_of(study_instance_uid: str) -> list[Identity]:
            self._require_time(ends_at)
            return identities(self._server, study_instance_uid)

        yield identities_of

    def _require_time(self, ends_at: float) -> None:
        """Check that a round of queries still has time; else the next one is half as long."""
        if time.monotonic() > ends_at:
            self.most = max(1, self.most // 2)
            reason = f"{self.name} answers QIDO-RS too slowly: the rest is asked later; see its log"
            raise Transient(ReasonCode.DICOMWEB_TOO_SLOW, reason)

    def _deliver_group(
        self, group: Mapping[int, Parcel], may_go: Callable[[int], bool]
    ) -> Iterator[tuple[int, Outcome]]:
        going = {number: parcel for number, parcel in group.items() if may_go(number)}
        statuses: _Named
        on_wire, statuses = going, {}
        try:
            if len(going) > 1:
                statuses = self._store_together(list(going.values()))
                yield from _unanswered(going, statuses)
            for number, parcel in going.items():
                form = parcel.forms[0]
                untried: Sequence[ObjectForm] = parcel.forms
                status = statuses.get(parcel.sent_as(form)[1])
                if status is not None:
                    untried = _other_forms(parcel.forms, status)
                    if not untried:
                        yield number, self._outcome(parcel, form, status)
                        continue
                if len(going) == 1 or may_go(number):
                    on_wire = {number: parcel}
                    yield number, self._store_alone(parcel, untried)
        except Away as error:
            yield from _unanswered(on_wire if error.was_sent else {}, {})
            raise

    def _store_together(self, parcels: list[Parcel]) -> _Named:
        """Return the statuses of the objects that the response names; none if the request failed as a whole.

        If it took too long, requests have half as many objects until the next start.
        """
        try:
            return self._request([(parcel, parcel.forms[0]) for parcel in parcels])[1]
        except Away:
            raise
        except (Rejected, Transient) as error:
            if error.code is ReasonCode.DICOMWEB_TOO_SLOW:
                self.most = len(parcels) // 2
            return {}

    def _store_alone(self, parcel: Parcel, untried: Sequence[ObjectForm]) -> Outcome:
        """Send one object in the first of its untried forms that the archive takes."""
        while untried:
            form = untried[0]
            try:
                http_status, statuses = self._request([(parcel, form)])
            except Away:
                raise
            except (Rejected, Transient) as error:
                return Outcome.of_error(error)
            status = statuses.get(parcel.sent_as(form)[1])
            if http_status == UNSUPPORTED_MEDIA_TYPE:
                untried = untried[1:]
            elif status is None:
                return self._unnamed(parcel, form)
            else:
                untried = _other_forms(untried, status)
                if not untried:
                    return self._outcome(parcel, form, status)
        reason = (
            f"{self.name} answers {UNSUPPORTED_MEDIA_TYPE} to every form of {parcel.artefact.name}: "
            "check base_url, proxies on the way, and its conformance statement"
        )
        return Outcome.of_error(Refused(ReasonCode.DICOMWEB_REFUSED, reason))

    def _request(self, sent: list[tuple[Parcel, ObjectForm]]) -> tuple[int, _Named]:
        """Send one request; return its status, and those of the objects that the response names.

        Raises
        ------
        Away, Transient, Refused
            The request failed as a whole, except for its media type.
        """
        contents = [in_form(parcel.artefact.content, form, self._config.character_set) for parcel, form in sent]
        body, content_type = multipart(contents)
        headers = {"Accept": JSON, "Content-Type": content_type}
        response = self._server.exchange("POST", "/studies", headers, body, TELLING)
        statuses = store_statuses(response.content)
        if not statuses and response.status != UNSUPPORTED_MEDIA_TYPE:
            self._server.check_status(response.status, "STOW-RS", response.wait_s)
        return response.status, statuses

    def _outcome(self, parcel: Parcel, form: ObjectForm, status: StoreStatus) -> Outcome:
        if status.code in (SOP_CLASS_NOT_SUPPORTED, SYNTAX_NOT_SUPPORTED):
            return self._outcomes.of_not_taken(parcel)
        return self._outcomes.of_store(parcel, form, status)

    def _unnamed(self, parcel: Parcel, form: ObjectForm) -> Outcome:
        """Return the outcome of an object that a response leaves out: a query decides where the profile has one."""
        reason = f"{self.name} answers STOW-RS without naming {parcel.artefact.name}"
        if self._config.proof == "none":
            reason += ': check base_url, or set proof = "find"'
            return Outcome.of_error(Transient(ReasonCode.DICOMWEB_ANSWER, reason))
        sent_as = parcel.sent_as(form)
        return Outcome(fate=Fate.UNPROVEN, code=ReasonCode.DELIVERED, reason=reason, sent_as=sent_as)

    def prove(self, sent: Mapping[int, Sent]) -> Iterator[tuple[int, Outcome]]:
        """Query each object by QIDO-RS.

        Raises
        ------
        Transient
            If the archive cannot be asked now, or `LONGEST_ROUND_S` are over.
        """
        ends_at = time.monotonic() + LONGEST_ROUND_S
        for number, one in sent.items():
            self._require_time(ends_at)
            ds = dataset_from_bytes(one.artefact.content)
            ds.SOPInstanceUID = one.sop_instance_uid
            is_there = has_instance(self._server, ds)
            yield number, proven("found by QIDO-RS") if is_there else not_found("QIDO-RS")


def _unanswered(sent: Mapping[int, Parcel], statuses: _Named) -> Iterator[tuple[int, Outcome]]:
    """Yield that the archive may have each object that a request carried and its response does not name."""
    for number, parcel in sent.items():
        if parcel.sent_as(parcel.forms[0])[1] not in statuses:
            yield number, Outcome(fate=Fate.UNANSWERED, code=ReasonCode.NONE, reason="")


def _other_forms(tried: Sequence[ObjectForm], status: StoreStatus) -> Sequence[ObjectForm]:
    """Return the forms that may be taken where the first one had that status; none unless it is about the form."""
    first, *others = tried
    if status.code == SYNTAX_NOT_SUPPORTED:
        return others
    is_other_class = status.code == SOP_CLASS_NOT_SUPPORTED
    return [form for form in others if is_other_class and form.sop_class_uid != first.sop_class_uid]


def _groups(parcels: Mapping[int, Parcel]) -> Iterator[dict[int, Parcel]]:
    """Yield the parcels of each study, in requests of at most `MOST_REQUEST_BYTES`; a rejection note goes alone."""
    open_groups: dict[str, dict[int, Parcel]] = {}
    sizes: dict[str, int] = {}
    for number, parcel in parcels.items():
        study = str(dataset_from_bytes(parcel.artefact.content).StudyInstanceUID)
        size = len(parcel.artefact.content)
        is_note = parcel.artefact.kind is ArtefactKind.REJECTION
        group = open_groups.get(study, {})
        if group and (is_note or sizes[study] + size > MOST_REQUEST_BYTES):
            yield open_groups.pop(study)
            group = {}
        if is_note:
            yield {number: parcel}
            continue
        open_groups[study] = {**group, number: parcel}
        sizes[study] = size + (sizes[study] if group else 0)
    yield from open_groups.values()
