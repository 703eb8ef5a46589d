"""The state of a destination: its failures in a row, and the pause in which no waiting delivery is tried.

A pause is one row, however many deliveries wait. A peer that is away holds up all of them, and so does one that asks to
wait; after its pause another delivery is tried first. A peer that answers and takes nothing holds up those that waited
when the pause began; a later one is tried at once, so that deliveries which fail for reasons of their own do not delay
the rest.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, func, select, update

from appliance.clock import now
from appliance.domain.code_sets import ASKED_TO_WAIT
from appliance.domain.pause import pauses_at
from appliance.domain.reason import ReasonCode
from appliance.errors import Away, OsteonError

from .database import readers, upsert
from .tables import deliveries, destinations
from .wakeups import wake_after_commit


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationState:
    """The state of one destination.

    Attributes
    ----------
    failures, pauses
        Failures and pauses since the destination took an artefact.
    recoveries
        How often the destination took an artefact after failures.
    is_away
        Whether the newest failure was that the peer is not reachable, or asked to wait: its pause holds up everything.
    paused_until
        End of the newest pause; None if there was none since the last success.
    held_up_to
        Id of the newest delivery that the pause holds up while the peer is not away.
    code, reason
        The newest failure; empty after a success.
    """

    destination: str
    failures: int = 0
    pauses: int = 0
    recoveries: int = 0
    is_away: bool = False
    paused_until: datetime | None = None
    held_up_to: int = 0
    code: ReasonCode = ReasonCode.NONE
    reason: str = ""

    @property
    def is_paused(self) -> bool:
        """True until the pause is over."""
        return self.paused_until is not None and self.paused_until > now()

    @property
    def is_unreachable(self) -> bool:
        """True if the peer gave no answer, so that no artefact can be what it fails at."""
        return self.is_away and self.code not in ASKED_TO_WAIT

    def holds_up(self, delivery_id: int) -> bool:
        """Return whether a delivery has to wait for the end of the pause."""
        return self.is_paused and (self.is_away or delivery_id <= self.held_up_to)


def destination_state(engine: Engine, destination: str) -> DestinationState:
    """Return the state of a destination, which is a fresh one if nothing was recorded."""
    with readers(engine).connect() as c:
        row = c.execute(select(destinations).where(destinations.c.destination == destination)).first()
    return DestinationState(**row._mapping) if row else DestinationState(destination=destination)


def failures_in_a_row(c: Connection) -> dict[str, int]:
    """Return, by destination, the failures since it took an artefact, where there are any."""
    query = select(destinations.c.destination, destinations.c.failures).where(destinations.c.failures > 0)
    return dict(c.execute(query).tuples().all())


def record_failure(
    c: Connection, state: DestinationState, error: OsteonError, pause_until: datetime
) -> DestinationState:
    """Record one more failure in a row, and a pause where one is due; return the new state.

    Parameters
    ----------
    pause_until
        End of the pause, if there is one.
    """
    failures, is_away = state.failures + 1, isinstance(error, Away)
    columns: dict[str, Any] = {
        "failures": failures,
        "is_away": is_away,
        "code": error.code,
        "reason": error.reason,
    }
    if is_away or pauses_at(failures):
        newest = c.execute(select(func.max(deliveries.c.id))).scalar() or 0
        columns |= {"pauses": state.pauses + 1, "paused_until": pause_until, "held_up_to": newest}
    return _written(c, replace(state, **columns))


def record_recovery(c: Connection, state: DestinationState) -> DestinationState:
    """Record that the destination took an artefact after failures; return the new state."""
    fresh = DestinationState(destination=state.destination, recoveries=state.recoveries + 1)
    return _written(c, fresh)


def end_pause(c: Connection, destination: str) -> None:
    """Forget the failures of a destination and end its pause, for a person."""
    fresh = asdict(DestinationState(destination=destination))
    del fresh["destination"], fresh["recoveries"]
    c.execute(update(destinations).where(destinations.c.destination == destination).values(**fresh))
    wake_after_commit(c, destinations)


def _written(c: Connection, state: DestinationState) -> DestinationState:
    upsert(c, destinations, asdict(state), key=("destination",), on_conflict=asdict(state))
    return state
