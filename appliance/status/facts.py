"""The facts about the appliance at one moment, as values."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from appliance.clock import Reading, is_kept, read_clocks
from appliance.config import MEGABYTE, Configuration
from appliance.domain.alarm import ChannelState
from appliance.domain.job import State
from appliance.domain.phase import Phase, SitePhase
from appliance.domain.roles import ROLES, ConfigurationState
from appliance.errors import Fault
from appliance.gpu import GpuFigures, read_figures
from appliance.network import not_after
from appliance.storage.alarms import channel_states
from appliance.storage.arrivals import Arrivals, read_arrivals
from appliance.storage.clock_steps import ClockStep, recent_step
from appliance.storage.database import check_schema, defect
from appliance.storage.destinations import failures_in_a_row
from appliance.storage.drift import DriftWindow, drift_of_sites
from appliance.storage.gate import Gate, Hold
from appliance.storage.heartbeats import Heartbeat, as_roles_see, heartbeats
from appliance.storage.monitoring import Agreement, agreement
from appliance.storage.overview import StateCount, count_analyses, count_deliveries, count_studies, last_successes
from appliance.storage.phases import site_phases

from .silence import LEARNED, LEAST_S, Silence, silence_of

BEAT_WITHIN_S = 15.0
"""A role sends a heartbeat every 3 s and after each radiograph; a role that is silent for this long is missing."""


RESTART_WITHIN_S = 60.0
"""systemd starts a role that failed again after 2 s; after this long nothing will."""

AGREED_WITHIN = timedelta(days=90)
MOST_REPORTS = 500
"""Age and number of the final reports with which live answers are compared."""

START_WITHIN_S = 900.0
"""Longest start that is in order: the first one on a GPU builds plans for minutes."""


NO_ARRIVALS = Arrivals()
"""The arrivals of an appliance that has received nothing."""


class RoleState(StrEnum):
    """State of a process: `STOPPED` is in order, `MISSING` is not; `FAILED` is ended by a fault, and starts again."""

    STARTING = "starting"
    ALIVE = "alive"
    FAILED = "failed"
    MISSING = "missing"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleStatus:
    """One of the four processes of this machine.

    Attributes
    ----------
    since
        Time of its start, or of its end; None when it never ran.
    starts
        Starts in a row without ten minutes of work between them.
    failure
        Reason why the last start ended; empty if it ended in order.
    configuration
        The configuration file, compared with that of the role's start.
    """

    role: str
    state: RoleState
    since: datetime | None
    detail: str
    starts: int = 1
    failure: str = ""
    configuration: ConfigurationState = ConfigurationState.CURRENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """The jobs of one queue.

    Attributes
    ----------
    counts
        Jobs per state; a state without jobs is absent.
    oldest
        Time at which the oldest waiting job was made, or was due for a study; parked jobs do not count.
    failures
        Failures of a destination in a row since it took an artefact.
    last_finished
        Time at which the newest done job of the last day ended.
    last_success
        Time at which a destination took an artefact last, however long ago.
    is_known
        False for a destination that has deliveries but is not in the configuration any more: no courier carries them.
    """

    name: str
    counts: dict[State, int]
    oldest: datetime | None = None
    last_finished: datetime | None = None
    last_success: datetime | None = None
    is_known: bool = True
    failures: int = 0

    @property
    def waiting(self) -> int:
        """Number of jobs that are due, back off or are leased."""
        return self.counts.get(State.QUEUED, 0) + self.counts.get(State.LEASED, 0)

    @property
    def parked(self) -> int:
        """Number of jobs that wait for a person."""
        return self.counts.get(State.PARKED, 0)

    def age_s(self, at: datetime) -> float:
        """Return the seconds that the oldest job has waited by `at`; 0 if no job waits."""
        return max(0.0, (at - self.oldest).total_seconds()) if self.oldest else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate file, by its key in the configuration.

    Attributes
    ----------
    not_after
        End of its validity; None if the file cannot be read.
    role
        Role that reads it.
    is_only_way
        Whether no radiograph can be received without it: the site has no listener without TLS.
    """

    key: str
    not_after: datetime | None
    role: str = "receive"
    is_only_way: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The facts at one moment; every condition and metric follows from them.

    Attributes
    ----------
    database_error
        Failure of the database in words; empty if it could be read.
    disk_free_bytes
        Free bytes on the disk of the spool; None if unknown.
    gpu
        Figures of the GPU; None if the analyse role uses none.
    clock_step
        Newest step of the wall clock in the last day; None if there was none.
    clock_is_kept
        Whether a time service keeps the clock; None if that cannot be asked.
    arrivals
        The radiographs that came in.
    silence
        The time without a radiograph; None before the first one.
    channels
        The configured channels of alarms that were used before.
    phases
        The phase of each site that an engine has served.
    agreement
        Agreement of each live site with the newest final reports.
    drift
        The newest window of each live site that has one.
    retention_days, prune_below_bytes
        Settings of retention: files of ended work go after these days, or earlier when less than that is free.
    """

    at: datetime
    database_error: str = ""
    roles: tuple[RoleStatus, ...] = ()
    analyses: Backlog = Backlog(name="analyses", counts={})
    studies: Backlog = Backlog(name="studies", counts={})
    destinations: tuple[Backlog, ...] = ()
    holds: tuple[Hold, ...] = ()
    disk_free_bytes: int | None = None
    disk_reserve_bytes: int = 0
    certificates: tuple[Certificate, ...] = ()
    gpu: GpuFigures | None = None
    clock_step: ClockStep | None = None
    clock_is_kept: bool | None = None
    arrivals: Arrivals = NO_ARRIVALS
    silence: Silence | None = None
    channels: tuple[ChannelState, ...] = ()
    phases: tuple[SitePhase, ...] = ()
    agreement: tuple[Agreement, ...] = ()
    drift: tuple[DriftWindow, ...] = ()
    retention_days: float = math.inf
    prune_below_bytes: int = 0

    @property
    def disk_days(self) -> float | None:
        """Days until radiographs are refused at the pace of the last week; None if that is not known."""
        if self.disk_free_bytes is None or not self.arrivals.daily_bytes:
            return None
        return max(0, self.disk_free_bytes - self.disk_reserve_bytes) / self.arrivals.daily_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SitesFacts:
    """The facts about live sites that are slow to read: agreement of each site, and its newest windows of drift."""

    agreement: tuple[Agreement, ...]
    drift: tuple[DriftWindow, ...]


SitesOf = Callable[[Connection, datetime], SitesFacts]
"""Reads the facts about sites, or returns those that it keeps."""

KEEP_SITES_S = 60.0
"""Time for which a process may keep the facts about sites, which change by the day."""


def read_sites(c: Connection, at: datetime) -> SitesFacts:
    """Read the facts about sites as of `at`."""
    return SitesFacts(
        agreement=tuple(agreement(c, at - AGREED_WITHIN, MOST_REPORTS)),
        drift=tuple(windows[0] for windows in drift_of_sites(c).values() if windows),
    )


def observe(engine: Engine, config: Configuration, at: datetime, sites: SitesOf = read_sites) -> Facts:
    """Read the facts from database and disk; a failure of either is a fact, and raises nothing."""
    clocks = read_clocks()
    seen = Facts(
        at=at,
        roles=tuple(_role(name, None, clocks) for name in ROLES),
        disk_free_bytes=_disk_free_bytes(config.state_dir),
        disk_reserve_bytes=config.receive.reserve_mb * MEGABYTE,
        certificates=certificates(config),
        clock_is_kept=is_kept(),
        retention_days=config.retention.days,
        prune_below_bytes=config.retention.prune_below_mb * MEGABYTE,
    )
    try:
        with engine.connect() as c:
            check_schema(c)
            beats = heartbeats(c)
            clocks = as_roles_see(clocks, beats.values())
            clock_step = recent_step(c, clocks)
            analyses = count_analyses(c)
            studies = count_studies(c)
            deliveries = count_deliveries(c)
            failures = failures_in_a_row(c)
            configured = [d.name for d in config.destinations]
            names = dict.fromkeys(configured + sorted({count.destination for count in deliveries}))
            recent = {count.destination: count.newest_end for count in deliveries if count.state is State.DONE}
            successes = last_successes(c, [name for name in names if not recent.get(name)])
            arrivals = read_arrivals(c, at, LEARNED, timedelta(seconds=LEAST_S))
            channels = channel_states(c)
            phases = tuple(site_phases(c))
            live = {one.site for one in phases if one.phase is Phase.LIVE}
            of_sites = sites(c, at)
        holds = tuple(Gate(engine).holds())
    except Fault as fault:
        return replace(seen, database_error=fault.reason)
    except SQLAlchemyError as error:
        return replace(seen, database_error=defect(error))
    except ValueError:  # a state or a code that no version of Osteon writes
        return replace(seen, database_error="it is damaged: see docs/operate.md, A damaged database")
    receiving_since = beats["receive"].started_at if "receive" in beats else datetime.min.replace(tzinfo=UTC)
    return replace(
        seen,
        roles=tuple(_role(name, beats.get(name), clocks) for name in ROLES),
        clock_step=clock_step,
        arrivals=arrivals,
        channels=tuple(one for one in channels if getattr(config.alarms, one.channel)),
        phases=phases,
        agreement=tuple(one for one in of_sites.agreement if one.site in live),
        drift=tuple(one for one in of_sites.drift if one.site in live),
        silence=silence_of(arrivals, receiving_since, at),
        gpu=read_figures(config.state_dir, clocks, BEAT_WITHIN_S),
        analyses=_backlog("analyses", analyses),
        studies=_backlog("studies", studies),
        holds=holds,
        destinations=tuple(
            replace(
                _backlog(name, [count for count in deliveries if count.destination == name], name in configured),
                failures=failures.get(name, 0),
                last_success=recent.get(name) or successes.get(name),
            )
            for name in names
        ),
    )


def _backlog(name: str, counts: Iterable[StateCount], is_known: bool = True) -> Backlog:
    by_state = {count.state: count for count in counts}
    waiting = [by_state[state].oldest for state in (State.QUEUED, State.LEASED) if state in by_state]
    done = by_state.get(State.DONE)
    return Backlog(
        name=name,
        counts={state: count.jobs for state, count in by_state.items()},
        oldest=min((oldest for oldest in waiting if oldest), default=None),
        last_finished=done.newest_end if done else None,
        is_known=is_known,
    )


def _role(name: str, newest: Heartbeat | None, clocks: Reading) -> RoleStatus:
    """Return the state of a role: alive if its heartbeat is of this boot, and new by the clock that never steps."""
    if newest is None:
        return RoleStatus(role=name, state=RoleState.MISSING, since=None, detail="")
    if newest.has_stopped:
        return RoleStatus(role=name, state=RoleState.STOPPED, since=newest.beat.at, detail="stopped in order")
    seen = RoleStatus(
        role=name,
        state=RoleState.ALIVE,
        since=newest.started_at,
        detail=newest.detail,
        starts=newest.starts,
        failure=newest.failure,
        configuration=newest.configuration,
    )
    age_s = newest.beat.age_s(clocks)
    if newest.has_failed:
        is_over = age_s is None or age_s > RESTART_WITHIN_S
        state = RoleState.MISSING if is_over else RoleState.FAILED
        return replace(seen, state=state, since=newest.beat.at, detail=newest.failure)
    if newest.is_starting:
        is_late = age_s is None or age_s > START_WITHIN_S
        return replace(seen, state=RoleState.MISSING if is_late else RoleState.STARTING)
    if age_s is None or age_s > BEAT_WITHIN_S:
        return replace(seen, state=RoleState.MISSING, since=newest.beat.at, detail=f"last: {newest.detail}")
    return seen


def _disk_free_bytes(folder: Path) -> int | None:
    """Return the free bytes of the disk on which `folder` is, or will be made; None if unknown."""
    for place in (folder, *folder.parents):
        try:
            return shutil.disk_usage(place).free
        except FileNotFoundError:
            continue
        except OSError:
            return None
    return None


def certificates(config: Configuration) -> tuple[Certificate, ...]:
    """Return the certificate files of both sides: of our listeners, and towards destinations."""
    found = []
    if tls := config.receive.tls:
        for key, file in (("certificate", tls.certificate), ("client_ca", tls.client_ca)):
            if file:
                is_only_way = not config.receive.plain
                key_of_file = f"receive.tls.{key}"
                found.append(Certificate(key=key_of_file, not_after=_not_after(file), is_only_way=is_only_way))
    for destination in config.destinations:
        if towards := destination.tls:
            for key, file in (("certificate", towards.certificate), ("ca", towards.ca)):
                if file:
                    key_of_file = f"tls.{key} of {destination.name}"
                    found.append(Certificate(key=key_of_file, not_after=_not_after(file), role="deliver"))
    return tuple(found)


def _not_after(file: Path) -> datetime | None:
    try:
        return not_after(file)
    except (OSError, ValueError):
        return None
