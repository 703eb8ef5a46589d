"""Artefacts that destinations have of a study, by patient, with the header data and the rejection note of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

from pydicom.dataset import Dataset
from sqlalchemy import Engine

from appliance.clock import now
from appliance.dicom.objects.document import InstanceReference
from appliance.dicom.objects.key_objects import rejection_note
from appliance.dicom.part10 import dataset_from_bytes, part10_bytes
from appliance.domain.codes import Concept
from appliance.domain.study import StudyResult
from appliance.rollout.told import not_in_use, told
from appliance.storage.deliveries import Delivery
from appliance.storage.spool import FileSpool
from appliance.storage.studies import StudyPart, parts_of_study, study_results_by_id
from appliance.words import Language

from .instance_reader import HeaderReader


@dataclass(frozen=True, slots=True, kw_only=True)
class SentArtefacts:
    """The artefacts about one patient: the newest report, its radiographs, and the deliveries."""

    study: StudyResult
    parts: tuple[StudyPart, ...]
    deliveries: tuple[Delivery, ...]

    def sent_to(self, destination: str) -> list[Delivery]:
        """Return the deliveries to one destination."""
        return [delivery for delivery in self.deliveries if delivery.destination == destination]

    def sources(self, headers: HeaderReader, spool: FileSpool) -> dict[str, Dataset]:
        """Return the header of each radiograph by its SOP Instance UID.

        Raises
        ------
        SpoolDamaged
            If retention has removed a radiograph.
        """
        return {
            part.result.sop_instance_uid: headers.source(partial(spool.get, part.digest), part.calling_ae_title)
            for part in self.parts
        }


def group_by_patient(engine: Engine, study_id: int, sent: Collection[Delivery]) -> list[SentArtefacts]:
    """Group deliveries by the patient that their artefacts name; the patient named last comes last.

    Two revisions name two patients if a correction came between them.
    """
    parts = {part.result_id: part for part in parts_of_study(engine, study_id, standing=False)}
    report_ids = {d.study_result_id for d in sent if d.study_result_id is not None}
    reports = study_results_by_id(engine, report_ids)
    by_patient: dict[str, list[Delivery]] = {}
    for delivery in sent:
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
            results = tuple(told(part.result, part.phases) or not_in_use(part.result) for part in shown)
            study = StudyResult(study_instance_uid=results[-1].study_instance_uid, created_at=now(), results=results)
        groups.append(SentArtefacts(study=study, parts=shown, deliveries=tuple(deliveries)))
    return groups


def rejection(
    told: SentArtefacts,
    sent: Sequence[Delivery],
    sources: dict[str, Dataset],
    spool: FileSpool,
    title: Concept,
    words: str,
    language: Language,
) -> tuple[str, bytes]:
    """Make the rejection note of the objects `sent`, as the PACS has them; return its UID and its file.

    Raises
    ------
    SpoolDamaged
        If retention has removed one of the objects.
    """
    rejected = {each.sop_instance_uid: each for each in (_reference(delivery, spool) for delivery in sent)}
    note = rejection_note(told.study, sources, list(rejected.values()), title, at=now(), words=words, language=language)
    return str(note.SOPInstanceUID), part10_bytes(note)


def _reference(delivery: Delivery, spool: FileSpool) -> InstanceReference:
    """Return the object as the PACS has it, which may have another form than the file in the spool."""
    ds = dataset_from_bytes(spool.get(delivery.digest))
    return InstanceReference(
        sop_class_uid=delivery.sent_class_uid or str(ds.SOPClassUID),
        series_instance_uid=str(ds.SeriesInstanceUID),
        sop_instance_uid=delivery.sent_uid or delivery.identifier,
    )
