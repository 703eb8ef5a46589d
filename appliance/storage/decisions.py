"""Decisions of radiologists about the answers of the appliance: recorded as they come, never overwritten."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, func, insert, select

from appliance.clock import now
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.finding import Answer
from appliance.domain.validation import Decision, DecisionSource

from .studies import told_results
from .tables import decisions, deliveries, studies, study_results

MOST_BY_LINK: Final = 10
"""Decisions of one person about one report by its link: nobody changes their mind more often."""


def record_decision(
    c: Connection,
    study_instance_uid: str,
    decision: Decision,
    source: DecisionSource,
    key: str,
    person: str = "",
    study_result_id: int | None = None,
) -> bool:
    """Write a decision about the newest report of a study; return False if that message or link was recorded before.

    Parameters
    ----------
    key
        What makes the decision one: the digest of its message or object, or person and number of those by link.
    study_result_id
        The report that was decided on; None: the newest.

    Raises
    ------
    LookupError
        If no study of that UID was reported on.
    """
    query = (
        select(study_results.c.id)
        .join(studies)
        .where(studies.c.study_instance_uid == study_instance_uid)
        .order_by(study_results.c.revision.desc())
    )
    study_result_id = study_result_id or c.execute(query.limit(1)).scalar()
    if study_result_id is None:
        raise LookupError("no study of that UID was reported on")
    digest = hashlib.sha256(f"{source} {key}".encode()).hexdigest()
    if c.execute(select(decisions.c.id).where(decisions.c.key == digest)).first():
        return False
    row = {
        "study_instance_uid": study_instance_uid,
        "study_result_id": study_result_id,
        "decision": decision,
        "source": source,
        "person": person,
        "key": digest,
        "at": now(),
    }
    c.execute(insert(decisions).values(**row))
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Decidable:
    """A report of ours that a link names.

    Attributes
    ----------
    answers
        Answers about its radiographs, as they were told.
    newest_revision
        Revision of the newest report about its study.
    decided
        Decisions about the study so far, oldest first, each with its time.
    """

    study_id: int
    study_result_id: int
    study_instance_uid: str
    revision: int
    newest_revision: int
    created_at: datetime
    answers: tuple[Answer, ...]
    decided: tuple[tuple[Decision, datetime], ...]


def decidable(c: Connection, identifier: str) -> Decidable | None:
    """Return the report whose message had that identifier, sent or to be sent; None if there is none."""
    query = (
        select(study_results, deliveries.c.study_instance_uid)
        .join(deliveries, deliveries.c.study_result_id == study_results.c.id)
        .where(deliveries.c.identifier == identifier, deliveries.c.kind == ArtefactKind.ORU)
    )
    row = c.execute(query.limit(1)).first()
    if row is None:
        return None
    newest = select(func.max(study_results.c.revision)).where(study_results.c.study_id == row.study_id)
    of_study = select(decisions.c.decision, decisions.c.at).where(
        decisions.c.study_instance_uid == row.study_instance_uid
    )
    return Decidable(
        study_id=row.study_id,
        study_result_id=row.id,
        study_instance_uid=row.study_instance_uid,
        revision=row.revision,
        newest_revision=c.execute(newest).scalar_one(),
        created_at=row.created_at,
        answers=tuple(result.answer for result in told_results(c, row)),
        decided=tuple((one.decision, one.at) for one in c.execute(of_study.order_by(decisions.c.id))),
    )


def decide_by_link(c: Connection, report: Decidable, decision: Decision, person: str) -> bool:
    """Write a person's decision about a report unless it is the one that stands; return False once there are too many.

    A decision that differs is written beside those before it.
    """
    by_person = (decisions.c.study_result_id == report.study_result_id) & (decisions.c.person == person)
    query = select(decisions.c.decision).where(by_person, decisions.c.source == DecisionSource.LINK)
    made = c.execute(query.order_by(decisions.c.id)).scalars().all()
    if made[-1:] == [decision]:
        return True
    if len(made) >= MOST_BY_LINK:
        return False
    key = f"{report.study_result_id} {person} {len(made)}"
    uid = report.study_instance_uid
    return record_decision(c, uid, decision, DecisionSource.LINK, key, person, report.study_result_id)


def count_decisions(c: Connection) -> dict[Decision, int]:
    """Return the number of studies by the newest decision about each, which replaces none in the table."""
    newest = select(func.max(decisions.c.id)).group_by(decisions.c.study_instance_uid)
    query = select(decisions.c.decision, func.count()).where(decisions.c.id.in_(newest)).group_by(decisions.c.decision)
    return {row[0]: row[1] for row in c.execute(query)}
