"""The commands of `osteon queue`: list, show, retry, drop and reroute jobs, hold and release destinations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from sqlalchemy import Connection, Engine

from appliance.config import Archive, Configuration, DestinationConfig, FhirDestination, Hl7Destination
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.audit import Intervention
from appliance.domain.job import ImpossibleTransition, State
from appliance.domain.reason import ReasonCode
from appliance.errors import Rejected
from appliance.storage import interventions
from appliance.storage.database import check_schema, existing_database, open_database, readers
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
from appliance.storage.interventions import Selection as Selection
from appliance.storage.interventions import job_of, no_such_job
from appliance.storage.outbox import DeliveryQueue


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


def selected(config: Configuration, selection: Selection) -> list[str]:
    """Return the names of the selected jobs, oldest first; raises as `interventions.selected`."""
    with reading(config) as c:
        return interventions.selected(c, selection, _names(config))


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
    with reading(config) as c:
        interventions.check(c, selection, _names(config))
        for queue in QueueName if c else ():
            assert c is not None
            if uid:
                found = jobs_about(c, queue, uid)
            elif everything or selection.state in SETTLED:
                found = all_jobs(c, queue)
            else:
                found = open_jobs(c, queue)
            for job in found:
                if not selection.matches(job):
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
def reading(config: Configuration) -> Iterator[Connection | None]:
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
    queue, job_id = job_of(name)
    with reading(config) as c:
        details = job_details(c, queue, job_id) if c else None
    if details is None:
        raise no_such_job(name)
    shown = details.job
    if queue is QueueName.ANALYSIS:
        result = json.loads(details.result.to_json()) if details.result else None
        shown |= {"instance": details.instance, "result": result}
    elif details.source_sop_instance_uid is not None:
        shown["source_sop_instance_uid"] = details.source_sop_instance_uid
    return shown


def retry(config: Configuration, name: str, by: Intervention) -> State:
    """Queue a job again, at once; return its new state. Raises as `interventions.retry`."""
    return interventions.retry(_database(config), name, by)


def drop(config: Configuration, name: str, by: Intervention, *, withdrawals: bool = False) -> State:
    """Give a job up for good; return its new state. Raises as `interventions.drop`."""
    return interventions.drop(_database(config), name, by, withdrawals=withdrawals)


def reroute(config: Configuration, name: str, to: str, by: Intervention) -> State:
    """Send a delivery to another destination of the same kind instead, at once; return its new state.

    Raises
    ------
    Rejected
        ``no_such_destination``, ``no_such_job``, ``impossible``, ``other_kind``, ``not_configured``, ``withdrawn``,
        ``outdated``, ``already_there``.
    """
    queue, job_id = job_of(name)
    destination = next((d for d in config.destinations if d.name == to), None)
    if queue is not QueueName.DELIVERY or destination is None:
        reason = f"a delivery goes to a destination of the configuration, not {to!r}"
        raise Rejected(ReasonCode.NO_SUCH_DESTINATION, reason)
    engine = _database(config)
    with readers(engine).connect() as c:
        delivery = find_delivery(c, job_id)
    if delivery is None:
        raise no_such_job(name)
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
        return DeliveryQueue(engine, interventions.OWNER).reroute(job_id, to, by)
    except ImpossibleTransition as error:
        raise Rejected(ReasonCode.IMPOSSIBLE, f"{name}: {error}") from error


def takes(destination: DestinationConfig, kind: ArtefactKind) -> bool:
    """Return whether destinations of that kind take artefacts of that kind."""
    if kind.is_dicom:
        return isinstance(destination, Archive)
    return isinstance(destination, FhirDestination if kind.is_fhir else Hl7Destination)


def _is_configured_for(destination: DestinationConfig, kind: ArtefactKind) -> bool:
    """Return whether the configuration sends such artefacts, and so their corrections, to a destination."""
    if isinstance(destination, Archive):
        return kind is ArtefactKind.REJECTION or kind.value in destination.objects
    if kind is ArtefactKind.ORDER:
        return isinstance(destination, Hl7Destination) and destination.flag in ("orm", "omi")
    return True


def hold(config: Configuration, to: str, by: Intervention) -> None:
    """Let nothing leave for a destination, or for all, until `release`; raises as `interventions.hold`."""
    interventions.hold(_database(config), to, by, _names(config))


def release(config: Configuration, to: str, by: Intervention) -> None:
    """Lift a hold; raises as `interventions.release`."""
    interventions.release(_database(config), to, by)


def _names(config: Configuration) -> list[str]:
    return [d.name for d in config.destinations]


@cache
def _open(database: str) -> Engine:
    return open_database(database)


def _database(config: Configuration) -> Engine:
    """Return the database of the configuration, opened once for all jobs of a command."""
    return _open(config.database)
