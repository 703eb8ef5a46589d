"""The life of a job as one table, for radiographs to analyse and answers to deliver alike."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class State(StrEnum):
    """Where a job is. `PARKED` waits for a person, who may also take up again what is done or was not analysed."""

    QUEUED = "queued"
    LEASED = "leased"
    DONE = "done"
    NOT_ANALYSED = "not_analysed"
    PARKED = "parked"
    DROPPED = "dropped"


class Event(StrEnum):
    """What can happen to a job."""

    LEASE = "lease"
    FINISH = "finish"
    DECLINE = "decline"
    FAIL = "fail"
    EXPIRE = "expire"
    GIVE_UP = "give_up"
    CONFIRM = "confirm"
    RETRY = "retry"
    DROP = "drop"


TABLE: dict[tuple[State, Event], State] = {
    (State.QUEUED, Event.LEASE): State.LEASED,
    (State.QUEUED, Event.DROP): State.DROPPED,
    (State.QUEUED, Event.CONFIRM): State.DONE,  # somebody else heard that it is done
    (State.LEASED, Event.CONFIRM): State.DONE,  # likewise; its holder finds the lease lost
    (State.QUEUED, Event.RETRY): State.QUEUED,  # at once instead of after its back-off
    (State.LEASED, Event.FINISH): State.DONE,
    (State.LEASED, Event.DECLINE): State.NOT_ANALYSED,
    (State.LEASED, Event.FAIL): State.QUEUED,
    (State.LEASED, Event.EXPIRE): State.QUEUED,
    (State.LEASED, Event.GIVE_UP): State.PARKED,
    (State.LEASED, Event.DROP): State.DROPPED,  # its holder finds the lease lost
    (State.PARKED, Event.RETRY): State.QUEUED,
    (State.PARKED, Event.DROP): State.DROPPED,
    (State.NOT_ANALYSED, Event.RETRY): State.QUEUED,
    (State.NOT_ANALYSED, Event.DROP): State.DROPPED,
    (State.DONE, Event.RETRY): State.QUEUED,
}
"""The transitions that exist; any other pair is a bug and raises `ImpossibleTransition`."""


def states_that_can(event: Event) -> list[State]:
    """The states in which `event` can happen."""
    return [state for state, possible in TABLE if possible is event]


class ImpossibleTransition(Exception):
    """The event cannot happen in that state."""


def next_state(state: State, event: Event) -> State:
    """State after `event`.

    Raises
    ------
    ImpossibleTransition
        If the table has no such pair.
    """
    try:
        return TABLE[state, event]
    except KeyError:
        raise ImpossibleTransition(f"a job that is {state} cannot {event}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential back-off with full jitter (Brooker, "Exponential Backoff And Jitter", AWS 2015)."""

    first_s: float = 2.0
    longest_s: float = 600.0

    def after(self, attempts: int, now: datetime, *, draw: float | None = None) -> datetime:
        """When to try again after that many failed `attempts`; `draw` in [0, 1) replaces the random number."""
        ceiling = min(self.longest_s, self.first_s * 2 ** min(attempts - 1, 30))
        return now + timedelta(seconds=ceiling * (0.5 + 0.5 * (random.random() if draw is None else draw)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A job in somebody's hands until `until`; after that anybody may take it."""

    job_id: int
    owner: str
    until: datetime
    attempts: int
