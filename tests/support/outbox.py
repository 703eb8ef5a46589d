"""Deliveries in a real database and spool, as an analysis writes them, with couriers that carry them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from sqlalchemy import select

from appliance.config import DestinationConfig, Hl7Destination
from appliance.dicom.objects.patient_study import patient_digest
from appliance.dicom.objects.secondary_capture import secondary_capture
from appliance.dicom.part10 import part10_bytes
from appliance.dicom.reading.order import read_examination
from appliance.dicom.scu.negotiation import ObjectForm, in_form
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.job import Backoff, Event
from appliance.domain.received import Received
from appliance.domain.result import Result
from appliance.ports import Artefact
from appliance.reporting.hl7.oru import oru_r01
from appliance.reporting.hl7.segments import control_id
from appliance.service.courier import Courier
from appliance.service.roles.deliver import outlet_of
from appliance.storage.database import open_database, readers
from appliance.storage.destinations import DestinationState, destination_state
from appliance.storage.gate import Gate
from appliance.storage.instances import AnalysisQueue, keep_instance
from appliance.storage.outbox import DeliveryQueue
from appliance.storage.outbox import Outbox as DestinationOutbox
from appliance.storage.outgoing import Outgoing
from appliance.storage.results import record_result
from appliance.storage.spool import FileSpool
from appliance.storage.tables import deliveries
from tests.support.phases import set_phases
from tests.support.results import finding, result, study
from tests.support.sources import source
from tests.support.waiting import wait_until

SOON = Backoff(first_s=0.05, longest_s=0.2)


UNCOMPRESSED = ObjectForm(str(SecondaryCaptureImageStorage), str(ExplicitVRLittleEndian))


def radiograph(number: int = 0, study_number: int | None = None) -> Dataset:
    """Return a radiograph of its own study, or of the study of that number."""
    ds = copy.deepcopy(source())
    ds.StudyInstanceUID = f"1.2.826.0.1.3680043.8.498.7.{number if study_number is None else study_number}"
    ds.SeriesInstanceUID = f"1.2.826.0.1.3680043.8.498.8.{number}"
    ds.SOPInstanceUID = f"1.2.826.0.1.3680043.8.498.9.{number}"
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


def picture(ds: Dataset, given: Result | None = None) -> Artefact:
    """Return the Secondary Capture of a radiograph, of its first result or of `given`, which every PACS takes."""
    made = secondary_capture(ds, given or result(ds, finding()), np.zeros((32, 24, 3), np.uint8))
    content = in_form(part10_bytes(made), UNCOMPRESSED)
    return Artefact(kind=ArtefactKind.SECONDARY_CAPTURE, identifier=str(made.SOPInstanceUID), content=content)


def message(ds: Dataset) -> Artefact:
    """Return the ORU message of the study of a radiograph."""
    said = study(result(ds, finding()))
    ris = Hl7Destination(kind="hl7", name="ris", host="127.0.0.1", port=1)
    return Artefact(
        kind=ArtefactKind.ORU, identifier=control_id(said), content=oru_r01(said, read_examination(ds), ris)
    )


class Outbox:
    """A database and a spool in `folder`, with a courier for each of `destinations`."""

    def __init__(self, folder: Path, *destinations: DestinationConfig, backoff: Backoff = SOON) -> None:
        self.engine = open_database(f"sqlite:///{folder / 'osteon.db'}")
        set_phases(self.engine)
        self.spool = FileSpool(folder / "spool")
        self.gate = Gate(self.engine)
        self.queue = DeliveryQueue(self.engine, "me", backoff=backoff)
        self.couriers = {
            d.name: Courier(
                DestinationOutbox(self.engine, d.name, d.name, backoff=backoff), self.gate, self.spool, outlet_of(d)
            )
            for d in destinations
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.dispose()

    def answer(self, ds: Dataset, *made: tuple[str, Artefact], given: Result | None = None) -> None:
        """A radiograph is received, analysed and answered: each destination gets its artefact."""
        content = part10_bytes(ds)
        keep_instance(
            self.engine,
            Received(
                sop_instance_uid=str(ds.SOPInstanceUID),
                sop_class_uid=str(ds.SOPClassUID),
                transfer_syntax_uid=str(ds.file_meta.TransferSyntaxUID),
                digest=self.spool.put(content),
                size_bytes=len(content),
                calling_ae_title="ROOM1",
            ),
        )
        (lease,) = AnalysisQueue(self.engine, "analyse").lease()
        outgoing = [
            Outgoing(
                destination=to, kind=a.kind, page=a.page, identifier=a.identifier, digest=self.spool.put(a.content)
            )
            for to, a in made
        ]
        with AnalysisQueue(self.engine, "analyse").ending(lease, Event.FINISH) as c:
            made_result = given or result(ds, finding())
            record_result(c, lease.job_id, made_result, outgoing, patient_digest=patient_digest(ds))

    def carry(self, name: str = "pacs") -> bool:
        """One step of a courier."""
        return self.couriers[name].step()

    def carry_until(self, *names: str, **states: int) -> None:
        """Steps of couriers until the deliveries are exactly so many by state."""

        def is_so() -> bool:
            for name in names or list(self.couriers):
                self.carry(name)
            return self.states == states

        wait_until(is_so, f"deliveries to be {states}, not {self.states}: {[r.reason for r in self.rows]}")

    def state(self, name: str = "pacs") -> DestinationState:
        """Return the state of a destination."""
        return destination_state(self.engine, name)

    @property
    def rows(self) -> Sequence[Any]:
        """Every delivery, oldest first."""
        with readers(self.engine).connect() as c:
            return c.execute(select(deliveries).order_by(deliveries.c.id)).all()

    @property
    def states(self) -> dict[str, int]:
        """How many deliveries there are by state."""
        found: dict[str, int] = {}
        for row in self.rows:
            found[row.state] = found.get(row.state, 0) + 1
        return found
