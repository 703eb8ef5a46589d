"""The threads of the alarms, in the role `status`: one looks at the conditions, and one for each channel sends.

A channel that hangs holds up neither the page nor another channel. Events and progress are in the database: a restart
sends none twice, and a crash loses none. A crash between a message and its record repeats it with the same identifier
and the same events.
While the database takes nothing, events are sent from memory.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from appliance.clock import now
from appliance.config import Configuration
from appliance.domain.alarm import AlarmEvent, AlarmState, ChannelState, NumberedEvent, Severity
from appliance.errors import Refused, Transient
from appliance.status.attention import attention
from appliance.status.facts import KEEP_SITES_S, observe, read_sites
from appliance.status.health import UNSTEADY, conditions
from appliance.status.kept import Kept
from appliance.status.records import DestinationError, destination_errors
from appliance.storage.alarms import channel_state, events_after, read_alarm_states, record_alarms, record_channel
from appliance.storage.database import readers

from .channels import AlarmChannel
from .message import message_of
from .rules import advance

LOOK_S = 10.0
"""Interval at which the conditions are looked at, and first pause of a channel that failed."""

LONGEST_PAUSE_S = 900.0
"""Longest pause between two attempts of a channel."""

TOGETHER = 50
"""Most events of one message."""

REFUSALS = 8
"""Attempts, over half an hour, after which an event alone that the channel refuses is given up."""

UNSAVED = 200
"""Most events that wait in memory for a channel while the database takes nothing."""

log = logging.getLogger(__name__)


class Messenger:
    """Sends the events of this machine by one channel."""

    def __init__(self, engine: Engine, channel: AlarmChannel) -> None:
        self._engine, self._channel = engine, channel
        self._unsaved: deque[AlarmEvent] = deque(maxlen=UNSAVED)
        self._state: ChannelState | None = None
        self._is_saved = True
        self._next_try = 0.0
        self._most, self._refusals = TOGETHER, 0
        self.rung = threading.Event()

    def take(self, events: Iterable[AlarmEvent]) -> None:
        """Send events that the database did not take."""
        self._unsaved.extend(events)

    def step(self) -> None:
        """Send the events that are due, unless the channel failed a moment ago."""
        if time.monotonic() < self._next_try:
            return
        self._send_unsaved()
        if self._state is None:
            self._state = channel_state(self._engine, self._channel.channel)
        elif not self._is_saved:
            self._record(self._state)
        found = events_after(self._engine, self._state.sent_up_to, self._most)
        found = [one for one in found if one.number <= self._state.sending_up_to] or found
        if found:
            self._begin(found[-1].number)
            if self._send(found):
                self._record(replace(self._state, sent_up_to=found[-1].number))

    def _begin(self, last: int) -> None:
        """Keep which events are sent together, before they are; a database that takes nothing holds up no message."""
        assert self._state is not None
        with contextlib.suppress(SQLAlchemyError):
            if last != self._state.sending_up_to:
                self._record(replace(self._state, sending_up_to=last))

    def _send_unsaved(self) -> None:
        waiting = [NumberedEvent(number=0, event=event) for event in self._unsaved][: self._most]
        if waiting and self._send(waiting):
            for _ in waiting:
                self._unsaved.popleft()

    def _send(self, found: Sequence[NumberedEvent]) -> bool:
        """Send those events that are grave enough; return whether they are done with."""
        told = [one for one in found if self._channel.least in (one.event.severity, Severity.WARNING)]
        if not told:
            return True
        try:
            missed = self._channel.send(message_of(told, socket.gethostname(), now()))
        except Transient as error:
            self._fail(error.reason)
            return False
        except Exception as error:  # noqa: BLE001  # the message is at fault, and holds up none that comes after it
            self._fail(error.reason if isinstance(error, Refused) else f"it cannot be written: {type(error).__name__}")
            return self._is_given_up(found, told)
        self._most, self._refusals = TOGETHER, 0
        self._note(missed, least=UNSTEADY)  # the refusal of a recipient seldom mends itself: it is shown at once
        return True

    def _is_given_up(self, found: Sequence[NumberedEvent], told: Sequence[NumberedEvent]) -> bool:
        """Return whether an event alone was refused too often; of several, send the first half next."""
        if len(told) > 1:
            self._most = len(found) // 2
            return False
        self._refusals += 1
        if self._refusals < REFUSALS:
            return False
        log.error("an alarm by %s is given up: %s", self._channel.channel, told[0].event.condition)
        self._most, self._refusals = TOGETHER, 0
        return True

    def _fail(self, reason: str) -> None:
        failures = self._note(reason)
        self._next_try = time.monotonic() + min(LOOK_S * 2**failures, LONGEST_PAUSE_S)
        log.warning("an alarm by %s was not sent, and is tried again: %s", self._channel.channel, reason)
        if self._state:
            self._record(self._state)

    def _note(self, reason: str, least: int = 1) -> int:
        """Keep the outcome of an attempt, without a reason a success, in memory; return the failures in a row."""
        at = now()
        before = self._state or ChannelState(channel=self._channel.channel)
        failures = max(least, before.failures + 1) if reason else 0
        since = (before.failing_since or at) if reason else None
        after = replace(before, failures=failures, reason=reason, failing_since=since, tried_at=at if reason else None)
        if self._state:
            self._state, self._is_saved = after, False
        return failures

    def _record(self, state: ChannelState) -> None:
        """Keep the state in memory first: a database that takes nothing does not repeat a message."""
        self._state, self._is_saved = state, False
        record_channel(self._engine, state)
        self._is_saved = True


class AlarmWatch:
    """Looks at the conditions, and records the events that follow."""

    def __init__(self, engine: Engine, config: Configuration, channels: Sequence[AlarmChannel]) -> None:
        self._engine, self._config = engine, config
        self._states: dict[str, AlarmState] = {}
        self._is_read, self._is_saved = False, True
        self._sites = Kept(read_sites, KEEP_SITES_S)
        self._stop = threading.Event()
        self._rung = threading.Event()
        self.messengers = [Messenger(engine, channel) for channel in channels]

    def start(self) -> None:
        """Start the threads; there are none without a channel."""
        loops = [(self.step, self._rung), *((one.step, one.rung) for one in self.messengers)]
        for loop in loops if self.messengers else ():
            threading.Thread(target=self._run, args=loop, name="alarms", daemon=True).start()

    def close(self) -> None:
        """End the threads after their current step; one that waits for a server ends with the process."""
        self._stop.set()
        for rung in (self._rung, *(one.rung for one in self.messengers)):
            rung.set()

    def _run(self, step: Callable[[], None], rung: threading.Event) -> None:
        while not self._stop.is_set():
            rung.clear()
            try:
                step()
            except Exception as error:  # noqa: BLE001  # an alarm that fails ends neither the page nor the next alarm
                log.error("alarms cannot be worked on now: %s", type(error).__name__)
            rung.wait(LOOK_S)

    def step(self) -> None:
        """Look at the conditions once."""
        self._read_states()
        facts = observe(readers(self._engine), self._config, now(), self._sites)
        found = conditions(facts)
        points = attention(facts, found, self._destination_errors())
        states, events = advance(self._states, found, points, facts.at, self._config.alarms)
        if states == self._states and self._is_saved:
            return
        self._states = states
        try:
            record_alarms(self._engine, states, events)
            self._is_saved = True
        except SQLAlchemyError:
            self._is_saved = False
            for messenger in self.messengers:
                messenger.take(events)
        for messenger in self.messengers:
            messenger.rung.set()

    def _read_states(self) -> None:
        """Read the states of the process before, once the database can be read."""
        if self._is_read:
            return
        try:
            self._states = read_alarm_states(self._engine) | self._states
            self._is_read = True
        except (SQLAlchemyError, ValueError):
            log.warning("the alarms before this start cannot be read now")

    def _destination_errors(self) -> Mapping[str, DestinationError]:
        try:
            with readers(self._engine).connect() as c:
                return destination_errors(c)
        except (SQLAlchemyError, ValueError):  # the conditions report it
            return {}
