"""The way of a radiograph as steps with their times: what a hospital asks when an answer is missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from appliance.domain.artefact_kind import kind_and_page
from appliance.domain.finding import percent
from appliance.domain.job import State
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Result
from appliance.storage.deliveries import Delivery
from appliance.storage.inspection import QueueName
from appliance.storage.journeys import Journey, RadiographSteps, StudySteps

from .health import without_identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of the way.

    Attributes
    ----------
    at
        Time of the step; None if it has not come yet.
    job
        Name of the job, as `osteon queue show` takes it; empty for a step of a peer.
    state
        State that the job has now, at the step that is its newest; None at earlier steps.
    reason
        Words of the job at that step, without identity.
    after_s
        Seconds since the first radiograph came; None without a time, or if the clock was set back.
    """

    at: datetime | None
    sentence: str
    job: str = ""
    state: State | None = None
    code: ReasonCode = ReasonCode.NONE
    reason: str = ""
    after_s: float | None = None


def steps(journey: Journey) -> tuple[Step, ...]:
    """Return the steps in the order of their times; those to come stand last."""
    found = [step for one in journey.radiographs for step in _of_radiograph(one)]
    if journey.study:
        found += _of_study(journey.study)
    found += [step for one in journey.deliveries for step in _of_delivery(one)]
    found += [Step(at=at, sentence="Report of a radiologist received") for at in journey.reports_at]
    found += [Step(at=at, sentence=f"Kept back: in the sample of validation {n}") for n, at in journey.kept_back]
    timed = sorted((s for s in found if s.at is not None), key=lambda s: s.at.timestamp() if s.at else 0.0)
    began = min((one.received_at for one in journey.radiographs), default=None)
    return tuple(_since(step, began) for step in (*timed, *(s for s in found if s.at is None)))


def _since(step: Step, began: datetime | None) -> Step:
    if step.at is None or began is None or step.at < began:
        return step
    return replace(step, after_s=(step.at - began).total_seconds())


def _of_radiograph(one: RadiographSteps) -> Iterator[Step]:
    job = f"{QueueName.ANALYSIS}:{one.analysis_id}"
    sender = one.calling_ae_title or "an unknown sender"
    yield Step(at=one.received_at, sentence=f"Radiograph received from {sender}", job=job)
    sentence = {
        State.QUEUED: "Waits to be analysed",
        State.LEASED: "Is being analysed",
        State.PARKED: "Analysis parked: it waits for a person",
        State.DROPPED: "Analysis dropped",
    }.get(one.state)
    answer = _answer(one.result) if one.result else "Not analysed"
    if sentence and one.result:
        yield Step(at=one.result.created_at, sentence=answer, job=job)
    yield Step(
        at=one.finished_at,
        sentence=sentence or answer,
        job=job,
        state=one.state,
        code=one.code,
        reason=without_identity(one.reason),
    )
    if one.pruned_at:
        yield Step(at=one.pruned_at, sentence="File removed from the spool by retention", job=job)


def _answer(result: Result) -> str:
    told = [f"{f.place} {percent(f.probability)}" for f in result.findings]
    return f"Answered: {'; '.join([str(result.answer.label), *told])}"


def _of_study(study: StudySteps) -> Iterator[Step]:
    job = f"{QueueName.STUDY}:{study.study_id}"
    for number, at in study.revisions:
        again = "" if number == 1 else f", revision {number}"
        yield Step(at=at, sentence=f"Study settled: report made{again}", job=job)
    if study.state is not State.DONE:
        sentence = {
            State.QUEUED: "Study settles: its report is made when no further radiograph comes",
            State.LEASED: "Report is being made",
            State.PARKED: "Report parked: it waits for a person",
        }.get(study.state, "Report dropped")
        reason = without_identity(study.reason)
        yield Step(at=None, sentence=sentence, job=job, state=study.state, code=study.code, reason=reason)


def _of_delivery(one: Delivery) -> Iterator[Step]:
    kind = kind_and_page(one.kind, one.page)
    is_done = one.state is State.DONE
    if one.stored_at:
        is_last = is_done and not one.proven_at
        yield _delivery_step(one, one.stored_at, f"{kind} stored by {one.destination}", is_last=is_last)
    if one.proven_at:
        yield _delivery_step(one, one.proven_at, f"{kind} confirmed by {one.destination}", is_last=is_done)
    if is_done and not one.stored_at and not one.proven_at:
        yield _delivery_step(one, one.finished_at, f"{kind} delivered to {one.destination}")
    if not is_done:
        sentence = {
            State.QUEUED: f"{kind} waits for {one.destination}",
            State.LEASED: f"{kind} is on its way to {one.destination}",
            State.PARKED: f"{kind} for {one.destination} parked: it waits for a person",
        }.get(one.state, f"{kind} for {one.destination} dropped")
        yield _delivery_step(one, one.finished_at, sentence)


def _delivery_step(one: Delivery, at: datetime | None, sentence: str, *, is_last: bool = True) -> Step:
    step = Step(at=at, sentence=sentence, job=f"{QueueName.DELIVERY}:{one.delivery_id}")
    if not is_last:
        return step
    return replace(step, state=one.state, code=one.code, reason=without_identity(one.explanation))
