"""The results of radiographs: each is written together with its deliveries and the job of its study."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, insert, select

from appliance.domain.finding import Answer
from appliance.domain.job import Settling
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Predecessor, Result
from appliance.domain.traits import NO_TRAITS, Traits
from appliance.rollout.told import Phases, phases_to_json

from .deliveries import queue_deliveries, supersede
from .outgoing import Outgoing
from .sample import draw, is_withheld
from .studies import queue_study, report_again_or_drop
from .tables import analyses, deliveries, instances, results
from .told_records import current_phases
from .traits import record_traits


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestResult:
    """The newest result of an instance, with its analysis and the bytes that it was made from.

    Attributes
    ----------
    source_digest
        Digest of identity and pixels: the same for the same radiograph in every transfer syntax.
    patient_digest
        Of its patient's number; empty without one.
    receipt
        Number of the receipt of those bytes under the SOP Instance UID.
    """

    predecessor: Predecessor
    analysis_id: int
    source_digest: str
    patient_digest: str
    receipt: int
    answer: Answer

    @property
    def revision(self) -> int:
        """Revision of the result, from 1."""
        return self.predecessor.revision


def latest_result(engine: Engine, sop_instance_uid: str) -> LatestResult | None:
    """Return the newest result of an instance, from any of the bytes received under its UID."""
    query = (
        select(results, instances.c.receipt)
        .join(analyses, results.c.analysis_id == analyses.c.id)
        .join(instances, analyses.c.instance_id == instances.c.id)
        .where(instances.c.sop_instance_uid == sop_instance_uid)
        .order_by(results.c.id.desc())
        .limit(1)
    )
    with engine.connect() as c:
        row = c.execute(query).first()
    if row is None:
        return None
    result = Result.from_json(row.record)
    return LatestResult(
        predecessor=Predecessor(revision=result.revision, pack_digest=result.provenance.pack_digest),
        analysis_id=row.analysis_id,
        source_digest=row.source_digest,
        patient_digest=row.patient_digest,
        receipt=row.receipt,
        answer=result.answer,
    )


def record_result(  # noqa: PLR0913  the columns of a row
    c: Connection,
    analysis_id: int,
    result: Result,
    outgoing: Iterable[Outgoing],
    *,
    source_digest: str = "",
    picture_digest: str = "",
    patient_digest: str = "",
    traits: Traits = NO_TRAITS,
    settling: Settling | None = None,
    phases: Phases | None = None,
) -> None:
    """Write `result` and its deliveries within the transaction that ends the analysis, and queue its study.

    Pending deliveries of earlier revisions are dropped, and so are pending reports of the study: a corrected result
    must not be followed by its predecessor. If the radiograph was part of another study, that study is reported on
    again without it. The deliveries of a study that a validation has drawn are not queued.

    Parameters
    ----------
    source_digest
        Digest of identity and pixels, which tells whether the instance, received again, is another one.
    picture_digest
        Digest of the overlay as PNG, for the summary of the study.
    patient_digest
        Digest of the patient that the radiograph names; empty if it names none.
    traits
        Traits of the radiograph, which are recorded with those of its result.
    settling
        Time that the study waits before it is reported on; None: it is due at once.
    phases
        The phases by which `outgoing` was rendered; None: those that hold now.
    """
    of_radiograph = results.c.sop_instance_uid == result.sop_instance_uid
    earlier = c.execute(select(results.c.id, results.c.study_instance_uid).where(of_radiograph)).all()
    in_studies = {row.study_instance_uid for row in earlier}
    if earlier:
        supersede(c, deliveries.c.result_id.in_([row.id for row in earlier]), result.revision)
        reports = deliveries.c.study_result_id.is_not(None) & deliveries.c.study_instance_uid.in_(in_studies)
        supersede(c, reports, result.revision)
    used = current_phases(c) if phases is None else phases
    row = {
        "analysis_id": analysis_id,
        "sop_instance_uid": result.sop_instance_uid,
        "study_instance_uid": result.study_instance_uid,
        "answer": result.answer,
        "record": result.to_json(),
        "source_digest": source_digest,
        "picture_digest": picture_digest,
        "patient_digest": patient_digest,
        "phases": phases_to_json(used),
        "created_at": result.created_at,
    }
    result_id = c.execute(insert(results).values(**row).returning(results.c.id)).scalar_one()
    record_traits(c, result_id, traits, result, used)
    draw(c, result_id, result, patient_digest, traits.header_site)
    if not is_withheld(c, result.study_instance_uid):
        queue_deliveries(c, outgoing, result.study_instance_uid, result_id=result_id)
    settling = settling or Settling()
    queue_study(c, result.study_instance_uid, settling)
    for former in in_studies - {result.study_instance_uid}:
        reason = "its radiographs belong to another study now"
        report_again_or_drop(c, former, settling, ReasonCode.SUPERSEDED, reason)
