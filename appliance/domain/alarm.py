"""An alarm: the state of a broken condition, and the events that are told of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Severity(StrEnum):
    """Meaning of a condition that is not met.

    `ERROR`: radiographs are not received, not analysed, or no destination or one for an hour takes the answers.
    `WARNING`: all else that a person should look at. docs/operate.md has the table of all conditions.
    """

    WARNING = "warning"
    ERROR = "error"


class EventKind(StrEnum):
    """Kind of a message about a condition."""

    BROKEN = "broken"
    LASTING = "lasting"
    RECOVERED = "recovered"
    TEST = "test"


class Channel(StrEnum):
    """Way of a message to people or programs."""

    EMAIL = "email"
    WEBHOOK = "webhook"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmState:
    """A condition that is broken, or was a moment ago.

    Attributes
    ----------
    since
        Time at which it broke.
    met_since
        Time at which it was met again; None while it is broken.
    told, told_at
        Severity and time of its newest message; None before it.
    gravest
        The gravest severity that was told: a channel that heard of it hears of the recovery.
    """

    condition: str
    since: datetime
    met_since: datetime | None = None
    told: Severity | None = None
    told_at: datetime | None = None
    gravest: Severity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmEvent:
    """One message about a condition, without identity.

    Attributes
    ----------
    severity
        For a recovery, that of the gravest message.
    since
        Time at which the condition broke; for a recovery, was met.
    reason
        The code of the newest failure behind it in our own words; empty if the sentence says it all.
    command
        The next command; empty if there is none.
    """

    at: datetime
    kind: EventKind
    condition: str
    severity: Severity
    since: datetime
    sentence: str
    reason: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedEvent:
    """An event with its number in the database; 0 for one that the database did not take."""

    number: int
    event: AlarmEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelState:
    """The state of a channel.

    Attributes
    ----------
    sent_up_to
        Number of the newest event that was sent, was too mild to be sent, or was given up.
    sending_up_to
        Number of the newest event of the message on its way: its repeat has the same events and identifier.
    failures, reason
        Failures in a row, and the newest reason; 0 and empty after a success.
    failing_since, tried_at
        Times of the first of them and of the newest attempt; None without a failure.
    """

    channel: Channel
    sent_up_to: int = 0
    sending_up_to: int = 0
    failures: int = 0
    reason: str = ""
    failing_since: datetime | None = None
    tried_at: datetime | None = None
