"""The life of a job as one table, shared by analyses, studies and deliveries."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final


class State(StrEnum):
    """State of a job. A `PARKED` job waits for a person; a person may also retry a job that is done or not analysed."""

    QUEUED = "queued"
    LEASED = "leased"
    DONE = "done"
    NOT_ANALYSED = "not_analysed"
    PARKED = "parked"
    DROPPED = "dropped"


INITIAL: Final = State.QUEUED
"""State of every new job."""

ENDED: Final = frozenset({State.DONE, State.NOT_ANALYSED, State.DROPPED})
"""States of a job that nothing remains to be done for, unless a person retries it."""


class Event(StrEnum):
    """Event that changes the state of a job."""

    LEASE = "lease"
    FINISH = "finish"
    DECLINE = "decline"
    """The radiograph is not for us."""
    FAIL = "fail"
    """The attempt failed, or was not made; the job is tried again."""
    EXPIRE = "expire"
    """The lease ran out."""
    GIVE_UP = "give_up"
    """The attempt failed for good; a person has to look."""
    CONFIRM = "confirm"
    """A PACS vouches for a delivery on an association of its own."""
    REFUTE = "refute"
    """A PACS reports, on an association of its own, that it lacks a delivery, which is sent again."""
    PARK = "park"
    """The job cannot succeed without a person; no attempt was made just now."""
    NEW_RESULT = "new_result"
    """A radiograph of a study has a new result: the study is reported on again. Only studies have this event."""
    RETRY = "retry"
    REINSTATE = "reinstate"
    """A person wants a withdrawal after all, which a person had dropped. Only withdrawals have this event."""
    DROP = "drop"


TABLE: Final[dict[tuple[State, Event], State]] = {
    (State.QUEUED, Event.LEASE): State.LEASED,
    (State.QUEUED, Event.CONFIRM): State.DONE,
    (State.QUEUED, Event.REFUTE): State.QUEUED,
    (State.QUEUED, Event.PARK): State.PARKED,
    (State.QUEUED, Event.NEW_RESULT): State.QUEUED,
    (State.QUEUED, Event.RETRY): State.QUEUED,  # at once instead of after its back-off
    (State.QUEUED, Event.DROP): State.DROPPED,
    (State.LEASED, Event.FINISH): State.DONE,
    (State.LEASED, Event.DECLINE): State.NOT_ANALYSED,
    (State.LEASED, Event.FAIL): State.QUEUED,
    (State.LEASED, Event.EXPIRE): State.QUEUED,
    (State.LEASED, Event.GIVE_UP): State.PARKED,
    # the holder of a lease on which one of the next five events happens finds the lease lost
    (State.LEASED, Event.CONFIRM): State.DONE,
    (State.LEASED, Event.REFUTE): State.QUEUED,
    (State.LEASED, Event.PARK): State.PARKED,
    (State.LEASED, Event.NEW_RESULT): State.QUEUED,
    (State.LEASED, Event.DROP): State.DROPPED,
    (State.PARKED, Event.NEW_RESULT): State.QUEUED,
    (State.PARKED, Event.RETRY): State.QUEUED,
    (State.PARKED, Event.DROP): State.DROPPED,
    (State.NOT_ANALYSED, Event.RETRY): State.QUEUED,
    (State.NOT_ANALYSED, Event.DROP): State.DROPPED,
    (State.DONE, Event.NEW_RESULT): State.QUEUED,
    (State.DONE, Event.RETRY): State.QUEUED,
    (State.DROPPED, Event.REINSTATE): State.QUEUED,
    (State.DROPPED, Event.NEW_RESULT): State.QUEUED,  # only a study: a corrected radiograph is reported on
}
"""The transitions that exist; any other pair is a bug and raises `ImpossibleTransition`."""


def states_that_can(event: Event) -> list[State]:
    """Return the states in which `event` can happen."""
    return [state for state, possible in TABLE if possible is event]


class ImpossibleTransition(Exception):
    """An event that cannot happen in the state of the job."""


def next_state(state: State, event: Event) -> State:
    """Return the state after `event`.

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
        """Return the time of the next attempt after that many failed `attempts`.

        `draw` in [0, 1) replaces the random number.
        """
        ceiling = min(self.longest_s, self.first_s * 2 ** min(attempts - 1, 30))
        return now + timedelta(seconds=ceiling * (0.5 + 0.5 * (random.random() if draw is None else draw)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A job that `owner` holds until `until`; after that anyone may lease it."""

    job_id: int
    owner: str
    until: datetime
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settling:
    """Time that a study waits for further radiographs before it is reported on.

    Attributes
    ----------
    settle_s
        Quiet time after the last result.
    longest_s
        Longest wait after the first result that is not reported on yet.
    """

    settle_s: float = 0.0
    longest_s: float = 900.0

    def due(self, last_result_at: datetime, first_result_at: datetime) -> datetime:
        """Return the time at which the study is due."""
        quiet = last_result_at + timedelta(seconds=self.settle_s)
        return min(quiet, first_result_at + timedelta(seconds=self.longest_s))
