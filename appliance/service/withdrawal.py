"""Withdraws the answers of a study: pending deliveries are dropped, and delivered artefacts are revoked at their peers.

A PACS gets a rejection note (IHE Imaging Object Change Management). A RIS gets the observations as wrong, and the
usual priority of the order. A FHIR server gets the resources as entered in error. Each revocation is a delivery like
any other, with its order, its back-off and its proof.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Engine

from appliance.config import Archive, Configuration, DestinationConfig, FhirDestination, Hl7Destination
from appliance.dicom.reading.order import read_examination
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.audit import Intervention
from appliance.domain.codes import Concept
from appliance.domain.order import Examination
from appliance.domain.reason import ReasonCode
from appliance.domain.study import StudyResult
from appliance.errors import Rejected, Transient
from appliance.reporting.fhir import bundle as fhir
from appliance.reporting.hl7 import oru
from appliance.reporting.hl7.order_update import is_lowered, priority_withdrawal
from appliance.reporting.hl7.segments import control_id
from appliance.storage.deliveries import Delivery
from appliance.storage.outgoing import Outgoing
from appliance.storage.spool import FileSpool, SpoolDamaged
from appliance.storage.withdrawals import deliveries_to_revoke, find_study, flagging_reports, record_withdrawal
from appliance.words import language

from .instance_reader import HeaderReader
from .sent_artefacts import SentArtefacts, group_by_patient, rejection

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


def withdraw(config: Configuration, engine: Engine, uid: str, by: Intervention, title: Concept) -> Withdrawal:
    """Withdraw all answers of the study that `uid` names: its own UID, that of a radiograph, or that of an artefact.

    Every report covers the whole study, so all of it is withdrawn, for every patient that a report named. A FHIR server
    holds one report, that of the last patient.

    Parameters
    ----------
    by
        The person, and the reason: a sentence for people, on every revocation and on the page; without identity.
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
        by_patient = group_by_patient(engine, study_id, to_revoke)
        flagged = flagging_reports(engine, study_instance_uid)
        for destination in config.destinations:
            sent = [(told, found) for told in by_patient if (found := told.sent_to(destination.name))]
            for told, found in sent[-1:] if isinstance(destination, FhirDestination) else sent:
                has_order = any(delivery.kind is ArtefactKind.ORDER for delivery in found)
                is_raised = destination.name in flagged and has_order
                revocations += _revocations(destination, told, found, is_raised, headers, spool, by.reason, title)
    except SpoolDamaged as error:
        why = "retention removed the radiographs of the study: take its artefacts back at each destination by hand"
        raise Rejected(ReasonCode.NOT_KEPT, why) from error
    finally:
        headers.close()
    ids = {delivery.delivery_id for delivery in to_revoke}
    known = {destination.name for destination in config.destinations}
    left_at = tuple(dict.fromkeys(d.destination for d in to_revoke if d.destination not in known))
    dropped = record_withdrawal(engine, study_id, study_instance_uid, ids, revocations, by, left_at)
    if dropped is None:
        raise Transient(ReasonCode.ON_THE_MOVE, "an artefact left just now: repeat the command")
    revoked_at = tuple(o.destination for o in revocations if o.kind is not ArtefactKind.ORDER_WITHDRAWAL)
    places = ", ".join(revoked_at)
    log.warning("the answers of study %d are withdrawn: %d dropped, to revoke at %s", study_id, dropped, places)
    return Withdrawal(dropped=dropped, revoked_at=revoked_at, left_at=left_at)


def _revocations(
    destination: DestinationConfig,
    told: SentArtefacts,
    sent: list[Delivery],
    is_raised: bool,
    headers: HeaderReader,
    spool: FileSpool,
    reason: str,
    title: Concept,
) -> Iterator[Outgoing]:
    """Yield the revocation of `sent` for one destination, and the usual priority of an order that was raised there."""
    study = told.study
    sources = told.sources(headers, spool)
    examination = read_examination(sources[study.results[-1].sop_instance_uid], sources.values())
    if isinstance(destination, Archive):
        kind = ArtefactKind.REJECTION
        identifier, content = rejection(told, sent, sources, spool, title, reason, language(destination.language))
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
