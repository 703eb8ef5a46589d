"""The sample of a validation: radiographs are drawn as they are recorded, and the answers about them stay in the box.

A patient is drawn when the first radiograph of a validated site is recorded; of the radiographs of that study the one
with the lowest rank is read. No answer about the study leaves, so that every read is blinded by construction. Sites are
those of headers: the draw of a random sample depends on nothing that the appliance has found.
"""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, exists, func, insert, or_, select, update

from appliance.clock import now
from appliance.domain.identifiers import Site
from appliance.domain.job import Event, State
from appliance.domain.phase import Phase
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Result
from appliance.domain.validation import SampleKind, Validation
from appliance.rollout.sampling import is_drawn, rank

from .outbox import may_be_at_peer
from .tables import (
    analyses,
    deliveries,
    draws,
    phases,
    reads,
    results,
    studies,
    study_results,
    traits,
    validations,
)
from .transitions import drop_jobs, move_jobs
from .validations import SAMPLED, drawn_count, open_validations

WHY = "its study is in the sample of a validation: the answers about it stay in the box"


def draw(c: Connection, result_id: int, result: Result, patient_digest: str, header_site: Site | None) -> None:
    """Draw a radiograph, or put it into the place of another of its study, in the transaction that records its result.

    Pending deliveries about a study that is drawn are dropped. A study with a radiograph whose header names a live site
    is not drawn, nor a radiograph if an answer about it or its studies has left: its correction is not held back. If
    the study was drawn before, the answers about it leave now. Nothing here depends on the findings of a radiograph.

    Parameters
    ----------
    patient_digest
        Empty where the radiograph names no patient: its study then stands for one.
    header_site
        Site that the header names; None draws nothing.
    """
    found, study = open_validations(c), result.study_instance_uid
    if not found:
        return
    if not _must_leave(c, result):
        for validation in found:
            if header_site in validation.sites and _may_draw(c, validation, header_site, result):
                _draw(c, validation, result_id, result, _patient(result, patient_digest), header_site)
        if is_withheld(c, study):
            drop_jobs(c, deliveries, deliveries.c.study_instance_uid == study, ReasonCode.IN_SAMPLE, WHY)
            return
    _release(c, study, result_id)


def is_withheld(c: Connection, study_instance_uid: str) -> bool:
    """Return whether the answers about a study stay in the box: an open validation has drawn a radiograph of it."""
    query = (
        select(draws.c.id)
        .join(phases, draws.c.site == phases.c.site)
        .where(_drawn_from(study_instance_uid), phases.c.phase.in_(SAMPLED))
    )
    return c.execute(query.limit(1)).first() is not None


def _drawn_from(study_instance_uid: str) -> ColumnElement[bool]:
    """Return the condition that a draw is blinded, of an open validation, and about a study.

    A radiograph that another study has taken over is about both.
    """
    of_study = select(results.c.sop_instance_uid).where(results.c.study_instance_uid == study_instance_uid)
    of_its_radiographs = select(results.c.id).where(results.c.sop_instance_uid.in_(of_study))
    is_open = select(validations.c.id).where(validations.c.ended_at.is_(None))
    is_about = or_(draws.c.study_instance_uid == study_instance_uid, draws.c.result_id.in_(of_its_radiographs))
    return and_(draws.c.is_blinded, draws.c.validation_id.in_(is_open), is_about)


def _may_draw(c: Connection, validation: Validation, site: Site, result: Result) -> bool:
    """Return whether radiographs of the site, with this answer, get into the sample of the validation."""
    if validation.kind is SampleKind.ENRICHED and not result.answer.is_suspicious:
        return False
    row = c.execute(select(phases).where(phases.c.site == site)).first()
    return row is not None and row.phase in SAMPLED and row.fingerprint == validation.fingerprints[site]


