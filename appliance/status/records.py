"""The lists of the status page: newest radiographs, jobs that need a person, newest failure of each destination.

Jobs are named by their id in our database. The functions read no data that identifies a patient, an order or an
object, and remove names and UIDs from the texts of peers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from appliance.clock import now
from appliance.domain.code_sets import REPLACED, STORED
from appliance.domain.finding import Answer, Verdict
from appliance.domain.job import State
from appliance.domain.notice import Subject
from appliance.domain.reason import ReasonCode
from appliance.storage import inspection, notices, overview
from appliance.storage.deliveries import Delivery
from appliance.storage.inspection import JobSummary, QueueName
from appliance.storage.notices import CountedNotice
from appliance.storage.overview import AnalysedInstance

from .health import without_identity

COMMITMENT_RESULT_WITHIN = timedelta(minutes=10)
"""A commitment result that takes longer is shown as missing."""

LISTED = 25
"""Rows of each list on the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRegion:
    """One finding as the page shows it; `place` is its side and site."""

    place: str
    verdict: Verdict
    probability: float
    focus: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Progress of the artefacts of one radiograph to one destination.

    Attributes
    ----------
    done, total, parked
        Number of deliveries.
    code
        Reason code of the first delivery that is held up; empty if none is.
    proven_at
        Time at which the peer had vouched for all artefacts; None if proof of one is missing, or was not asked for.
    is_probable
        Whether the peer answered for one artefact that it had an object of that UID already.
    """

    destination: str
    done: int
    total: int
    parked: int
    code: ReasonCode
    proven_at: datetime | None = None
    is_probable: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether every artefact is delivered."""
        return self.done == self.total


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRadiograph:
    """A radiograph in the list of the page, without identity.

    Attributes
    ----------
    answer
        None before the analysis ends.
    delivered_s
        Seconds from receipt until the last artefact was delivered; None before that.
    """

    analysis_id: int
    received_at: datetime
    calling_ae_title: str
    state: State
    code: ReasonCode
    answer: Answer | None
    regions: tuple[ListedRegion, ...]
    sent: tuple[Progress, ...]
    delivered_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationError:
    """The newest failure of a destination, without identity."""

    code: ReasonCode
    reason: str


def newest_radiographs(c: Connection, most: int = LISTED) -> tuple[ListedRadiograph, ...]:
    """Return the newest radiographs, newest first."""
    found = overview.newest_instances(c, most)
    in_studies = {instance.newest.result.study_instance_uid for instance in found if instance.newest}
    by_study = overview.deliveries_by_study(c, in_studies)
    unreported = overview.unreported_studies(c, in_studies)
    return tuple(_listed_radiograph(instance, by_study, unreported) for instance in found)


def parked_jobs(c: Connection, most: int = LISTED) -> tuple[JobSummary, ...]:
    """Return the newest parked jobs of each queue, which wait for a person."""
    queues = (QueueName.DELIVERY, QueueName.STUDY, QueueName.ANALYSIS)
    return tuple(
        _without_identity(job)
        for queue in queues
        for job in inspection.newest_jobs_in_state(c, queue, State.PARKED, most)
    )


def open_deliveries(c: Connection, destination: str, most: int = LISTED) -> tuple[JobSummary, ...]:
    """Return the first deliveries to a destination that wait or are parked."""
    return tuple(_without_identity(job) for job in inspection.open_deliveries(c, destination, most))


def declined_analyses(c: Connection, most: int = LISTED) -> tuple[JobSummary, ...]:
    """Return the newest analyses of radiographs that were not analysed, with the reason."""
    found = inspection.newest_jobs_in_state(c, QueueName.ANALYSIS, State.NOT_ANALYSED, most)
    return tuple(_without_identity(job) for job in found)


def destination_errors(c: Connection) -> dict[str, DestinationError]:
    """Return, by destination, the newest delivery that is parked, failed before, or misses a commitment result."""
    found = overview.failing_deliveries(c, overdue_since=now() - COMMITMENT_RESULT_WITHIN)
    return {
        delivery.destination: DestinationError(
            code=_shown_code(delivery), reason=without_identity(delivery.explanation)
        )
        for delivery in found
    }


