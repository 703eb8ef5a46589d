"""Takes the answers of a study back: what has not left is dropped, and what has left is revoked where it went.

A PACS gets a rejection note (IHE Imaging Object Change Management), a RIS its observations as wrong and its order's
usual priority, a FHIR server its resources as entered in error; each is a delivery like any other, with its order, its
back-off and its proof.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from sqlalchemy import Engine, Row

from appliance.clock import now
from appliance.config import Configuration, DestinationConfig, DicomDestination, FhirDestination, Hl7Destination
from appliance.dicom.objects.document import InstanceReference
from appliance.dicom.objects.key_objects import rejection_note
from appliance.dicom.part10 import dataset_from_bytes, part10_bytes
from appliance.domain.reason import ReasonCode
from appliance.domain.study import StudyResult
from appliance.errors import Rejected, Transient
from appliance.reporting.fhir import bundle as fhir
from appliance.reporting.hl7 import oru
from appliance.reporting.hl7.order_update import LOWERED, ORDER, is_lowered, priority_withdrawal
from appliance.storage.outbox import flagged_at, record_withdrawal, study_of, went_out
from appliance.storage.outgoing import Outgoing
from appliance.storage.spool import FileSpool, SpoolDamaged
from appliance.storage.studies import Part, parts_of, reports_of

from .instance_reader import Headers

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """What was done: deliveries that never leave, where something is revoked, and where nobody can any more."""

    dropped: int
    revoked_at: tuple[str, ...]
    left_at: tuple[str, ...] = ()


def withdraw(config: Configuration, engine: Engine, uid: str, reason: str, title: Code) -> Withdrawn:
    """Take back what was said of a study, which is named by its UID, that of a radiograph of it, or of an answer.

    Every report speaks of the whole study, so that all of it is taken back, from every patient of whom it was told. A
    FHIR server has one report, which is the last one's.

    Parameters
    ----------
    reason
        For people, on every revocation and on the status page; without identity.
    title
        Of the rejection note, one of `appliance.dicom.objects.codes.REJECTIONS`.

    Raises
    ------
    Rejected
        Nothing was answered under that UID, or what the revocation is made from is not kept any more.
    Transient
        ``on_the_move``: something left meanwhile; try again.
    """
    study_id, study_instance_uid = study_of(engine, uid)
    spool = FileSpool(config.spool_dir)
    gone = went_out(engine, study_instance_uid)
    made: list[Outgoing] = []
    headers = Headers(config.analyse)
    try:
        told = _told(engine, study_id, gone)
        flagged = flagged_at(engine, study_instance_uid)
        for destination in config.destinations:
            there = [(each, rows) for each in told if (rows := each.sent_to(destination.name))]
            for each, rows in there[-1:] if isinstance(destination, FhirDestination) else there:
                is_raised = destination.name in flagged and any(row.kind == ORDER for row in rows)
                made += _revocations(destination, each, rows, is_raised, headers, spool, reason, title)
    except SpoolDamaged as error:
        why = "what its answers were made from is not kept any more (retention): take them back where they went"
        raise Rejected(ReasonCode.NOT_KEPT, why) from error
    finally:
        headers.close()
    dropped = record_withdrawal(engine, study_id, study_instance_uid, {row.id for row in gone}, made, reason)
    if dropped is None:
        raise Transient(ReasonCode.ON_THE_MOVE, "an answer left just now: say it again")
    revoked_at = tuple(o.destination for o in made if o.kind != LOWERED)
    log.warning(
        "answers on study %d are withdrawn: %d dropped, revoked at %s", study_id, dropped, ", ".join(revoked_at)
    )
    known = {destination.name for destination in config.destinations}
    left_at = tuple(dict.fromkeys(row.destination for row in gone if row.destination not in known))
    return Withdrawn(dropped=dropped, revoked_at=revoked_at, left_at=left_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What was told of one patient: the last report, the radiographs that it speaks of, and the deliveries."""

    study: StudyResult
    parts: tuple[Part, ...]
    rows: tuple[Row[Any], ...]

    def sent_to(self, destination: str) -> list[Row[Any]]:
        return [row for row in self.rows if row.destination == destination]


