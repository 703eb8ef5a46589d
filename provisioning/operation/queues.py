"""The commands of `osteon queue`: list, show, retry, drop and reroute jobs, hold and release destinations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from sqlalchemy import Connection, Engine

from appliance.clock import now
from appliance.config import Configuration, DestinationConfig, DicomDestination, FhirDestination, Hl7Destination
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.job import ImpossibleTransition, State
from appliance.domain.reason import ReasonCode
from appliance.errors import Rejected
from appliance.storage.database import check_schema, existing_database, open_database, readers
from appliance.storage.gate import EVERY, Gate, release_command
from appliance.storage.inspection import (
    SETTLED,
    JobSummary,
    QueueName,
    all_jobs,
    find_delivery,
    job_details,
    jobs_about,
    open_jobs,
)
from appliance.storage.instances import AnalysisQueue
from appliance.storage.outbox import DeliveryQueue
from appliance.storage.overview import count_deliveries
from appliance.storage.queue import Queue
from appliance.storage.studies import StudyQueue

OWNER = "command"
"""Owner of the queues here, which lease nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One line of `osteon queue list`.

    Attributes
    ----------
    about
        Sender of a radiograph, artefact and destination of a delivery, or ``report``.
    """

    name: str
    state: State
    code: ReasonCode
    about: str
    attempts: int
    since: datetime
    reason: str


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


def selected(config: Configuration, selection: Selection) -> list[str]:
    """Return the names of the selected jobs, oldest first.

    Raises
    ------
    Rejected
        ``no_such_destination``; ``no_such_job`` if no job fits, or there is no such code.
    """
    if selection.names:
        return list(selection.names)
    _check(config, selection)
    with _reading(config) as c:
        names = [job.name for queue in QueueName for job in (open_jobs(c, queue) if c else ()) if _fits(job, selection)]
    if not names:
        raise Rejected(ReasonCode.NO_SUCH_JOB, "no job that waits or is parked fits: see osteon queue list")
    return names


def _check(config: Configuration, selection: Selection) -> None:
    """Refuse a destination and a code that no job can have.

    A destination that the configuration does not name any more may still have deliveries.
    """
    name = selection.destination
    if name is not None and name not in [d.name for d in config.destinations]:
        with _reading(config) as c:
            if c is None or name not in {delivery.destination for delivery in count_deliveries(c)}:
                raise Rejected(ReasonCode.NO_SUCH_DESTINATION, f"the configuration has no destination {name!r}")
    if selection.code is not None and selection.code not in {code.value for code in ReasonCode}:
        raise Rejected(ReasonCode.NO_SUCH_JOB, f"there is no code {selection.code!r}: see osteon queue list")


def _fits(job: JobSummary, selection: Selection) -> bool:
    """Return whether the job waits, is parked, or has the code that is asked for, and fits the selection."""
    return (job.state in (State.QUEUED, State.PARKED) or selection.code is not None) and _matches(job, selection)


def _matches(job: JobSummary, selection: Selection) -> bool:
    is_meant = selection.destination is None or (job.queue is QueueName.DELIVERY and job.peer == selection.destination)
    is_old = selection.older_than is None or now() - job.created_at > selection.older_than
    has_state = selection.state in (None, job.state)
    return is_meant and is_old and has_state and selection.code in (None, job.code.value)


def jobs(
    config: Configuration, everything: bool, uid: str | None = None, selection: Selection | None = None
) -> Iterator[Job]:
    """Yield the jobs that a person may have to look at, oldest first.

    Parameters
    ----------
    everything
        Yield ended jobs too, as for a state that ended jobs have.
    uid
        Yield all jobs about the instance or study of that UID instead.
    selection
        Yield those of them alone that fit.

    Raises
    ------
    Rejected
        ``no_such_destination``, ``no_such_job`` for a code that there is not.
    """
    selection = selection or Selection()
    _check(config, selection)
    with _reading(config) as c:
        for queue in QueueName if c else ():
            assert c is not None
            if uid:
                found = jobs_about(c, queue, uid)
            elif everything or selection.state in SETTLED:
                found = all_jobs(c, queue)
            else:
                found = open_jobs(c, queue)
            for job in found:
                if not _matches(job, selection):
                    continue
                yield Job(
                    name=job.name,
                    state=job.state,
                    code=job.code,
                    about=_subject(job),
                    attempts=job.attempts,
                    since=job.since,
                    reason=job.reason,
                )


@contextmanager
def _reading(config: Configuration) -> Iterator[Connection | None]:
    """Connect to the database for reading; None if there is none yet. Nothing is made or migrated.

    Raises
    ------
    Fault
        ``database_unusable`` if the schema is that of another version.
    """
    engine = existing_database(config.database)
    if engine is None:
        yield None
        return
    with readers(engine).connect() as c:
        check_schema(c)
        yield c


def _subject(job: JobSummary) -> str:
    match job.queue:
        case QueueName.ANALYSIS:
            return f"from {job.peer}"
        case QueueName.DELIVERY:
            return f"{job.artefact} to {job.peer}"
        case QueueName.STUDY:
            return "report"


def one_job(config: Configuration, name: str) -> dict[str, object]:
    """Return all that is known about a job, for display.

    Raises
    ------
    Rejected
        ``no_such_job``.
    """
    queue, job_id = _parse(name)
    with _reading(config) as c:
        details = job_details(c, queue, job_id) if c else None
    if details is None:
        raise _no_such_job(name)
    shown = details.job
    if queue is QueueName.ANALYSIS:
        result = json.loads(details.result.to_json()) if details.result else None
        shown |= {"instance": details.instance, "result": result}
    elif details.source_sop_instance_uid is not None:
        shown["source_sop_instance_uid"] = details.source_sop_instance_uid
    return shown


def retry(config: Configuration, name: str) -> State:
    """Queue a job again, at once; return its new state.

    Raises
    ------
    Rejected
        ``no_such_job``, ``impossible``; for a delivery also ``withdrawn`` and ``outdated``.
    """
    queue, job_id = _queue_of(_database(config), name)
    try:
        return queue.retry(job_id)
    except KeyError:
        raise _no_such_job(name) from None
    except ImpossibleTransition as error:
        raise Rejected(ReasonCode.IMPOSSIBLE, f"{name}: {error}") from error


def drop(config: Configuration, name: str, reason: str) -> State:
    """Give a job up for good; return its new state.

    Raises
    ------
    Rejected
        ``no_such_job``, ``impossible``.
    """
    queue, job_id = _queue_of(_database(config), name)
    try:
        return queue.drop(job_id, reason)
    except KeyError:
        raise _no_such_job(name) from None
    except ImpossibleTransition as error:
        raise Rejected(ReasonCode.IMPOSSIBLE, f"{name}: {error}") from error


def reroute(config: Configuration, name: str, to: str) -> State:
    """Send a delivery to another destination of the same kind instead, at once; return its new state.

    Raises
    ------
    Rejected
        ``no_such_destination``, ``no_such_job``, ``impossible``, ``other_kind``, ``not_configured``, ``withdrawn``,
        ``outdated``, ``already_there``.
    """
    queue, job_id = _parse(name)
    destination = next((d for d in config.destinations if d.name == to), None)
    if queue is not QueueName.DELIVERY or destination is None:
        reason = f"a delivery goes to a destination of the configuration, not {to!r}"
        raise Rejected(ReasonCode.NO_SUCH_DESTINATION, reason)
    engine = _database(config)
    with readers(engine).connect() as c:
        delivery = find_delivery(c, job_id)
    if delivery is None:
        raise _no_such_job(name)
    if delivery.state in SETTLED:
        reason = f"{name} is {delivery.state}: only a delivery that waits or is parked can be rerouted"
        raise Rejected(ReasonCode.IMPOSSIBLE, reason)
    if not takes(destination, delivery.kind):
        reason = f"{to} takes no {delivery.kind}: name a destination of the same kind"
        raise Rejected(ReasonCode.OTHER_KIND, reason)
    if not _is_configured_for(destination, delivery.kind):
        reason = f"{to} gets no {delivery.kind}, and so no correction of it: configure that first"
        raise Rejected(ReasonCode.NOT_CONFIGURED, reason)
    try:
        return DeliveryQueue(engine, OWNER).reroute(job_id, to)
    except ImpossibleTransition as error:
        raise Rejected(ReasonCode.IMPOSSIBLE, f"{name}: {error}") from error


def takes(destination: DestinationConfig, kind: ArtefactKind) -> bool:
    """Return whether destinations of that kind take artefacts of that kind."""
    if kind.is_dicom:
        return isinstance(destination, DicomDestination)
    return isinstance(destination, FhirDestination if kind.is_fhir else Hl7Destination)


def _is_configured_for(destination: DestinationConfig, kind: ArtefactKind) -> bool:
    """Return whether the configuration sends such artefacts, and so their corrections, to a destination."""
    if isinstance(destination, DicomDestination):
        return kind is ArtefactKind.REJECTION or kind.value in destination.objects
    if kind is ArtefactKind.ORDER:
        return isinstance(destination, Hl7Destination) and destination.flag in ("orm", "omi")
    return True


def hold(config: Configuration, to: str, reason: str) -> None:
    """Let nothing leave for a destination, or for all (`gate.EVERY`), until `release`.

    Raises
    ------
    Rejected
        ``no_such_destination``.
    """
    if to != EVERY and to not in [d.name for d in config.destinations]:
        raise Rejected(ReasonCode.NO_SUCH_DESTINATION, f"the configuration has no destination {to!r}")
    Gate(_database(config)).shut(to, reason)


def release(config: Configuration, to: str) -> None:
    """Lift a hold.

    Raises
    ------
    Rejected
        ``not_held``.
    """
    gate = Gate(_database(config))
    if not gate.open(to):
        name = "all destinations" if to == EVERY else to
        commands = " or ".join(f"`{release_command(hold.destination)}`" for hold in gate.holds())
        raise Rejected(
            ReasonCode.NOT_HELD,
            f"there is no hold of {name}; {f'lift another with {commands}' if commands else 'nothing is held'}",
        )


@cache
def _open(database: str) -> Engine:
    return open_database(database)


def _database(config: Configuration) -> Engine:
    """Return the database of the configuration, opened once for all jobs of a command."""
    return _open(config.database)


def _queue_of(engine: Engine, name: str) -> tuple[Queue, int]:
    queue, job_id = _parse(name)
    match queue:
        case QueueName.ANALYSIS:
            return AnalysisQueue(engine, OWNER), job_id
        case QueueName.STUDY:
            return StudyQueue(engine, OWNER), job_id
        case QueueName.DELIVERY:
            return DeliveryQueue(engine, OWNER), job_id


def _parse(name: str) -> tuple[QueueName, int]:
    queue, _, number = name.partition(":")
    if queue not in list(QueueName) or not number.isdecimal():
        reason = f"{name!r} is not the name of a job, such as analysis:12 or delivery:40"
        raise Rejected(ReasonCode.NO_SUCH_JOB, reason)
    return QueueName(queue), int(number)


def _no_such_job(name: str) -> Rejected:
    return Rejected(ReasonCode.NO_SUCH_JOB, f"there is no {name}: see osteon queue list --all")
