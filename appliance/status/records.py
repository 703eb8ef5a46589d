"""What the page lists: the last radiographs, the jobs that need a person, each destination's last word.

A row is known by its id in our database. Nothing that identifies a patient, an order or an object is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, func, literal, or_, select

from appliance.clock import now
from appliance.domain.finding import Answer
from appliance.domain.job import State
from appliance.domain.notice import Notice, Subject
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Result
from appliance.storage.outbox import NO_REPORT, OTHERWISE, REROUTED, UNPROVEN
from appliance.storage.tables import analyses, deliveries, instances, notices, results, studies

from .health import without_identity

REPORT_COMES_IN = timedelta(minutes=10)
"""A report of storage commitment that takes longer is missed on the page."""

LAST = 25
"""Radiographs on the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """One finding as the page shows it; `place` is side and site."""

    place: str
    answer: Answer
    probability: float
    focus: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """How far the answers for one destination have come: `done` of `total`, and `code` of what holds them up.

    Attributes
    ----------
    proven_at
        When the peer had vouched for all of them; None if it was not asked, or has not for some.
    is_probable
        Whether the peer's word for one of them is only that it had it already.
    """

    destination: str
    done: int
    total: int
    parked: int
    code: str
    proven_at: datetime | None = None
    is_probable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A radiograph without identity.

    Attributes
    ----------
    answer
        None while there is none.
    delivered_s
        Seconds from receipt until the last answer was delivered; None before that.
    """

    analysis_id: int
    received_at: datetime
    calling_ae_title: str
    state: str
    code: str
    answer: Answer | None
    regions: tuple[Region, ...]
    sent: tuple[Sent, ...]
    delivered_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck:
    """A job that somebody may have to look at; `reference` is what `osteon queue show` takes."""

    reference: str
    what: str
    state: str
    at: datetime
    code: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Noticed:
    """A notice, how often it came and when."""

    notice: Notice
    times: int
    first_at: datetime
    last_at: datetime


def last_radiographs(c: Connection, most: int = LAST) -> tuple[Listed, ...]:
    """The newest radiographs, newest first."""
    query = select(
        analyses.c.id, analyses.c.state, analyses.c.code, instances.c.received_at, instances.c.calling_ae_title
    ).join(instances, analyses.c.instance_id == instances.c.id)
    rows = c.execute(query.order_by(analyses.c.id.desc()).limit(most)).all()
    answers = _newest_results(c, [row.id for row in rows])
    in_studies = {result.study_instance_uid for _, result in answers.values()}
    sent = _deliveries_of(c, in_studies)
    waiting = select(studies.c.study_instance_uid).where(studies.c.state.in_([State.QUEUED, State.LEASED]))
    unsettled = set(c.execute(waiting.where(studies.c.study_instance_uid.in_(in_studies))).scalars())
    return tuple(_listed(row, answers.get(row.id), sent, unsettled) for row in rows)


def stuck_jobs(c: Connection, most: int = LAST) -> tuple[Stuck, ...]:
    """Parked jobs of every queue, newest first; they wait for a person."""
    analysis = _stuck(c, analyses, "analysis", State.PARKED, most, instances.c.calling_ae_title.label("what"))
    delivery = _stuck(c, deliveries, "delivery", State.PARKED, most, deliveries.c.destination.label("what"))
    study = _stuck(c, studies, "study", State.PARKED, most, literal("report").label("what"))
    return delivery + study + analysis


def not_analysed(c: Connection, most: int = LAST) -> tuple[Stuck, ...]:
    """The newest radiographs that were not for us, with the reason."""
    return _stuck(c, analyses, "analysis", State.NOT_ANALYSED, most, instances.c.calling_ae_title.label("what"))


def last_errors(c: Connection) -> dict[str, tuple[str, str]]:
    """By destination: code and reason of the newest delivery that waits after a failure or is parked."""
    is_unreported = deliveries.c.reason.contains(NO_REPORT) & (deliveries.c.stored_at < now() - REPORT_COMES_IN)
    failing = (
        select(func.max(deliveries.c.id))
        .where(deliveries.c.state.in_([State.QUEUED, State.LEASED, State.PARKED]), deliveries.c.code != "")
        .where(or_(deliveries.c.state == State.PARKED, deliveries.c.code.not_in(UNPROVEN), is_unreported))
        .group_by(deliveries.c.destination)
    )
    query = select(deliveries.c.destination, deliveries.c.code, deliveries.c.reason).where(deliveries.c.id.in_(failing))
    return {row.destination: (row.code, without_identity(row.reason)) for row in c.execute(query)}


def last_substitutes(c: Connection) -> dict[str, str]:
    """By destination: what it did not take of the newest answers, and what went in its place."""
    other = deliveries.c.code.in_([OTHERWISE, "not_taken"]) & deliveries.c.state.in_([State.DONE, State.DROPPED])
    newest = select(func.max(deliveries.c.id)).where(other).group_by(deliveries.c.destination, deliveries.c.kind)
    query = select(deliveries.c.destination, deliveries.c.kind, deliveries.c.reason).where(deliveries.c.id.in_(newest))
    found: dict[str, str] = {}
    for row in c.execute(query.order_by(deliveries.c.id)):
        said = f"{row.kind}: {without_identity(row.reason)}"
        found[row.destination] = f"{found[row.destination]}; {said}" if row.destination in found else said
    return found


def last_notices(c: Connection, subject: Subject, most: int = LAST) -> tuple[Noticed, ...]:
    """What was turned away last, newest first."""
    query = select(notices).where(notices.c.subject == subject).order_by(notices.c.last_at.desc(), notices.c.id.desc())
    return tuple(
        Noticed(
            notice=Notice(
                subject=subject,
                code=row.code,
                reason=without_identity(row.reason),
                calling_ae_title=row.calling_ae_title,
                called_ae_title=row.called_ae_title,
                address=row.address,
            ),
            times=row.times,
            first_at=row.first_at,
            last_at=row.last_at,
        )
        for row in c.execute(query.limit(most))
    )


def newest_compute(c: Connection) -> str:
    """The hardware that the newest result was made on, or nothing."""
    record = c.execute(select(results.c.record).order_by(results.c.id.desc()).limit(1)).scalar()
    return Result.from_json(record).provenance.compute if record else ""


def _newest_results(c: Connection, analysis_ids: list[int]) -> dict[int, tuple[int, Result]]:
    query = select(results.c.id, results.c.analysis_id, results.c.record).where(results.c.analysis_id.in_(analysis_ids))
    return {row.analysis_id: (row.id, Result.from_json(row.record)) for row in c.execute(query.order_by(results.c.id))}


def _deliveries_of(c: Connection, study_instance_uids: set[str]) -> dict[str, list[Any]]:
    """By study: what is delivered of its radiographs and its reports, without what was superseded."""
    d = deliveries.c
    of = (d.result_id, d.study_result_id, d.study_instance_uid, d.destination)
    columns = (*of, d.state, d.code, d.finished_at, d.proven_at)
    by_study: dict[str, list[Any]] = {}
    for row in c.execute(select(*columns).where(d.study_instance_uid.in_(study_instance_uids)).order_by(d.id)):
        by_study.setdefault(row.study_instance_uid, []).append(row)
    return by_study


def _listed(
    row: Any, found: tuple[int, Result] | None, deliveries_of: dict[str, list[Any]], unsettled: set[str]
) -> Listed:
    result_id, result = found or (0, None)
    of_study = deliveries_of.get(result.study_instance_uid, []) if result else []
    report_id = max((r.study_result_id or 0 for r in of_study), default=0)
    mine = [r for r in of_study if r.result_id == result_id or (r.study_result_id == report_id and report_id)]
    elsewhere = ("not_taken", REROUTED)  # another answer says the same, or it is another destination's
    rows = [r for r in mine if r.state != State.DROPPED or r.code not in elsewhere]
    ended = [r.finished_at for r in rows if r.state == State.DONE and r.finished_at]
    complete = rows and len(ended) == len(rows) and result is not None and result.study_instance_uid not in unsettled
    declined = Answer.NOT_ANALYSED if row.state == State.NOT_ANALYSED else None
    return Listed(
        analysis_id=row.id,
        received_at=row.received_at,
        calling_ae_title=row.calling_ae_title,
        state=row.state,
        code=row.code,
        answer=result.answer if result else declined,
        regions=tuple(
            Region(place=f.place, answer=f.answer, probability=f.probability, focus=f.focus)
            for f in (result.findings if result else ())
        ),
        sent=tuple(
            _sent(name, [r for r in rows if r.destination == name])
            for name in dict.fromkeys(r.destination for r in rows)
        ),
        delivered_s=(max(ended) - row.received_at).total_seconds() if complete else None,
    )


def _sent(destination: str, rows: list[Any]) -> Sent:
    return Sent(
        destination=destination,
        done=sum(r.state == State.DONE for r in rows),
        total=len(rows),
        parked=sum(r.state == State.PARKED for r in rows),
        code=next((r.code for r in rows if r.state != State.DONE and r.code not in ("", *UNPROVEN)), ""),
        proven_at=max(r.proven_at for r in rows) if rows and all(r.proven_at for r in rows) else None,
        is_probable=any(r.state == State.DONE and r.code == ReasonCode.ALREADY_THERE for r in rows),
    )


def _stuck(
    c: Connection, table: Table, noun: str, state: State, most: int, what: ColumnElement[Any]
) -> tuple[Stuck, ...]:
    t = table.c
    query = select(t.id, t.state, t.code, t.reason, t.created_at, t.finished_at, what).where(t.state == state)
    if table is analyses:
        query = query.join(instances, t.instance_id == instances.c.id)
    return tuple(
        Stuck(
            reference=f"{noun}:{row.id}",
            what=row.what,
            state=row.state,
            at=row.finished_at or row.created_at,
            code=row.code,
            reason=without_identity(row.reason),
        )
        for row in c.execute(query.order_by(t.id.desc()).limit(most))
    )
