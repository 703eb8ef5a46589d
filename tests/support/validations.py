"""A site that validates: phases of sites, and radiographs that are analysed while a validation is open."""

from __future__ import annotations

from dataclasses import replace

from pydicom.dataset import Dataset
from sqlalchemy import Engine, insert, update

from appliance.clock import now
from appliance.dicom.objects.patient_study import patient_digest
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.identifiers import Site
from appliance.domain.job import Event, Settling
from appliance.domain.phase import Phase
from appliance.domain.result import Result
from appliance.domain.traits import Traits
from appliance.domain.validation import SampleKind, Validation
from appliance.storage.instances import AnalysisQueue
from appliance.storage.outgoing import Outgoing
from appliance.storage.results import record_result
from appliance.storage.spool import FileSpool
from appliance.storage.studies import StudyQueue, parts_of_study, record_study_result
from appliance.storage.tables import phases
from appliance.storage.validations import start_validation
from tests.support.kept import keep
from tests.support.outbox import radiograph
from tests.support.people import anna
from tests.support.results import finding, result
from tests.support.results import study as study_result


def set_phases(engine: Engine, phase: Phase, *sites: Site, fingerprint: str = "f") -> None:
    """Let `sites` be in a phase, with engines of one fingerprint."""
    common = {"phase": phase, "fingerprint": fingerprint, "since": now(), "person": "anna", "reason": "test"}
    with engine.begin() as c:
        for site in sites:
            if not c.execute(update(phases).where(phases.c.site == site).values(**common)).rowcount:
                c.execute(insert(phases).values(site=site, **common))


def begin(
    engine: Engine, *sites: Site, kind: SampleKind = SampleKind.RANDOM, size: int = 10, share: float = 1.0
) -> Validation:
    """Start a validation of `sites`, which are in the phase validate from now on; by default of the wrist."""
    of = sites or (Site.WRIST,)
    set_phases(engine, Phase.VALIDATE, *of)
    return start_validation(engine, kind=kind, sites=of, size=size, share=share, by=anna("quarter 1"))


class Hospital:
    """Radiographs that come in, each with a delivery of its own and one of its study."""

    def __init__(self, engine: Engine, spool: FileSpool) -> None:
        self.engine, self.spool = engine, spool

    def analyse(
        self,
        number: int,
        *,
        study: int | None = None,
        patient: str | None = None,
        probability: float = 0.87,
        header_site: Site | None = Site.WRIST,
        found_site: Site = Site.WRIST,
        made: Result | None = None,
        ds: Dataset | None = None,
    ) -> Result:
        """Receive a radiograph and record its result; by default each has a study and a patient of its own."""
        ds = ds or radiograph(number, study)
        ds.PatientID = f"P{number if study is None else study}" if patient is None else patient
        keep(self.engine, self.spool, ds)
        queue = AnalysisQueue(self.engine, "me")
        (lease,) = queue.lease()
        given = made or result(ds, finding(probability, site=found_site))
        given = replace(given, sop_instance_uid=str(ds.SOPInstanceUID), study_instance_uid=str(ds.StudyInstanceUID))
        event = Event.DECLINE if given.not_analysed else Event.FINISH
        with queue.ending(lease, event) as c:
            record_result(
                c,
                lease.job_id,
                given,
                [self._outgoing(ArtefactKind.SECONDARY_CAPTURE, f"{number}.{lease.job_id}")],
                patient_digest=patient_digest(ds),
                traits=Traits(header_site=header_site),
                settling=Settling(settle_s=0),
            )
        return given

    def report(self) -> None:
        """Report on every study that is due."""
        queue = StudyQueue(self.engine, "me")
        while leases := queue.lease():
            (lease,) = leases
            parts = parts_of_study(self.engine, lease.job_id)
            made = study_result(*(part.result for part in parts))
            ids = [part.result_id for part in parts]
            with queue.ending(lease, Event.FINISH) as c:
                record_study_result(
                    c, lease.job_id, made, ids, [self._outgoing(ArtefactKind.ORU, f"oru {lease.job_id}")]
                )

    def _outgoing(self, kind: ArtefactKind, identifier: str) -> Outgoing:
        return Outgoing(
            destination="pacs", kind=kind, identifier=identifier, digest=self.spool.put(identifier.encode())
        )
