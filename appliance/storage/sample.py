"""The sample of a validation: radiographs are drawn as they are recorded, and the answers about them stay in the box.

A patient is drawn when the first radiograph of a validated site is recorded; of the radiographs of that study the one
with the lowest rank is read. No answer about the study leaves, so that every read is blinded by construction.
"""

from __future__ import annotations

import hashlib

from sqlalchemy import Connection, Row, exists, insert, select, update

from appliance.clock import now
from appliance.domain.identifiers import Site
from appliance.domain.job import State
from appliance.domain.phase import Phase
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Result
from appliance.domain.validation import SampleKind, Validation
from appliance.rollout.sampling import is_drawn, rank

from .outbox import may_be_at_peer
from .tables import deliveries, draws, phases, reads, results, studies, study_results, validations
from .transitions import drop_jobs
from .validations import SAMPLED, drawn_count, open_validations

WHY = "its study is in the sample of a validation: the answers about it stay in the box"


def draw(c: Connection, result_id: int, result: Result, patient_digest: str, header_site: Site | None) -> None:
    """Draw a radiograph, or put it into the place of another of its study, in the transaction that records its result.

    Pending deliveries about a study that is drawn are dropped. A study about which something left is not drawn, nor is
    one on which a live site was found: an answer that people rely on is not held back.

    Parameters
    ----------
    patient_digest
        Empty where the radiograph names no patient: its study then stands for one.
    header_site
        Site that the header names; None draws nothing.
    """
    found = open_validations(c)
    if found and _tells_of_live_site(c, result.study_instance_uid):
        _release(c, result.study_instance_uid)
        return
    for validation in found:
        if header_site in validation.sites and _may_draw(c, validation, header_site, result):
            _draw(c, validation, result_id, result, _patient(result, patient_digest), header_site)


def is_withheld(c: Connection, study_instance_uid: str) -> bool:
    """Return whether the answers about a study stay in the box: an open validation has drawn it."""
    query = (
        select(draws.c.id)
        .join(validations, draws.c.validation_id == validations.c.id)
        .join(phases, draws.c.site == phases.c.site)
        .where(draws.c.study_instance_uid == study_instance_uid, draws.c.is_blinded)
        .where(validations.c.ended_at.is_(None), phases.c.phase.in_(SAMPLED))
    )
    return c.execute(query.limit(1)).first() is not None


def _may_draw(c: Connection, validation: Validation, site: Site, result: Result) -> bool:
    """Return whether radiographs of the site, with this answer, get into the sample of the validation."""
    if validation.kind is SampleKind.ENRICHED and not result.answer.is_suspicious:
        return False
    row = c.execute(select(phases).where(phases.c.site == site)).first()
    return row is not None and row.phase in SAMPLED and row.fingerprint == validation.fingerprints[site]


def _draw(c: Connection, validation: Validation, result_id: int, result: Result, patient: str, site: Site) -> None:
    if not is_drawn(validation.secret, patient, validation.share):
        return
    # another machine may draw the same patient, or the last radiograph, at the same time (PostgreSQL)
    c.execute(select(validations.c.id).where(validations.c.id == validation.validation_id).with_for_update())
    own = {"result_id": result_id, "site": site, "rank": rank(validation.secret, result.sop_instance_uid)}
    of_patient = (draws.c.validation_id == validation.validation_id) & (draws.c.patient_digest == patient)
    before = c.execute(select(draws, results.c.sop_instance_uid).join(results).where(of_patient)).first()
    if before is not None:
        is_next = own["rank"] < before.rank or before.sop_instance_uid == result.sop_instance_uid
        if before.study_instance_uid == result.study_instance_uid and is_next and not _is_settled(c, before):
            c.execute(update(draws).where(draws.c.id == before.id).values(**own))
        return
    study = result.study_instance_uid
    of_study = deliveries.c.study_instance_uid == study
    is_full = drawn_count(c, validation.validation_id) >= validation.size
    if is_full or c.execute(select(deliveries.c.id).where(of_study, may_be_at_peer()).limit(1)).first():
        return
    drop_jobs(c, deliveries, of_study, ReasonCode.IN_SAMPLE, WHY)
    row = {"validation_id": validation.validation_id, "patient_digest": patient, "study_instance_uid": study}
    c.execute(insert(draws).values(**row, **own, is_blinded=True, drawn_at=now()))


def _is_settled(c: Connection, drawn: Row[tuple[object, ...]]) -> bool:
    """Return whether the radiograph of a draw stays: it was read, or its study has been reported on."""
    is_read = exists().where(reads.c.draw_id == drawn.id)
    of_study = studies.c.study_instance_uid == drawn.study_instance_uid
    has_ended = exists().where(of_study, studies.c.state.not_in([State.QUEUED, State.LEASED]))
    is_reported = exists().where(study_results.c.study_id == studies.c.id, of_study)
    return bool(c.execute(select(is_read | has_ended | is_reported)).scalar())


def _tells_of_live_site(c: Connection, study_instance_uid: str) -> bool:
    """Return whether a result of the study has a finding of a site that is live."""
    live = set(c.execute(select(phases.c.site).where(phases.c.phase == Phase.LIVE)).scalars())
    if not live:
        return False
    records = c.execute(select(results.c.record).where(results.c.study_instance_uid == study_instance_uid)).scalars()
    return any(finding.site in live for record in records for finding in Result.from_json(record).findings)


def _release(c: Connection, study_instance_uid: str) -> None:
    """Let the answers about a study leave, so that its radiograph cannot be read blinded any more."""
    of_study = update(draws).where(draws.c.study_instance_uid == study_instance_uid)
    c.execute(of_study.values(is_blinded=False))


def _patient(result: Result, patient_digest: str) -> str:
    return patient_digest or hashlib.sha256(f"study {result.study_instance_uid}".encode()).hexdigest()
