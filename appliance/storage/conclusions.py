"""The conclusions of final reports about our studies: read once, and by a person where the words leave it open.

The newest final report of a study counts: a correction comes after it. What a person concludes replaces what the words
said, with an entry of the audit log.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, Row, Select, exists, func, insert, select, update

from appliance.clock import now
from appliance.domain.audit import AuditAction, Intervention
from appliance.domain.reason import ReasonCode
from appliance.domain.validation import ConcludedBy, Conclusion
from appliance.errors import Rejected

from .audit import record
from .database import readers
from .tables import conclusions, draws, radiologist_reports, studies, study_results

FINAL = ("F", "C")
"""OBR-25 (table 0123) of a report that concludes: final, corrected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalReport:
    """A final report about a study of ours, with its message in the spool.

    Attributes
    ----------
    digest
        Message in the spool; empty if it was pruned.
    conclusion
        None while the report is not read.
    """

    report_id: int
    study_id: int
    study_instance_uid: str
    digest: str
    received_at: datetime
    conclusion: Conclusion | None = None
    concluded_by: ConcludedBy | None = None


def unread_reports(engine: Engine, most: int) -> list[FinalReport]:
    """Return up to `most` final reports without a conclusion, about studies that we have reported on or drawn."""
    is_reported = exists().where(study_results.c.study_id == studies.c.id)
    is_drawn = exists().where(draws.c.study_instance_uid == studies.c.study_instance_uid)  # in shadow no study is told
    query = (
        _REPORTS.where(conclusions.c.report_id.is_(None), radiologist_reports.c.pruned_at.is_(None))
        .where(is_reported | is_drawn)
        .order_by(radiologist_reports.c.id)
        .limit(most)
    )
    with readers(engine).connect() as c:
        return [_report(row) for row in c.execute(query)]


def record_conclusion(c: Connection, report_id: int, conclusion: Conclusion) -> None:
    """Write the conclusion of a report by its words, unless it has one."""
    if c.execute(select(conclusions.c.report_id).where(conclusions.c.report_id == report_id)).first() is None:
        row = {"report_id": report_id, "conclusion": conclusion, "concluded_by": ConcludedBy.PATTERNS, "at": now()}
        c.execute(insert(conclusions).values(**row))


def left_to_a_person(engine: Engine, most: int = 100) -> list[FinalReport]:
    """Return the newest final report of each study whose words left it open, oldest first."""
    query = _NEWEST.where(
        conclusions.c.conclusion == Conclusion.UNSURE, conclusions.c.concluded_by == ConcludedBy.PATTERNS
    )
    with readers(engine).connect() as c:
        return [_report(row) for row in c.execute(query.order_by(radiologist_reports.c.id).limit(most))]


def conclude(engine: Engine, report_id: int, conclusion: Conclusion, by: Intervention) -> None:
    """Write the conclusion of a person who has read the report, with an entry of the audit log.

    Raises
    ------
    Rejected
        ``report_not_open``: no final report of that number waits for a person.
    """
    with engine.begin() as c:
        is_open = (conclusions.c.report_id == report_id) & (conclusions.c.concluded_by == ConcludedBy.PATTERNS)
        given = {"conclusion": conclusion, "concluded_by": ConcludedBy.PERSON, "person": by.person, "at": now()}
        if not c.execute(update(conclusions).where(is_open).values(**given)).rowcount:
            reason = f"report {report_id} was concluded by a person, or its words were not read yet"
            raise Rejected(ReasonCode.REPORT_NOT_OPEN, reason)
        record(c, by, AuditAction.CONCLUDE, f"report:{report_id}", conclusion)


def conclusions_of_studies(
    c: Connection, since: datetime | None = None, most: int | None = None
) -> dict[str, FinalReport]:
    """Return the newest final report of each study, if it has a conclusion, by Study Instance UID, newest first.

    Parameters
    ----------
    since
        Only reports that were received from then on.
    most
        Only so many of the newest.
    """
    query = _NEWEST.where(conclusions.c.conclusion.is_not(None)).order_by(radiologist_reports.c.id.desc())
    query = query.where(radiologist_reports.c.received_at >= since) if since else query
    return {row.study_instance_uid: _report(row) for row in c.execute(query.limit(most))}


def count_conclusions(c: Connection) -> dict[Conclusion, int]:
    """Return the number of final reports by their conclusion."""
    query = select(conclusions.c.conclusion, func.count()).group_by(conclusions.c.conclusion)
    return dict(c.execute(query).tuples().all())


_REPORTS: Select[tuple[object, ...]] = (
    select(
        radiologist_reports.c.id,
        radiologist_reports.c.digest,
        radiologist_reports.c.received_at,
        radiologist_reports.c.pruned_at,
        studies.c.id.label("study_id"),
        studies.c.study_instance_uid,
        conclusions.c.conclusion,
        conclusions.c.concluded_by,
    )
    .join(studies, studies.c.study_instance_uid == radiologist_reports.c.study_instance_uid)
    .outerjoin(conclusions, conclusions.c.report_id == radiologist_reports.c.id)
    .where(radiologist_reports.c.result_status.in_(FINAL))
)

_LATER = radiologist_reports.alias()

_NEWEST = _REPORTS.where(
    ~exists().where(
        _LATER.c.study_instance_uid == radiologist_reports.c.study_instance_uid,
        _LATER.c.result_status.in_(FINAL),
        _LATER.c.id > radiologist_reports.c.id,
    )
)


def _report(row: Row[tuple[object, ...]]) -> FinalReport:
    return FinalReport(
        report_id=row.id,
        study_id=row.study_id,
        study_instance_uid=row.study_instance_uid,
        digest="" if row.pruned_at else row.digest,
        received_at=row.received_at,
        conclusion=row.conclusion,
        concluded_by=row.concluded_by,
    )
