"""Answers of a site that steps back: unsent ones are dropped, and radiograph and study are told by the new phase.

In shadow that means not at all, unless an answer has left, which is then taken back. A peer keeps the answers that it
has, unless a newer revision follows.
"""

from __future__ import annotations

import json
from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, exists, select

from appliance.clock import now
from appliance.domain.artefact_kind import REVOCATIONS
from appliance.domain.code_sets import TAKEN_BACK
from appliance.domain.job import ENDED, Event, Settling
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Result
from appliance.rollout.told import Phases, no_further, phases_from_json, told

from .outbox import may_be_at_peer
from .studies import queue_study
from .tables import analyses, deliveries, results, studies, study_results
from .told_records import current_phases, outdated_deliveries
from .transitions import drop_jobs, move_jobs

AT_ONCE: Final = 1000
"""Ids in one statement, which takes a limited number of values (32,766 in SQLite, 65,535 in PostgreSQL)."""

IN_SHADOW: Final = "it tells of a site that is in shadow"
STEPPED_BACK: Final = "a site that it tells of has stepped back since"


def has_left(c: Connection, sop_instance_uid: str, before: int | None = None, *, hold: bool = False) -> bool:
    """Return whether a peer has, or may have, an output of a result of the radiograph that was not taken back.

    Parameters
    ----------
    before
        Look only at results before that one.
    hold
        Let none leave before the transaction ends.
    """
    of_radiograph = select(results.c.id).where(results.c.sop_instance_uid == sop_instance_uid)
    earlier = of_radiograph if before is None else of_radiograph.where(results.c.id < before)
    if hold:
        _hold(c, deliveries.c.result_id.in_(earlier))
    query = select(deliveries.c.id).where(deliveries.c.result_id.in_(earlier), _stands_at_peer())
    return c.execute(query.limit(1)).first() is not None


def radiographs_that_left(
    c: Connection, study_id: int, before: int | None = None, *, hold: bool = False
) -> frozenset[str]:
    """Return the SOP Instance UIDs of radiographs in reports that a peer has, or may have, and were not taken back.

    Parameters
    ----------
    before
        Look only at reports before that one.
    hold
        Let none leave before the transaction ends.
    """
    s = study_results.c
    if hold:
        _hold(c, deliveries.c.study_result_id.in_(select(s.id).where(s.study_id == study_id)))
    has = exists().where(deliveries.c.study_result_id == s.id, _stands_at_peer())
    query = select(s.result_ids).where(s.study_id == study_id, has)
    reports = query if before is None else query.where(s.id < before)
    ids = {i for text in c.execute(reports).scalars() for i in json.loads(text)}
    return frozenset(c.execute(select(results.c.sop_instance_uid).where(results.c.id.in_(ids))).scalars())


def drop_outdated(c: Connection) -> int:
    """Drop the unsent deliveries that tell more than the present phases allow; return their number.

    Radiograph and study are answered again if anything may still be told, or an answer has left that has to be taken
    back.
    """
    present = current_phases(c)
    in_shadow = {site: phase for site, phase in present.items() if not phase.leaves}
    return _drop(c, in_shadow, present, ReasonCode.IN_SHADOW, IN_SHADOW) + _drop(
        c, present, present, ReasonCode.PHASE_CHANGED, STEPPED_BACK
    )


def _drop(c: Connection, by: Phases, present: Phases, code: ReasonCode, reason: str) -> int:
    unsent = and_(deliveries.c.state.not_in(ENDED), deliveries.c.stored_at.is_(None))
    found = list(outdated_deliveries(c, by, unsent))
    ids = [row.id for row in found]
    parts = (deliveries.c.id.in_(ids[i : i + AT_ONCE]) for i in range(0, len(ids), AT_ONCE))
    dropped = sum(drop_jobs(c, deliveries, part, code, reason) for part in parts)
    for report_id in sorted({row.study_result_id for row in found} - {None}):
        _report_again(c, report_id)
    for result_id in sorted({row.result_id for row in found} - {None}):
        _analyse_again(c, result_id, present)
    return dropped


def _report_again(c: Connection, report_id: int) -> None:
    """Queue the study: a report of which nothing may be told ends without one."""
    query = select(studies.c.study_instance_uid).join(study_results).where(study_results.c.id == report_id)
    queue_study(c, c.execute(query).scalar_one(), Settling())


def _analyse_again(c: Connection, result_id: int, present: Phases) -> None:
    row = c.execute(select(results).where(results.c.id == result_id)).one()
    may_be_told = told(Result.from_json(row.record), no_further(phases_from_json(row.phases), present))
    if may_be_told or has_left(c, row.sop_instance_uid, result_id):
        fresh = {"attempts": 0, "delays": 0, "not_before": now(), "code": ReasonCode.NONE, "reason": ""}
        move_jobs(c, analyses, analyses.c.id == row.analysis_id, Event.RETRY, **fresh, finished_at=None)


def _hold(c: Connection, which: ColumnElement[bool]) -> None:
    c.execute(select(deliveries.c.id).where(which).order_by(deliveries.c.id).with_for_update()).all()


def _stands_at_peer() -> ColumnElement[bool]:
    d = deliveries.c
    return and_(may_be_at_peer(), d.code.not_in(TAKEN_BACK), d.kind.not_in(REVOCATIONS))
