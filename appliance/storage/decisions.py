"""Decisions of radiologists about the answers of the appliance: recorded as they come, never overwritten."""

from __future__ import annotations

import hashlib

from sqlalchemy import Connection, func, insert, select

from appliance.clock import now
from appliance.domain.validation import Decision, DecisionSource

from .tables import decisions, studies, study_results


def record_decision(
    c: Connection, study_instance_uid: str, decision: Decision, source: DecisionSource, key: str, person: str = ""
) -> bool:
    """Write a decision about the newest report of a study; return False if that message or link was recorded before.

    Parameters
    ----------
    key
        What makes the decision one: the digest of its message or object, or its link.

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
    study_result_id = c.execute(query.limit(1)).scalar()
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


def count_decisions(c: Connection) -> dict[Decision, int]:
    """Return the number of studies by the newest decision about each."""
    newest = select(func.max(decisions.c.id)).group_by(decisions.c.study_instance_uid)
    query = select(decisions.c.decision, func.count()).where(decisions.c.id.in_(newest)).group_by(decisions.c.decision)
    return {row[0]: row[1] for row in c.execute(query)}