def _draw(c: Connection, validation: Validation, result_id: int, result: Result, patient: str, site: Site) -> None:
    # another machine may draw the same patient, or the last radiograph, at the same time (PostgreSQL)
    c.execute(select(validations.c.id).where(validations.c.id == validation.validation_id).with_for_update())
    uid, study = result.sop_instance_uid, result.study_instance_uid
    own_rank = rank(validation.secret, uid)
    own = {"result_id": result_id, "site": site, "rank": own_rank, "study_instance_uid": study}
    is_same = or_(
        draws.c.patient_digest == patient, draws.c.study_instance_uid == study, results.c.sop_instance_uid == uid
    )
    of_sample = select(draws, results.c.sop_instance_uid).join(results)
    rows = c.execute(of_sample.where(draws.c.validation_id == validation.validation_id, is_same)).all()
    if rows:
        before = max(rows, key=lambda row: (row.sop_instance_uid == uid, row.study_instance_uid == study))
        if _takes_its_place(c, before, uid, study, own_rank):
            c.execute(update(draws).where(draws.c.id == before.id).values(**own))
        return
    is_full = drawn_count(c, validation.validation_id) >= validation.size
    if is_full or not is_drawn(validation.secret, patient, validation.share):
        return
    row = {"validation_id": validation.validation_id, "patient_digest": patient}
    c.execute(insert(draws).values(**row, **own, is_blinded=True, drawn_at=now()))


def _takes_its_place(c: Connection, before: Row[Any], uid: str, study: str, own_rank: str) -> bool:
    """Return whether a radiograph is the one to read instead of that of a draw, of the same patient or study."""
    is_same = before.sop_instance_uid == uid
    if before.study_instance_uid != study:
        return is_same and not c.execute(select(reads.c.id).where(reads.c.draw_id == before.id)).first()
    return (is_same or own_rank < before.rank) and not _is_settled(c, before)


def _is_settled(c: Connection, drawn: Row[tuple[object, ...]]) -> bool:
    """Return whether the radiograph of a draw stays: it was read, or its study has been reported on."""
    is_read = exists().where(reads.c.draw_id == drawn.id)
    of_study = studies.c.study_instance_uid == drawn.study_instance_uid
    has_ended = exists().where(of_study, studies.c.state.not_in([State.QUEUED, State.LEASED]))
    is_reported = exists().where(study_results.c.study_id == studies.c.id, of_study)
    return bool(c.execute(select(is_read | has_ended | is_reported)).scalar())


def _must_leave(c: Connection, result: Result) -> bool:
    """Return whether the answers about a study leave: a header of it names a live site, or an answer has left before.

    The answer may have been about the radiograph as a part of another study.
    """
    live = select(phases.c.site).where(phases.c.phase == Phase.LIVE)
    in_study = results.c.study_instance_uid == result.study_instance_uid
    names_live = exists().where(traits.c.result_id == results.c.id, in_study, traits.c.header_site.in_(live))
    its_studies = select(results.c.study_instance_uid).where(results.c.sop_instance_uid == result.sop_instance_uid)
    has_left = exists().where(deliveries.c.study_instance_uid.in_(its_studies), may_be_at_peer())
    return bool(c.execute(select(names_live | has_left)).scalar())


def _release(c: Connection, study_instance_uid: str, result_id: int) -> None:
    """Let the answers about a study leave that was drawn, so that its radiograph cannot be read blinded any more.

    Its other radiographs are analysed again, since their outputs were not kept; `prune_instances` keeps their files.
    """
    if not c.execute(update(draws).where(_drawn_from(study_instance_uid)).values(is_blinded=False)).rowcount:
        return
    of_study = select(results.c.sop_instance_uid).where(results.c.study_instance_uid == study_instance_uid)
    newest = select(func.max(results.c.id)).where(results.c.sop_instance_uid.in_(of_study))
    others = select(results.c.analysis_id).where(
        results.c.id.in_(newest.group_by(results.c.sop_instance_uid)),
        results.c.id != result_id,
        results.c.study_instance_uid == study_instance_uid,
        results.c.taken_back_at.is_(None),
    )
    fresh = {"attempts": 0, "delays": 0, "not_before": now(), "code": ReasonCode.NONE, "reason": ""}
    move_jobs(c, analyses, analyses.c.id.in_(others), Event.RETRY, **fresh, finished_at=None)


def _patient(result: Result, patient_digest: str) -> str:
    return patient_digest or hashlib.sha256(f"study {result.study_instance_uid}".encode()).hexdigest()
