"""What is written together: an instance with its job, a result with the deliveries that it implies."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from appliance.domain.job import State
from appliance.domain.result import Result
from appliance.errors import Rejected
from appliance.ports import Artefact

from .database import now
from .tables import analyses, deliveries, instances, results, roles


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """An instance as the receiver knows it."""

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    digest: str
    size_bytes: int
    calling_ae_title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """An artefact that lies in the spool under `digest`, and the destination that it is for.

    `refused` is set when the artefact could not be made: the delivery is parked with the reason, for a person to see.
    """

    destination: str
    artefact: Artefact
    digest: str
    refused: Rejected | None = None


def keep_instance(engine: Engine, received: Received) -> bool:
    """Record an instance and queue its analysis, durably; False if the same bytes were here before."""
    with engine.begin() as c:
        known = select(instances.c.id).where(
            instances.c.sop_instance_uid == received.sop_instance_uid, instances.c.digest == received.digest
        )
        if c.execute(known).first():
            return False
        moment = now()
        values = {name: getattr(received, name) for name in Received.__slots__}
        row = c.execute(insert(instances).values(**values, received_at=moment)).inserted_primary_key
        c.execute(
            insert(analyses).values(
                instance_id=row[0] if row else None,
                state=State.QUEUED,
                attempts=0,
                not_before=moment,
                code="",
                reason="",
                created_at=moment,
            )
        )
    return True


def instance_of(engine: Engine, analysis_id: int) -> Row[Any]:
    """The row of `instances` that an analysis is about."""
    with engine.connect() as c:
        query = select(instances).join(analyses, analyses.c.instance_id == instances.c.id)
        return c.execute(query.where(analyses.c.id == analysis_id)).one()


def record_result(c: Connection, analysis_id: int, result: Result, outgoing: Iterable[Outgoing]) -> None:
    """Write `result` and its deliveries within the transaction that ends the analysis."""
    values = {"analysis_id": analysis_id, "record": result.to_json(), "created_at": result.created_at}
    key = c.execute(insert(results).values(**values)).inserted_primary_key
    for o in outgoing:
        moment = now()
        c.execute(
            insert(deliveries).values(
                result_id=key[0] if key else None,
                destination=o.destination,
                kind=o.artefact.kind,
                identifier=o.artefact.identifier,
                digest=o.digest,
                state=State.PARKED if o.refused else State.QUEUED,
                attempts=0,
                not_before=moment,
                code=o.refused.code if o.refused else "",
                reason=o.refused.reason if o.refused else "",
                created_at=moment,
            )
        )


def delivery(engine: Engine, delivery_id: int) -> Row[Any]:
    """One row of `deliveries`."""
    with engine.connect() as c:
        return c.execute(select(deliveries).where(deliveries.c.id == delivery_id)).one()


def beat(engine: Engine, role: str, started_at: datetime, detail: str) -> None:
    """Tell the status page that `role` is alive, and in a sentence how it is doing."""
    values = {"role": role, "pid": os.getpid(), "started_at": started_at, "beat_at": now(), "detail": detail}
    upsert = (sqlite if engine.dialect.name == "sqlite" else postgresql).insert(roles).values(**values)
    with engine.begin() as c:
        c.execute(upsert.on_conflict_do_update(index_elements=[roles.c.role], set_=values))


def forget_role(engine: Engine, role: str) -> None:
    """A role that stopped in order is not missing."""
    with engine.begin() as c:
        c.execute(update(roles).where(roles.c.role == role).values(detail="stopped"))
