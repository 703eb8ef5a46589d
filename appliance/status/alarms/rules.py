"""The rules of alarms: which condition is told when, as a function of its state and the time.

A condition is told once it was broken for the quiet time, at once if it becomes graver, again after the repeat
interval, and once it was met for the quiet time. A condition that flaps is told once, and its recovery once it rests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from appliance.config import Alarms
from appliance.domain.alarm import AlarmEvent, AlarmState, EventKind, Severity
from appliance.status.attention import Attention
from appliance.status.condition import Condition


def advance(
    states: Mapping[str, AlarmState],
    conditions: Iterable[Condition],
    points: Iterable[Attention],
    at: datetime,
    settings: Alarms,
) -> tuple[dict[str, AlarmState], list[AlarmEvent]]:
    """Return the states of the conditions that are or were broken, and the events that follow.

    Parameters
    ----------
    points
        The conditions that are not met and follow from no other. One that follows from another, or that waits for a
        start, keeps its state: it is neither known to be broken nor known to be met.
    """
    found = {c.name: c for c in conditions}
    broken = {point.name: point for point in points if not found[point.name].is_starting}
    readable = found["database"].ok
    after: dict[str, AlarmState] = {}
    events: list[AlarmEvent] = []
    for name in sorted({*states, *broken}):
        state = states.get(name)
        condition = found.get(name)
        is_met = condition.ok if condition else readable  # a hold that was lifted, a destination that was removed
        if point := broken.get(name):
            state, event = _while_broken(state, point, at, settings)
        elif is_met and state:
            state, event = _while_met(state, condition, at, settings)
        else:
            event = None
        if state:
            after[name] = state
        if event:
            events.append(event)
    return after, events


def _while_broken(
    state: AlarmState | None, point: Attention, at: datetime, settings: Alarms
) -> tuple[AlarmState, AlarmEvent | None]:
    state = replace(state, met_since=None) if state else AlarmState(condition=point.name, since=at)
    if not (kind := _due(state, point.severity, at, settings)):
        return state, None
    event = AlarmEvent(
        at=at,
        kind=kind,
        condition=point.name,
        severity=point.severity,
        since=state.since,
        sentence=point.sentence,
        reason=point.told,
        command=point.command,
    )
    gravest = Severity.ERROR if Severity.ERROR in (point.severity, state.gravest) else point.severity
    return replace(state, told=point.severity, told_at=at, gravest=gravest), event


def _due(state: AlarmState, severity: Severity, at: datetime, settings: Alarms) -> EventKind | None:
    """Return the kind of the event that is due for a broken condition; None if none is."""
    if state.told is None or state.told_at is None:
        return EventKind.BROKEN if _has_passed(state.since, settings.quiet_s, at) else None
    if severity is Severity.ERROR and state.told is not Severity.ERROR:
        return EventKind.BROKEN
    repeat_s = settings.repeat_h * 3600
    return EventKind.LASTING if repeat_s and _has_passed(state.told_at, repeat_s, at) else None


def _while_met(
    state: AlarmState, condition: Condition | None, at: datetime, settings: Alarms
) -> tuple[AlarmState | None, AlarmEvent | None]:
    met_since = state.met_since or at
    if not _has_passed(met_since, settings.quiet_s, at):
        return replace(state, met_since=met_since), None
    if state.gravest is None:
        return None, None
    event = AlarmEvent(
        at=at,
        kind=EventKind.RECOVERED,
        condition=state.condition,
        severity=state.gravest,
        since=met_since,
        sentence=condition.sentence if condition else "It is gone: a hold was lifted, or a destination removed",
    )
    return None, event


def _has_passed(since: datetime, seconds: float, at: datetime) -> bool:
    """Return whether so many seconds have passed; a clock that was set back holds up no message."""
    return not since <= at < since + timedelta(seconds=seconds)