def substitutes(c: Connection) -> dict[str, str]:
    """Return, by destination, the newest artefacts of each kind that it did not take in their best form."""
    by_destination: dict[str, list[str]] = {}
    for delivery in overview.substituted_deliveries(c):
        text = f"{delivery.kind}: {without_identity(delivery.reason)}"
        by_destination.setdefault(delivery.destination, []).append(text)
    return {destination: "; ".join(texts) for destination, texts in by_destination.items()}


def newest_notices(c: Connection, subject: Subject, most: int = LISTED) -> tuple[CountedNotice, ...]:
    """Return the newest notices of one subject, newest first, without identity."""
    return tuple(
        replace(one, notice=replace(one.notice, reason=without_identity(one.notice.reason)))
        for one in notices.newest_notices(c, subject, most)
    )


def newest_compute(c: Connection) -> str:
    """Return the hardware that the newest result was made on; empty if there is no result."""
    result = overview.newest_result(c)
    return result.provenance.compute if result else ""


def _without_identity(job: JobSummary) -> JobSummary:
    return replace(job, reason=without_identity(job.reason))


def _shown_code(delivery: Delivery) -> ReasonCode:
    if delivery.unanswered_at is not None and delivery.code in STORED:
        return ReasonCode.NO_COMMITMENT_RESULT
    return delivery.code


def _listed_radiograph(
    instance: AnalysedInstance, deliveries_by_study: Mapping[str, Sequence[Delivery]], unreported: set[str]
) -> ListedRadiograph:
    result = instance.newest.result if instance.newest else None
    of_radiograph: list[Delivery] = []
    if instance.newest:
        in_study = deliveries_by_study.get(instance.newest.result.study_instance_uid, ())
        of_radiograph = _current_deliveries(in_study, instance.newest.result_id)
    declined = Answer.NOT_ANALYSED if instance.state is State.NOT_ANALYSED else None
    is_complete = result is not None and result.study_instance_uid not in unreported
    delivered_at = _delivered_at(of_radiograph) if is_complete else None
    return ListedRadiograph(
        analysis_id=instance.analysis_id,
        received_at=instance.received_at,
        calling_ae_title=instance.calling_ae_title,
        state=instance.state,
        code=instance.code,
        answer=result.answer if result else declined,
        regions=tuple(
            ListedRegion(place=str(f.place), verdict=f.verdict, probability=f.probability, focus=f.focus)
            for f in (result.findings if result else ())
        ),
        sent=tuple(
            _progress(name, [d for d in of_radiograph if d.destination == name])
            for name in dict.fromkeys(d.destination for d in of_radiograph)
        ),
        delivered_s=_seconds_between(instance.received_at, delivered_at),
    )


def _seconds_between(begin: datetime, end: datetime | None) -> float | None:
    """Return the seconds from `begin` to `end`; None without an end, or if the clock was set back between them."""
    return (end - begin).total_seconds() if end and end >= begin else None


def _current_deliveries(in_study: Sequence[Delivery], result_id: int) -> list[Delivery]:
    """Return the deliveries of one result and of the newest report of its study, without those that were replaced."""
    report_id = max((d.study_result_id for d in in_study if d.study_result_id is not None), default=None)
    return [
        d
        for d in in_study
        if (d.result_id == result_id or (report_id is not None and d.study_result_id == report_id))
        and not (d.state is State.DROPPED and d.code in REPLACED)
    ]


def _delivered_at(deliveries: Sequence[Delivery]) -> datetime | None:
    """Return the time at which the last delivery was done; None if there is none, or one is not done."""
    ended = [d.finished_at for d in deliveries if d.state is State.DONE and d.finished_at]
    return max(ended) if ended and len(ended) == len(deliveries) else None


def _progress(destination: str, deliveries: Sequence[Delivery]) -> Progress:
    held_up = [
        d.code
        for d in deliveries
        if d.state is not State.DONE and d.code is not ReasonCode.NONE and d.code not in STORED
    ]
    proofs = [d.proven_at for d in deliveries if d.proven_at]
    return Progress(
        destination=destination,
        done=sum(d.state is State.DONE for d in deliveries),
        total=len(deliveries),
        parked=sum(d.state is State.PARKED for d in deliveries),
        code=held_up[0] if held_up else ReasonCode.NONE,
        proven_at=max(proofs) if proofs and len(proofs) == len(deliveries) else None,
        is_probable=any(d.state is State.DONE and d.code is ReasonCode.ALREADY_THERE for d in deliveries),
    )
