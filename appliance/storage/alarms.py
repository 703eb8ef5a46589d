"""Alarms in the database: states, events and the progress of each channel, so that a restart repeats and loses none.

Machines that share a database have states and events of their own, by host name, as heartbeats do. An SQLite database
is of one machine: under a new name it keeps them.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, Engine, Table, delete, func, insert, select, update

from appliance.clock import now
from appliance.domain.alarm import AlarmEvent, AlarmState, Channel, ChannelState, NumberedEvent

from .database import readers, upsert
from .tables import alarm_channels, alarm_events, alarms

KEPT = timedelta(days=30)
"""Age at which an event is removed, sent or not: nobody acts on it any more."""


def read_alarm_states(engine: Engine) -> dict[str, AlarmState]:
    """Return the states of this machine by condition."""
    _take_over(engine)
    columns = [column for column in alarms.c if column.name != "host"]
    with readers(engine).connect() as c:
        rows = c.execute(select(*columns).where(_is_own(alarms))).all()
    return {row.condition: AlarmState(**row._mapping) for row in rows}


def record_alarms(engine: Engine, states: Mapping[str, AlarmState], events: Iterable[AlarmEvent]) -> None:
    """Replace the states of this machine and add events, in one transaction."""
    host = {"host": socket.gethostname()}
    with engine.begin() as c:
        c.execute(delete(alarms).where(_is_own(alarms)))
        for state in states.values():
            c.execute(insert(alarms).values(**host, **asdict(state)))
        for event in events:
            c.execute(insert(alarm_events).values(**host, **asdict(event)))
        c.execute(delete(alarm_events).where(_is_own(alarm_events), alarm_events.c.at < now() - KEPT))


def channel_state(engine: Engine, channel: Channel) -> ChannelState:
    """Return the state of a channel; a new one begins after the newest event, so that it tells no old news."""
    _take_over(engine)
    with readers(engine).connect() as c:
        known = channel_states(c)
        newest = c.execute(select(func.max(alarm_events.c.id)).where(_is_own(alarm_events))).scalar() or 0
    fresh = ChannelState(channel=channel, sent_up_to=newest)
    state = {one.channel: one for one in known}.get(channel)
    return state or record_channel(engine, fresh)


def channel_states(c: Connection) -> list[ChannelState]:
    """Return the states of the channels of this machine."""
    columns = [column for column in alarm_channels.c if column.name != "host"]
    rows = c.execute(select(*columns).where(_is_own(alarm_channels)).order_by(alarm_channels.c.channel))
    return [ChannelState(**row._mapping) for row in rows]


def record_channel(engine: Engine, state: ChannelState) -> ChannelState:
    """Write the state of a channel; return it."""
    row = {"host": socket.gethostname(), **asdict(state)}
    with engine.begin() as c:
        upsert(c, alarm_channels, row, key=("host", "channel"), on_conflict=row)
    return state


def events_after(engine: Engine, number: int, most: int) -> list[NumberedEvent]:
    """Return up to `most` events of this machine after that number, oldest first."""
    query = select(alarm_events).where(_is_own(alarm_events), alarm_events.c.id > number)
    with readers(engine).connect() as c:
        rows = c.execute(query.order_by(alarm_events.c.id).limit(most)).mappings().all()
    kept = [{key: row[key] for key in row if key not in ("id", "host")} for row in rows]
    return [NumberedEvent(number=row["id"], event=AlarmEvent(**one)) for row, one in zip(rows, kept, strict=True)]


def _take_over(engine: Engine) -> None:
    """Give this machine what an SQLite database holds under its former name; the state under its own name is newer."""
    if engine.dialect.name != "sqlite":
        return
    with engine.begin() as c:
        for table in (alarm_events, alarms, alarm_channels):
            if table is alarm_events or not c.execute(select(table.c.host).where(_is_own(table))).first():
                c.execute(update(table).where(~_is_own(table)).values(host=socket.gethostname()))


def _is_own(table: Table) -> ColumnElement[bool]:
    return table.c.host == socket.gethostname()
