"""A message of one channel: events in words for people, and as JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from appliance.domain.alarm import AlarmEvent, EventKind, NumberedEvent, Severity
from appliance.domain.reason import ReasonCode
from appliance.errors import Refused, Transient

TITLES = {
    EventKind.BROKEN: "",
    EventKind.LASTING: "still ",
    EventKind.RECOVERED: "recovered: ",
    EventKind.TEST: "test: ",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Events that are sent together.

    Attributes
    ----------
    identifier
        The same for a repeat of the same message, after a crash between the sending and its record.
    host
        Name of this machine.
    """

    identifier: str
    host: str
    at: datetime
    events: tuple[AlarmEvent, ...]

    @property
    def subject(self) -> str:
        """The gravest event in a line."""
        first, *more = sorted(self.events, key=_gravity)
        others = f", and {len(more)} more" if more else ""
        return f"Osteon on {self.host}: {title(first)}{others}"

    @property
    def text(self) -> str:
        """All events for people."""
        parts = [_paragraph(event) for event in sorted(self.events, key=_gravity)]
        return "\n\n".join([*parts, f"Osteon on {self.host}, {_local(self.at)}. `osteon status` shows all conditions."])

    def as_json(self) -> dict[str, Any]:
        """Return the message for programs."""
        events = [{**asdict(e), "at": e.at.isoformat(), "since": e.since.isoformat()} for e in self.events]
        return {
            "source": "osteon",
            "id": self.identifier,
            "host": self.host,
            "at": self.at.isoformat(),
            "subject": self.subject,
            "text": self.text,
            "events": events,
        }


def message_of(found: Sequence[NumberedEvent], host: str, at: datetime) -> Message:
    """Return the message of events, of which there is one at least."""
    first, last = found[0], found[-1]
    identifier = f"{first.number}-{last.number}-{int(first.event.at.timestamp())}@{host}"
    return Message(identifier=identifier, host=host, at=at, events=tuple(one.event for one in found))


def sample_message(host: str, at: datetime) -> Message:
    """Return a message that a person asked for, to see that it arrives."""
    event = AlarmEvent(
        at=at,
        kind=EventKind.TEST,
        condition="alarm.test",
        severity=Severity.WARNING,
        since=at,
        sentence="This is a test of the alarms of Osteon. Nothing is broken.",
    )
    return Message(identifier=f"test-{int(at.timestamp())}@{host}", host=host, at=at, events=(event,))


def title(event: AlarmEvent) -> str:
    """Return severity, kind and name of an event."""
    if event.kind in {EventKind.RECOVERED, EventKind.TEST}:
        return f"{TITLES[event.kind]}{event.condition}"
    return f"{TITLES[event.kind]}{event.severity}: {event.condition}"


def _paragraph(event: AlarmEvent) -> str:
    lines = [f"{title(event)}, since {_local(event.since)}", event.sentence]
    lines += [f"Reason: {event.reason}"] if event.reason else []
    lines += [f"Next: {event.command}"] if event.command else []
    return "\n".join(lines)


def _gravity(event: AlarmEvent) -> tuple[bool, bool]:
    return event.kind is EventKind.RECOVERED, event.severity is not Severity.ERROR


def _local(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M %Z}"


def not_sent(reason: str) -> Transient:
    """Return the error of a channel that did not take a message."""
    return Transient(ReasonCode.ALARM_NOT_SENT, reason)


def not_taken(reason: str) -> Refused:
    """Return the error of a channel that works, and did not take this message."""
    return Refused(ReasonCode.ALARM_NOT_SENT, reason)
