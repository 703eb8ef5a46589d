"""Deliveries as a result implies them: queued with it, and what it takes the place of dropped."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Table, insert, update

from appliance.clock import now
from appliance.domain.job import Event, State, states_that_can
from appliance.domain.reason import ReasonCode
from appliance.errors import OsteonError

from .tables import deliveries


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """An answer that lies in the spool under `digest`, and the destination that it is for.

    `refused` is set when the answer could not be made: there is no digest, and the delivery is parked with the reason.
    """

    destination: str
    kind: str
    identifier: str
    digest: str
    refused: OsteonError | None = None


def queue_deliveries(c: Connection, outgoing: Iterable[Outgoing], study_instance_uid: str, **of: int | None) -> None:
    """Write the deliveries of a result, of a study's or of none, as `of` says."""
    moment = now()
    for o in outgoing:
        c.execute(
            insert(deliveries).values(
                **of,
                study_instance_uid=study_instance_uid,
                destination=o.destination,
                kind=o.kind,
                identifier=o.identifier,
                digest=o.digest,
                state=State.PARKED if o.refused else State.QUEUED,
                attempts=0,
                not_before=moment,
                code=o.refused.code if o.refused else "",
                reason=o.refused.reason if o.refused else "",
                created_at=moment,
            )
        )


def supersede(c: Connection, which: ColumnElement[bool], revision: int) -> None:
    """Drop those of `which` deliveries that have not ended: `revision` says the same anew."""
    drop(c, deliveries, which, ReasonCode.SUPERSEDED, f"revision {revision} takes its place")


def drop(c: Connection, jobs: Table, which: ColumnElement[bool], code: ReasonCode, reason: str) -> int:
    """Drop those of `which` jobs that have not ended; how many. Who has one in hand finds its lease lost."""
    values = {"state": State.DROPPED, "code": code, "reason": reason, "finished_at": now(), "lease_owner": None}
    return c.execute(update(jobs).where(which, jobs.c.state.in_(states_that_can(Event.DROP))).values(**values)).rowcount
