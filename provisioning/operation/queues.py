"""What `osteon queue` shows and does: the three queues under one kind of name, such as ``analysis:12``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Engine, Table, false, or_, select
from sqlalchemy.exc import IntegrityError

from appliance.config import Configuration, DestinationConfig, DicomDestination, FhirDestination, Hl7Destination
from appliance.domain.job import Event, ImpossibleTransition, State
from appliance.domain.reason import ReasonCode
from appliance.errors import Rejected
from appliance.reporting.hl7.order_update import ORDER
from appliance.storage.database import open_database, readers
from appliance.storage.gate import EVERY, Gate
from appliance.storage.outbox import UNSENT, WITHDRAWN, take_elsewhere
from appliance.storage.queue import Queue
from appliance.storage.tables import analyses, deliveries, instances, results, studies, study_results

TABLES = {"analysis": analyses, "study": studies, "delivery": deliveries}
SETTLED = (State.DONE, State.DROPPED)
DICOM_KINDS = frozenset({"sc", "summary", "sr", "pr", "ko", "rejection"})
"""Kinds of artefacts that a PACS takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A line of the list."""

    name: str
    state: str
    code: str
    what: str
    attempts: int
    since: datetime
    reason: str


def jobs(config: Configuration, everything: bool, uid: str | None = None) -> Iterator[Job]:
    """The jobs that a person may want to look at, oldest first; with `uid`, all about that instance or study."""
    engine = readers(open_database(config.database))
    with engine.connect() as c:
        senders = dict(c.execute(select(instances.c.id, instances.c.calling_ae_title)).tuples().all())
        for kind, table in TABLES.items():
            query = select(table).order_by(table.c.id)
            if uid:
                query = query.where(_about(table, uid))
            elif not everything:
                query = query.where(table.c.state.not_in(SETTLED))
            for row in c.execute(query):
                what = "report"
                if table is analyses:
                    what = f"from {senders[row.instance_id]}"
                elif table is deliveries:
                    what = f"{row.kind} to {row.destination}"
                since = row.finished_at or row.created_at
                yield Job(
                    name=f"{kind}:{row.id}",
                    state=row.state,
                    code=row.code,
                    what=what,
                    attempts=row.attempts,
                    since=since,
                    reason=row.reason,
                )


def _about(table: Table, uid: str) -> ColumnElement[bool]:
    """Whether a job is about the instance or the study of that UID; the study is known from its answers."""
    of_instance = select(analyses.c.id).join(instances).where(instances.c.sop_instance_uid == uid)
    in_study = select(results.c.analysis_id).where(results.c.study_instance_uid == uid)
    wanted = or_(analyses.c.id.in_(of_instance), analyses.c.id.in_(in_study))
    if table is analyses:
        return wanted
    return table.c.study_instance_uid.in_(select(results.c.study_instance_uid).join(analyses).where(wanted))


def one_job(config: Configuration, name: str) -> dict[str, Any]:
    """Every column of a job, and what it is about."""
    table, job_id = _parse(name)
    engine = readers(open_database(config.database))
    with engine.connect() as c:
        row = c.execute(select(table).where(table.c.id == job_id)).first()
        if row is None:
            raise _absent(name)
        known = dict(row._mapping)
        if table is analyses:
            instance = c.execute(select(instances).where(instances.c.id == row.instance_id)).one()
            query = select(results.c.record).where(results.c.analysis_id == job_id).order_by(results.c.id.desc())
            found = c.execute(query).first()
            known |= {"instance": dict(instance._mapping), "result": json.loads(found.record) if found else None}
        elif table is deliveries and row.result_id is not None:
            source = select(results.c.sop_instance_uid).where(results.c.id == row.result_id)
            known["source_sop_instance_uid"] = c.execute(source).scalar_one()
    return known


def retry(config: Configuration, name: str) -> State:
    """Queue a job again, at once."""
    return _command(open_database(config.database), name, Event.RETRY, "")


def drop(config: Configuration, name: str, reason: str) -> State:
    """Give a job up for good."""
    return _command(open_database(config.database), name, Event.DROP, reason)


def reroute(config: Configuration, name: str, to: str) -> State:
    """Send a delivery to another destination of the same kind instead, at once."""
    table, job_id = _parse(name)
    destination = next((d for d in config.destinations if d.name == to), None)
    if table is not deliveries or destination is None:
        raise Rejected(
            ReasonCode.NO_SUCH_DESTINATION, f"a delivery goes to a destination of the configuration, not {to!r}"
        )
    engine = open_database(config.database)
    with readers(engine).connect() as c:
        row = c.execute(select(deliveries.c.kind, deliveries.c.state).where(deliveries.c.id == job_id)).first()
    if row is None:
        raise _absent(name)
    if row.state in SETTLED:
        raise Rejected(ReasonCode.IMPOSSIBLE, f"{name} is {row.state}: only what still waits can go elsewhere")
    if not takes(destination, row.kind):
        raise Rejected(ReasonCode.OTHER_KIND, f"{to} takes no {row.kind}: name a destination of the same kind")
    if not _gets(destination, row.kind):
        raise Rejected(
            ReasonCode.NOT_CONFIGURED, f"{to} gets no {row.kind}, and so no correction of it: configure that first"
        )
    _still_to_be_said(engine, name, to)
    try:
        return take_elsewhere(engine, job_id, to)
    except IntegrityError:
        raise Rejected(
            ReasonCode.ALREADY_THERE, f"the same answer has a delivery to {to} already: drop {name}"
        ) from None
    except ImpossibleTransition as error:
        raise Rejected(ReasonCode.IMPOSSIBLE, f"{name}: {error}") from error


def takes(destination: DestinationConfig, kind: str) -> bool:
    """Whether artefacts of that kind go to destinations of that kind."""
    if kind.split()[0] in DICOM_KINDS:  # without the page
        return isinstance(destination, DicomDestination)
    return isinstance(destination, FhirDestination if kind.startswith("fhir") else Hl7Destination)


def _gets(destination: DestinationConfig, kind: str) -> bool:
    """Whether a destination gets artefacts of that kind by its configuration, and so what corrects them."""
    if isinstance(destination, DicomDestination):
        return kind == "rejection" or kind.split()[0] in destination.objects
    return kind != ORDER or (isinstance(destination, Hl7Destination) and destination.flag in ("orm", "omi"))


def hold(config: Configuration, to: str, reason: str) -> None:
    """Let nothing leave for a destination, or for all (`gate.EVERY`), until `release`."""
    if to != EVERY and to not in [d.name for d in config.destinations]:
        raise Rejected(ReasonCode.NO_SUCH_DESTINATION, f"the configuration has no destination {to!r}")
    Gate(open_database(config.database)).shut(to, reason)


def release(config: Configuration, to: str) -> None:
    """Take a hold back."""
    if not Gate(open_database(config.database)).open(to):
        raise Rejected(ReasonCode.NOT_HELD, f"nothing is held for {to!r}")


def _command(engine: Engine, name: str, event: Event, reason: str) -> State:
    table, job_id = _parse(name)
    others: dict[str, Any] = {}
    if table is deliveries and event is Event.RETRY:
        others = UNSENT | {"refuted": 0} | _still_to_be_said(engine, name)
    try:
        return Queue(engine, table, "command").command(job_id, event, reason, **others)
    except KeyError:
        raise _absent(name) from None
    except ImpossibleTransition as error:
        raise Rejected(ReasonCode.IMPOSSIBLE, f"{name}: {error}") from error


def _still_to_be_said(engine: Engine, name: str, to: str | None = None) -> dict[str, Any]:
    """Columns of a delivery that may go out again: that it was tried stays on record, for a withdrawal.

    Raises
    ------
    Rejected
        ``withdrawn``; ``outdated`` if a later answer for the same has a delivery to the same destination.
    """
    d = deliveries.c
    with readers(engine).connect() as c:
        row = c.execute(select(deliveries).where(d.id == _parse(name)[1])).first()
        if row is None:
            raise _absent(name)
        if row.code == WITHDRAWN:
            raise Rejected(WITHDRAWN, f"{name} was taken back: analyse the radiograph again for a new answer")
        is_later: ColumnElement[bool] = false()  # of a revocation
        if row.result_id is not None:
            film = select(results.c.sop_instance_uid).where(results.c.id == row.result_id).scalar_subquery()
            newer = select(results.c.id).where(results.c.sop_instance_uid == film, results.c.id > row.result_id)
            is_later = d.result_id.in_(newer)
        elif row.study_result_id is not None:
            s = study_results.c
            study = select(s.study_id).where(s.id == row.study_result_id).scalar_subquery()
            is_later = d.study_result_id.in_(select(s.id).where(s.study_id == study, s.id > row.study_result_id))
        query = select(d.id).where(is_later, d.destination == (to or row.destination)).order_by(d.id.desc())
        later = c.execute(query).scalar()
    if later is not None:
        raise Rejected(
            ReasonCode.OUTDATED, f"{name} would go after a later answer for the same, delivery:{later}: drop it"
        )
    return {"attempts": min(row.attempts, 1)}


def _parse(name: str) -> tuple[Table, int]:
    kind, _, number = name.partition(":")
    if kind not in TABLES or not number.isdecimal():
        raise Rejected(ReasonCode.NO_SUCH_JOB, f"{name!r} is not a job's name such as analysis:12 or delivery:40")
    return TABLES[kind], int(number)


def _absent(name: str) -> Rejected:
    return Rejected(ReasonCode.NO_SUCH_JOB, f"there is no {name}: see osteon queue list --all")
