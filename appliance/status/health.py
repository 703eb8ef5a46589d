"""How the appliance is, as values: the page, /health/ready and /metrics say the same because they ask here.

A condition knows what it depends on, so that a database that cannot be read is one problem and not ten.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Engine, Row, Select, Table, func, select
from sqlalchemy.exc import DBAPIError

from appliance.config import Configuration
from appliance.domain.job import State
from appliance.storage.tables import analyses, deliveries, roles

ROLES = ("receive", "analyse", "deliver", "status")
"""In the order in which a radiograph meets them."""

BEAT_WITHIN_S = 15.0
"""A role beats every 3 s and after each radiograph; one that was silent for this long is missing."""

LATE_S = 300.0
"""A radiograph or an answer that waits longer than this is worth a look."""

MEGABYTE = 1_000_000
"""As in `receive.reserve_mb`."""

_PERSON_NAME = re.compile(r"[^\s'\"(),;|]*\^[^'\"(),;|]*")
_UID = re.compile(r"\b\d+(?:\.\d+){4,}\b")


class Severity(StrEnum):
    """What a condition that is not met means: `ERROR`, radiographs are not answered; `WARNING`, some are not."""

    WARNING = "warning"
    ERROR = "error"


class RoleState(StrEnum):
    """How a process is: `STOPPED` is in order, `MISSING` is not."""

    ALIVE = "alive"
    MISSING = "missing"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleStatus:
    """One of the four processes; `since` is None when it never ran."""

    role: str
    state: RoleState
    since: datetime | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """The jobs of one queue.

    Attributes
    ----------
    counts
        Jobs per state; a state without jobs is absent.
    oldest
        When the oldest job that is not finished was made; parked ones do not count.
    last_finished
        When the newest job that is done was finished.
    is_known
        False of a destination that has answers but stands no more in the configuration: nobody delivers them.
    """

    name: str
    counts: dict[str, int]
    oldest: datetime | None = None
    last_finished: datetime | None = None
    is_known: bool = True

    @property
    def waiting(self) -> int:
        """Jobs that are due, backing off or in hand."""
        return self.counts.get(State.QUEUED, 0) + self.counts.get(State.LEASED, 0)

    @property
    def parked(self) -> int:
        """Jobs that wait for a person."""
        return self.counts.get(State.PARKED, 0)

    def age_s(self, at: datetime) -> float:
        """Seconds that the oldest job has waited by `at`; 0 if none waits."""
        return max(0.0, (at - self.oldest).total_seconds()) if self.oldest else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was seen at one moment; everything else is concluded from it.

    Attributes
    ----------
    database_error
        Why the database could not be read; empty when it could.
    disk_free_bytes
        On the disk of the spool; None when that could not be found out.
    """

    at: datetime
    database_error: str = ""
    roles: tuple[RoleStatus, ...] = ()
    analyses: Backlog = Backlog(name="analyses", counts={})
    destinations: tuple[Backlog, ...] = ()
    disk_free_bytes: int | None = None
    disk_reserve_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One thing that has to be so.

    Attributes
    ----------
    sentence
        For a person: what is, and if it is not met what to do.
    depends_on
        Names of the conditions without which nothing can be said about this one.
    """

    name: str
    ok: bool
    severity: Severity
    sentence: str
    depends_on: tuple[str, ...] = ()


def observe(engine: Engine, config: Configuration, at: datetime) -> Facts:
    """Look at the database and the disk; never raises for either of them."""
    free, reserve = _disk_free_bytes(config.state_dir), config.receive.reserve_mb * MEGABYTE
    try:
        with engine.connect() as c:
            beats = {row.role: row for row in c.execute(select(roles))}
            jobs = c.execute(_backlog_of(analyses)).all()
            sent = c.execute(_backlog_of(deliveries, deliveries.c.destination)).all()
    except DBAPIError as error:
        return Facts(
            at=at,
            database_error=type(error.orig).__name__,
            roles=tuple(_role(name, None, at) for name in ROLES),
            disk_free_bytes=free,
            disk_reserve_bytes=reserve,
        )
    configured = [d.name for d in config.destinations]
    names = dict.fromkeys(configured + sorted({row.destination for row in sent}))
    return Facts(
        at=at,
        roles=tuple(_role(name, beats.get(name), at) for name in ROLES),
        analyses=_backlog("analyses", jobs),
        destinations=tuple(
            _backlog(name, [row for row in sent if row.destination == name], name in configured) for name in names
        ),
        disk_free_bytes=free,
        disk_reserve_bytes=reserve,
    )


def conditions(facts: Facts) -> tuple[Condition, ...]:
    """What has to be so, gravest first; a function of `facts` alone."""
    readable = not facts.database_error
    found = [
        Condition(
            name="database",
            ok=readable,
            severity=Severity.ERROR,
            sentence="the database can be read"
            if readable
            else f"the database cannot be read ({facts.database_error}): see the disk and `journalctl -u osteon-*`",
        ),
        _disk(facts),
    ]
    found += [_role_condition(r, readable) for r in facts.roles]
    found.append(_flow(facts.analyses, facts.at, readable, "radiograph", "analysis", "role.analyse", "queue.analyses"))
    found += [
        _flow(d, facts.at, readable, "answer", "delivery", "role.deliver", f"destination.{d.name}")
        for d in facts.destinations
    ]
    return tuple(found)


def is_ready(found: Iterable[Condition]) -> bool:
    """Whether radiographs are received, analysed and delivered: no error is left."""
    return all(c.ok for c in found if c.severity is Severity.ERROR)


def problems(found: tuple[Condition, ...]) -> tuple[Condition, ...]:
    """The conditions that are not met, without those that only follow from another."""
    broken = {c.name for c in found if not c.ok}
    return tuple(c for c in found if not c.ok and broken.isdisjoint(c.depends_on))


def headline(found: tuple[Condition, ...]) -> str:
    """The whole of it in one line."""
    if not problems(found):
        return "Osteon works: radiographs are received, read and answered."
    if is_ready(found):
        return "Osteon works, and something needs attention."
    return "Osteon is not working."


def duration(seconds: float) -> str:
    """`seconds` as a person says them: ``8 s``, ``4 min``, ``2 h 5 min``, ``3 d 4 h``."""
    s = max(0, round(seconds))
    if s < 90:
        return f"{s} s"
    minutes, hours = round(s / 60), s // 3600
    if minutes < 90:
        return f"{minutes} min"
    if hours < 48:
        return f"{hours} h {s % 3600 // 60} min"
    return f"{hours // 24} d {hours % 24} h"


def without_identity(text: str) -> str:
    """`text` without UIDs and without names in the form of DICOM and HL7 (``Doe^Jane``).

    Our own sentences never carry them; a peer's words, quoted in a refusal, can.
    """
    return _UID.sub("[UID]", _PERSON_NAME.sub("[name]", text))


def _backlog_of(table: Table, *groups: ColumnElement[Any]) -> Select[Any]:
    """Query: jobs per state and per `groups`, the oldest of each and the newest end."""
    return select(
        table.c.state,
        func.count().label("jobs"),
        func.min(table.c.created_at).label("oldest"),
        func.max(table.c.finished_at).label("finished"),
        *groups,
    ).group_by(table.c.state, *groups)


def _backlog(name: str, rows: Iterable[Row[Any]], is_known: bool = True) -> Backlog:
    by_state = {row.state: row for row in rows}
    open_since = [by_state[s].oldest for s in (State.QUEUED, State.LEASED) if s in by_state]
    done = by_state.get(State.DONE)
    return Backlog(
        name=name,
        counts={state: row.jobs for state, row in by_state.items()},
        oldest=min(open_since, default=None),
        last_finished=done.finished if done else None,
        is_known=is_known,
    )


def _role(name: str, row: Row[Any] | None, at: datetime) -> RoleStatus:
    if row is None:
        return RoleStatus(role=name, state=RoleState.MISSING, since=None, detail="")
    if row.detail == "stopped":
        return RoleStatus(role=name, state=RoleState.STOPPED, since=row.beat_at, detail="stopped in order")
    if (at - row.beat_at).total_seconds() > BEAT_WITHIN_S:
        return RoleStatus(role=name, state=RoleState.MISSING, since=row.beat_at, detail=f"last: {row.detail}")
    return RoleStatus(role=name, state=RoleState.ALIVE, since=row.started_at, detail=row.detail)


def _role_condition(r: RoleStatus, readable: bool) -> Condition:
    severity = Severity.WARNING if r.role == "status" else Severity.ERROR
    ago = "" if r.since is None else f" since {r.since:%Y-%m-%d %H:%M:%S} UTC"
    unit = f"osteon-{r.role}"
    if not readable:
        sentence = f"{r.role}: unknown while the database cannot be read"
    elif r.state is RoleState.ALIVE:
        sentence = f"{r.role} is alive"
    elif r.state is RoleState.STOPPED:
        sentence = f"{r.role} is stopped{ago}: `systemctl start {unit}`"
    else:
        sentence = f"{r.role} has not been heard{ago or ' yet'}: `systemctl status {unit}` says why"
    ok = readable and r.state is RoleState.ALIVE
    return Condition(name=f"role.{r.role}", ok=ok, severity=severity, sentence=sentence, depends_on=("database",))


def _disk(facts: Facts) -> Condition:
    free, reserve = facts.disk_free_bytes, facts.disk_reserve_bytes
    if free is None:
        ok, sentence = False, "the disk of the spool cannot be looked at: check state_dir"
    elif free < reserve:
        ok = False
        sentence = (
            f"the disk has {free // MEGABYTE} MB free, less than the reserve of {reserve // MEGABYTE} MB: "
            "radiographs are refused until there is room"
        )
    else:
        ok = True
        sentence = f"the disk has {free // MEGABYTE} MB free, {reserve // MEGABYTE} MB are in reserve"
    return Condition(name="disk", ok=ok, severity=Severity.ERROR, sentence=sentence)


def _flow(queue: Backlog, at: datetime, readable: bool, noun: str, command: str, role: str, name: str) -> Condition:
    """One queue: nothing parked, nothing late."""
    wrong = []
    if queue.waiting and not queue.is_known:
        wrong.append(f"{_count(queue.waiting, noun)} waiting for a peer that the configuration does not name any more")
    if queue.parked:
        wrong.append(f"{_count(queue.parked, noun)} parked: `osteon queue show {command}:ID` says why")
    if queue.age_s(at) > LATE_S:
        wrong.append(f"{_count(queue.waiting, noun)} waiting, the oldest for {duration(queue.age_s(at))}")
    label = "analyses" if command == "analysis" else queue.name
    if not readable:
        sentence = f"{label}: unknown while the database cannot be read"
    elif wrong:
        sentence = f"{label}: " + "; ".join(wrong)
    else:
        sentence = f"{label}: nothing is parked or late"
    return Condition(
        name=name,
        ok=readable and not wrong,
        severity=Severity.WARNING,
        sentence=sentence,
        # what is parked needs a person whether the role runs or not; what is late follows from a role that does not
        depends_on=("database",) if queue.parked or not queue.is_known else ("database", role),
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _disk_free_bytes(folder: Path) -> int | None:
    """Free bytes where `folder` is, or will be made."""
    for place in (folder, *folder.parents):
        try:
            return shutil.disk_usage(place).free
        except FileNotFoundError:
            continue
        except OSError:
            return None
    return None