def _told(engine: Engine, study_id: int, gone: list[Row[Any]]) -> list[_Told]:
    """By patient, since a correction may have come between two revisions; the one who was told of last is last."""
    parts = {part.result_id: part for part in parts_of(engine, study_id, standing=False)}
    reports = reports_of(engine, {row.study_result_id for row in gone if row.study_result_id is not None})
    of_patient: dict[str, list[Row[Any]]] = {}
    for row in gone:
        newest = row.result_id if row.study_result_id is None else reports[row.study_result_id][1][-1]
        rows = of_patient.pop(parts[newest].patient_digest, [])
        of_patient[parts[newest].patient_digest] = [*rows, row]
    made = []
    for rows in of_patient.values():
        if report_id := max((row.study_result_id or 0 for row in rows), default=0):
            study, ids = reports[report_id]
            shown = tuple(parts[i] for i in ids)
        else:  # pictures that left before the study was reported on
            latest = {parts[row.result_id].result.sop_instance_uid: parts[row.result_id] for row in rows}
            shown = tuple(latest.values())
            results = tuple(part.result for part in shown)
            study = StudyResult(study_instance_uid=results[-1].study_instance_uid, created_at=now(), results=results)
        made.append(_Told(study=study, parts=shown, rows=tuple(rows)))
    return made


def _revocations(
    destination: DestinationConfig,
    told: _Told,
    rows: list[Row[Any]],
    is_raised: bool,
    headers: Headers,
    spool: FileSpool,
    reason: str,
    title: Code,
) -> Iterator[Outgoing]:
    """What one destination gets to take back `rows`, which it has or may have, and its order's priority."""
    study = told.study
    sources = {
        part.result.sop_instance_uid: headers.source(partial(spool.get, part.digest), part.calling_ae_title)
        for part in told.parts
    }
    source = sources[study.results[-1].sop_instance_uid]
    if isinstance(destination, DicomDestination):
        rejected = [_reference(row, dataset_from_bytes(spool.get(row.digest))) for row in rows]
        note = rejection_note(study, sources, rejected, title, at=now(), words=reason)
        kind, identifier, content = "rejection", str(note.SOPInstanceUID), part10_bytes(note)
    elif isinstance(destination, Hl7Destination):
        kind, identifier = "oru_withdrawal", oru.control_id(study, "oru withdrawal")
        content = oru.oru_withdrawal(study, source, destination, reason)
    else:
        kind, identifier = "fhir_withdrawal", fhir.bundle_identifier(study, "fhir withdrawal")
        content = fhir.withdrawal(study, source, destination, reason)
    yield Outgoing(destination=destination.name, kind=kind, identifier=identifier, digest=spool.put(content))
    if isinstance(destination, Hl7Destination) and is_raised and is_lowered(destination):
        yield _lowered(destination, study, source, spool)


def _lowered(destination: Hl7Destination, study: StudyResult, source: Dataset, spool: FileSpool) -> Outgoing:
    """The order's priority; where that cannot be said it is parked for a person, and holds up no withdrawal."""
    made = partial(Outgoing, destination=destination.name, kind=LOWERED, identifier=oru.control_id(study, LOWERED))
    try:
        return made(digest=spool.put(priority_withdrawal(study, source, destination)))
    except Rejected as error:
        return made(digest="", refused=error)


def _reference(row: Row[Any], ds: Dataset) -> InstanceReference:
    """The object as the PACS has it, which may be in another form than it lies here."""
    return InstanceReference(
        sop_class_uid=row.sent_class_uid or str(ds.SOPClassUID),
        series_instance_uid=str(ds.SeriesInstanceUID),
        sop_instance_uid=row.sent_uid or row.identifier,
    )
