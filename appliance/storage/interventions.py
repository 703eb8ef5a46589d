"""Changes that a person makes to jobs and holds, at the command line and on the page: each is in the audit log."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, Engine

from appliance.clock import now
from appliance.domain.audit import Intervention
from appliance.domain.job import ImpossibleTransition, State
from appliance.domain.reason import ReasonCode
from appliance.errors import Rejected

from .database import readers
from .gate import EVERY, Gate, release_command
from .inspection import JobSummary, QueueName, find_delivery, open_jobs
from .instances import AnalysisQueue
from .outbox import DeliveryQueue
from .overview import count_deliveries
from .queue import Queue
from .studies import StudyQueue

OWNER: Final = "person"
"""Owner of the queues here, which lease nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Jobs that a person means: by their names, or all that wait or are parked and fit every condition.

    Attributes
    ----------
    names
        Names such as ``delivery:40``; no condition applies to them.
    destination
        Deliveries to it alone.
    code
        Jobs with that code of a reason alone, radiographs that were not analysed among them.
    older_than
        Jobs made before so long alone.
    state
        Jobs in that state alone.
    """

    names: tuple[str, ...] = ()
    destination: str | None = None
    code: str | None = None
    older_than: timedelta | None = None
    state: State | None = None

    def matches(self, job: JobSummary) -> bool:
        """Return whether a job fits every condition."""
        to = self.destination
        is_meant = to is None or (job.queue is QueueName.DELIVERY and job.peer == to)
        is_old = self.older_than is None or now() - job.created_at > self.older_than
        has_state = self.state in (None, job.state)
        return is_meant and is_old and has_state and self.code in (None, job.code.value)


def selected(c: Connection | None, selection: Selection, configured: Collection[str]) -> list[str]:
    """Return the names of the selected jobs, oldest first.

    Parameters
    ----------
    c
        A connection to the database; None if there is none yet.
    configured
        Names of the destinations of the configuration.

    Raises
    ------
    Rejected
        ``no_such_destination``; ``no_such_job`` if no job fits, or there is no such code.
    """
    if selection.names:
        return list(selection.names)
    check(c, selection, configured)
    jobs = (job for queue in QueueName for job in (open_jobs(c, queue) if c else ()))
    names = [job.name for job in jobs if _may_be_changed(job, selection) and selection.matches(job)]
    if not names:
        raise Rejected(ReasonCode.NO_SUCH_JOB, "no job that waits or is parked fits: see osteon queue list")
    return names


def check(c: Connection | None, selection: Selection, configured: Collection[str]) -> None:
    """Refuse a destination and a code that no job can have.

    A destination that the configuration does not name any more may still have deliveries.
    """
    name = selection.destination
    known = {*configured, *(delivery.destination for delivery in (count_deliveries(c) if c else ()))}
    if name is not None and name not in known:
        raise _no_such_destination(name)
    if selection.code is not None and selection.code not in {code.value for code in ReasonCode}:
        raise Rejected(ReasonCode.NO_SUCH_JOB, f"there is no code {selection.code!r}: see osteon queue list")


def _may_be_changed(job: JobSummary, selection: Selection) -> bool:
    """Return whether a job waits, is parked, or has the code that is asked for."""
    return job.state in (State.QUEUED, State.PARKED) or selection.code is not None


def retry(engine: Engine, name: str, by: Intervention) -> State:
    """Queue a job again, at once; return its new state.

    Raises
    ------
    Rejected
        ``no_such_job``, ``impossible``; for a delivery also ``withdrawn`` and ``outdated``.
    """
    queue, job_id = _queue_of(engine, name)
    try:
        return queue.retry(job_id, by)
    except KeyError:
        raise no_such_job(name) from None
    except ImpossibleTransition as error:
        raise Rejected(ReasonCode.IMPOSSIBLE, f"{name}: {error}") from error


def drop(engine: Engine, name: str, by: Intervention, *, withdrawals: bool = False) -> State:
    """Give a job up for good, with the person's reason; return its new state.

    Parameters
    ----------
    withdrawals
        Whether the job may be a delivery that takes an answer back, which then stays at its destination.

    Raises
    ------
    Rejected
        ``no_such_job``, ``impossible``, ``takes_back``.
    """
    queue, job_id = _queue_of(engine, name)
    if isinstance(queue, DeliveryQueue) and not withdrawals:
        with readers(engine).connect() as c:
            delivery = find_delivery(c, job_id)
        if delivery and delivery.kind.revokes:
            reason = f"{name} takes an answer back at {delivery.destination}, where the answer would stay"
            raise Rejected(ReasonCode.TAKES_BACK, reason)
    try:
        return queue.drop(job_id, by)
    except KeyError:
        raise no_such_job(name) from None
    except ImpossibleTransition as error:
        raise Rejected(ReasonCode.IMPOSSIBLE, f"{name}: {error}") from error


def hold(engine: Engine, to: str, by: Intervention, configured: Collection[str]) -> None:
    """Let nothing leave for a destination, or for all (`gate.EVERY`), until `release`.

    Raises
    ------
    Rejected
        ``no_such_destination``, ``held_already``.
    """
    if to != EVERY and to not in configured:
        raise _no_such_destination(to)
    Gate(engine).shut(to, by)


def release(engine: Engine, to: str, by: Intervention, since: datetime | None = None) -> None:
    """Lift a hold, that of `since` alone if it is given.

    Raises
    ------
    Rejected
        ``not_held``, ``hold_changed``.
    """
    gate = Gate(engine)
    if not gate.open(to, by, since):
        name = "all destinations" if to == EVERY else to
        commands = " or ".join(f"`{release_command(hold.destination)}`" for hold in gate.holds())
        raise Rejected(
            ReasonCode.NOT_HELD,
            f"there is no hold of {name}; {f'lift another with {commands}' if commands else 'nothing is held'}",
        )


def job_of(name: str) -> tuple[QueueName, int]:
    """Return queue and id of the job of that name.

    Raises
    ------
    Rejected
        ``no_such_job`` if it is not the name of a job.
    """
    queue, _, number = name.partition(":")
    if queue not in list(QueueName) or not (number.isascii() and number.isdecimal() and len(number) < MOST_DIGITS):
        reason = f"{name!r} is not the name of a job, such as analysis:12 or delivery:40"
        raise Rejected(ReasonCode.NO_SUCH_JOB, reason)
    return QueueName(queue), int(number)


MOST_DIGITS: Final = 10
"""Digits of a number that PostgreSQL does not take any more as an id."""


def no_such_job(name: str) -> Rejected:
    """Return the refusal of a job that is not there."""
    return Rejected(ReasonCode.NO_SUCH_JOB, f"there is no {name}: see osteon queue list --all")


def _no_such_destination(name: str) -> Rejected:
    return Rejected(ReasonCode.NO_SUCH_DESTINATION, f"the configuration has no destination {name!r}")


def _queue_of(engine: Engine, name: str) -> tuple[Queue, int]:
    queue, job_id = job_of(name)
    match queue:
        case QueueName.ANALYSIS:
            return AnalysisQueue(engine, OWNER), job_id
        case QueueName.STUDY:
            return StudyQueue(engine, OWNER), job_id
        case QueueName.DELIVERY:
            return DeliveryQueue(engine, OWNER), job_id
