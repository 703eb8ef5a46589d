"""Withdraws the answers of a study: pending deliveries are dropped, and delivered artefacts are revoked at their peers.

A PACS gets a rejection note (IHE Imaging Object Change Management). A RIS gets the observations as wrong, and the
usual priority of the order. A FHIR server gets the resources as entered in error. Each revocation is a delivery like
any other, with its order, its back-off and its proof.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from pydicom.dataset import Dataset
from sqlalchemy import Engine

from appliance.clock import now
from appliance.config import Configuration, DestinationConfig, DicomDestination, FhirDestination, Hl7Destination
from appliance.dicom.objects.document import InstanceReference
from appliance.dicom.objects.key_objects import rejection_note
from appliance.dicom.part10 import dataset_from_bytes, part10_bytes
from appliance.dicom.reading.order import read_examination
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.codes import Concept
from appliance.domain.order import Examination
from appliance.domain.reason import ReasonCode
from appliance.domain.study import StudyResult
from appliance.errors import Rejected, Transient
from appliance.reporting.fhir import bundle as fhir
from appliance.reporting.hl7 import oru
from appliance.reporting.hl7.order_update import is_lowered, priority_withdrawal
from appliance.reporting.hl7.segments import control_id
from appliance.storage.deliveries import Delivery, Outgoing
from appliance.storage.spool import FileSpool, SpoolDamaged
from appliance.storage.studies import StudyPart, parts_of_study, study_results_by_id
from appliance.storage.withdrawals import deliveries_to_revoke, find_study, flagging_reports, record_withdrawal

from .instance_reader import HeaderReader

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """The outcome of a withdrawal.

    Attributes
    ----------
    dropped
        Number of deliveries that will never leave.
    revoked_at
        Destinations that get a revocation.
    left_at
        Destinations that have artefacts but are not in the configuration any more: nothing can be revoked there.
    """

    dropped: int
    revoked_at: tuple[str, ...]
    left_at: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """The artefacts about one patient: the newest report, its radiographs, and the deliveries."""

    study: StudyResult
    parts: tuple[StudyPart, ...]
    deliveries: tuple[Delivery, ...]

    def sent_to(self, destination: str) -> list[Delivery]:
        return [delivery for delivery in self.deliveries if delivery.destination == destination]


def withdraw(config: Configuration, engine: Engine, uid: str, reason: str, title: Concept) -> Withdrawal:
    """Withdraw all answers of the study that `uid` names: its own UID, that of a radiograph, or that of an artefact.

    Every report covers the whole study, so all of it is withdrawn, for every patient that a report named. A FHIR server
    holds one report, that of the last patient.

    Parameters
    ----------
    reason
        Sentence for people, on every revocation and on the status page; without identity.
    title
        Title of the rejection note, one of `appliance.domain.codes.REJECTIONS`.

    Raises
    ------
    Rejected
        ``nothing_answered``, or ``not_kept``: retention removed the radiographs that a revocation is made from.
    Transient
        ``on_the_move``: an artefact left meanwhile; try again.
    """
    study_id, study_instance_uid = find_study(engine, uid)
    spool = FileSpool(config.spool_dir)
    to_revoke = deliveries_to_revoke(engine, study_instance_uid)
    revocations: list[Outgoing] = []
    headers = HeaderReader(config.analyse)
    try:
        by_patient = _group_by_patient(engine, study_id, to_revoke)
        flagged = flagging_reports(engine, study_instance_uid)
        for destination in config.destinations:
            sent = [(told, found) for told in by_patient if (found := told.sent_to(destination.name))]
            for told, found in sent[-1:] if isinstance(destination, FhirDestination) else sent:
                has_order = any(delivery.kind is ArtefactKind.ORDER for delivery in found)
                is_raised = destination.name in flagged and has_order
                revocations += _revocations(destination, told, found, is_raised, headers, spool, reason, title)
    except SpoolDamaged as error:
        why = "retention removed the radiographs of the study: take its artefacts back at each destination by hand"
        raise Rejected(ReasonCode.NOT_KEPT, why) from error
    finally:
        headers.close()
    ids = {delivery.delivery_id for delivery in to_revoke}
    dropped = record_withdrawal(engine, study_id, study_instance_uid, ids, revocations, reason)
    if dropped is None:
        raise Transient(ReasonCode.ON_THE_MOVE, "an artefact left just now: repeat the command")
    revoked_at = tuple(o.destination for o in revocations if o.kind is not ArtefactKind.ORDER_WITHDRAWAL)
    places = ", ".join(revoked_at)
    log.warning("the answers of study %d are withdrawn: %d dropped, revoked at %s", study_id, dropped, places)
    known = {destination.name for destination in config.destinations}
    left_at = tuple(dict.fromkeys(d.destination for d in to_revoke if d.destination not in known))
    return Withdrawal(dropped=dropped, revoked_at=revoked_at, left_at=left_at)


def _group_by_patient(engine: Engine, study_id: int, to_revoke: Sequence[Delivery]) -> list[_Told]:
    """Group deliveries by the patient that their artefacts name; the patient named last comes last.

    Two revisions name two patients if a correction came between them.
    """
    parts = {part.result_id: part for part in parts_of_study(engine, study_id, standing=False)}
    report_ids = {d.study_result_id for d in to_revoke if d.study_result_id is not None}
    reports = study_results_by_id(engine, report_ids)
    by_patient: dict[str, list[Delivery]] = {}
    for delivery in to_revoke:
        if delivery.study_result_id is not None:
            newest = parts[reports[delivery.study_result_id][1][-1]]
        else:
            assert delivery.result_id is not None  # a revocation, which has neither, is not revoked
            newest = parts[delivery.result_id]
        before = by_patient.pop(newest.patient_digest, [])
        by_patient[newest.patient_digest] = [*before, delivery]
    groups = []
    for deliveries in by_patient.values():
        if report_id := max((d.study_result_id or 0 for d in deliveries), default=0):
            study, result_ids = reports[report_id]
            shown = tuple(parts[i] for i in result_ids)
        else:  # pictures that left before the study was reported on
            of_pictures = [parts[d.result_id] for d in deliveries if d.result_id is not None]
            shown = tuple({part.result.sop_instance_uid: part for part in of_pictures}.values())
            results = tuple(part.result for part in shown)
            study = StudyResult(study_instance_uid=results[-1].study_instance_uid, created_at=now(), results=results)
        groups.append(_Told(study=study, parts=shown, deliveries=tuple(deliveries)))
    return groups


def _revocations(
    destination: DestinationConfig,
    told: _Told,
    sent: list[Delivery],
    is_raised: bool,
    headers: HeaderReader,
    spool: FileSpool,
    reason: str,
    title: Concept,
) -> Iterator[Outgoing]:
    """Yield the revocation of `sent` for one destination, and the usual priority of an order that was raised there."""
    study = told.study
    sources = {
        part.result.sop_instance_uid: headers.source(partial(spool.get, part.digest), part.calling_ae_title)
        for part in told.parts
    }
    examination = read_examination(sources[study.results[-1].sop_instance_uid], sources.values())
    if isinstance(destination, DicomDestination):
        rejected = [_reference(delivery, dataset_from_bytes(spool.get(delivery.digest))) for delivery in sent]
        note = rejection_note(study, sources, rejected, title, at=now(), words=reason)
        kind = ArtefactKind.REJECTION
        identifier = str(note.SOPInstanceUID)
        content = part10_bytes(note)
    elif isinstance(destination, Hl7Destination):
        kind = ArtefactKind.ORU_WITHDRAWAL
        identifier = control_id(study, "oru withdrawal")
        content = oru.oru_withdrawal(study, examination, destination, reason)
    else:
        kind = ArtefactKind.FHIR_WITHDRAWAL
        identifier = fhir.bundle_identifier(study, "fhir withdrawal")
        content = fhir.withdrawal(study, examination, destination, reason)
    yield Outgoing(destination=destination.name, kind=kind, identifier=identifier, digest=spool.put(content))
    if isinstance(destination, Hl7Destination) and is_raised and is_lowered(destination):
        yield _priority_withdrawal(destination, study, examination, spool)


def _priority_withdrawal(
    destination: Hl7Destination, study: StudyResult, examination: Examination, spool: FileSpool
) -> Outgoing:
    """Return the message with the order's usual priority; one that cannot be made is parked, and holds up nothing."""
    kind = ArtefactKind.ORDER_WITHDRAWAL
    made = partial(Outgoing, destination=destination.name, kind=kind, identifier=control_id(study, kind))
    try:
        return made(digest=spool.put(priority_withdrawal(study, examination, destination)))
    except Rejected as error:
        return made(digest="", refused=error)


def _reference(delivery: Delivery, ds: Dataset) -> InstanceReference:
    """Return the object as the PACS has it, which may have another form than the file in the spool."""
    return InstanceReference(
        sop_class_uid=delivery.sent_class_uid or str(ds.SOPClassUID),
        series_instance_uid=str(ds.SeriesInstanceUID),
        sop_instance_uid=delivery.sent_uid or delivery.identifier,
    )
