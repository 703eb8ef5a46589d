"""The health of the appliance as conditions, the same for the page and /health/ready.

A condition names the conditions that it depends on, so that an unreadable database is one problem and not ten.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from appliance.clock import local_minute
from appliance.domain.alarm import ChannelState
from appliance.domain.phase import SitePhase
from appliance.domain.roles import ConfigurationState
from appliance.storage.drift import DriftWindow
from appliance.storage.gate import EVERY, Hold, release_command
from appliance.storage.monitoring import Agreement

from . import machine
from .condition import Condition as Condition
from .condition import Severity as Severity
from .condition import count
from .condition import duration as duration
from .condition import without_identity as without_identity
from .facts import Backlog, Facts, RoleState, RoleStatus
from .silence import Silence

LATE_S = 300.0
"""A radiograph or a delivery that waits longer is reported as late."""

LOST_S = 3600.0
"""A destination that takes nothing for longer is an error: answers come too late to be of use there."""

UNSTEADY = 3
"""Starts in a row after which a role that runs again is reported all the same."""

LEAST_COMPARED = 30
"""Studies beside final reports from which the agreement of a site is judged."""

DEEP = 500
"""More radiographs than a busy hospital makes in an hour: a queue of that length needs attention."""


def conditions(facts: Facts) -> tuple[Condition, ...]:
    """Return every condition, gravest first; a function of `facts` alone."""
    readable = not facts.database_error
    found = [
        Condition(
            name="database",
            ok=readable,
            severity=Severity.ERROR,
            sentence="The database can be read"
            if readable
            else f"The database cannot be read: {facts.database_error}. See also `journalctl -u 'osteon-*'`",
        ),
        machine.disk(facts),
        machine.disk_days(facts),
        machine.clock_step(facts.clock_step),
        machine.clock_kept(facts.clock_is_kept),
        _configuration(facts.roles, readable),
    ]
    found += [_role_condition(r, readable) for r in facts.roles]
    analyse = ("role.analyse",)
    found.append(_flow(facts.analyses, facts.at, readable, "radiograph", "analysis", analyse, "queue.analyses"))
    found.append(_flow(facts.studies, facts.at, readable, "report", "study", analyse, "queue.studies"))
    found += [_hold(hold) for hold in facts.holds]
    known = [d for d in facts.destinations if d.is_known]
    unreached = bool(known) and all(d.failures and d.waiting for d in known)
    for d in facts.destinations:
        shut = [f"gate.{hold.destination}" for hold in facts.holds if hold.destination in (EVERY, d.name)]
        needs = ("role.deliver", *shut)
        flow = _flow(d, facts.at, readable, "artefact", "delivery", needs, f"destination.{d.name}")
        if d.is_known and not shut and d.failures and d.age_s(facts.at) > (LATE_S if unreached else LOST_S):
            flow = replace(flow, severity=Severity.ERROR)
        found.append(flow)
    if facts.silence:
        found.append(_silence(facts.silence))
    found += [_revocation(each) for each in facts.phases if each.is_revoked]
    found += _agreements([one for one in facts.agreement if one.compared >= LEAST_COMPARED])
    found += [_drift(window) for window in facts.drift]
    found += [_channel(channel, facts.at) for channel in facts.channels]
    found += [machine.certificate_end(certificate, facts.at) for certificate in facts.certificates]
    found += machine.gpu(facts.gpu) if facts.gpu else []
    return tuple(found)


def is_ready(found: Iterable[Condition], *, strict: bool = False) -> bool:
    """Return whether radiographs are received, analysed and delivered: no condition of an error is broken.

    With `strict`, no condition at all may be broken.
    """
    return all(c.ok for c in found if strict or c.severity is Severity.ERROR)


def problems(found: tuple[Condition, ...]) -> tuple[Condition, ...]:
    """Return the conditions that are not met, without those that follow from another."""
    broken = {c.name for c in found if not c.ok}
    return tuple(c for c in found if not c.ok and broken.isdisjoint(c.depends_on))


def headline(found: tuple[Condition, ...]) -> str:
    """Return the health of the appliance in one line."""
    if not problems(found):
        return "Osteon works: radiographs are received, analysed and answered."
    if is_ready(found):
        late = [c.name.partition(".")[2] for c in problems(found) if c.name.startswith("destination.")]
        if late and len(late) == sum(c.name.startswith("destination.") for c in found):
            return f"Osteon receives and analyses radiographs, but answers wait for {', '.join(late)}."
        return "Osteon works. The points below need attention."
    broken = {c.name.partition(".")[0] for c in problems(found) if c.severity is Severity.ERROR}
    if broken == {"destination"}:
        lost = [c.name.partition(".")[2] for c in problems(found) if c.severity is Severity.ERROR]
        return f"Osteon receives and analyses radiographs, but answers do not arrive at {', '.join(lost)}."
    if broken == {"role"} and all(c.is_starting for c in problems(found) if c.severity is Severity.ERROR):
        return "Osteon is starting."
    return "Osteon is not working."


def _role_condition(r: RoleStatus, readable: bool) -> Condition:
    severity = Severity.WARNING if r.role == "status" else Severity.ERROR
    ago = "" if r.since is None else f" since {local_minute(r.since)}"
    unit = f"osteon-{r.role}"
    if not readable:
        sentence = f"Role {r.role}: unknown while the database cannot be read"
    elif r.state is RoleState.ALIVE and r.starts < UNSTEADY:
        sentence = f"Role {r.role} is running"
    elif r.state is RoleState.ALIVE:
        severity = Severity.WARNING
        sentence = f"Role {r.role} is running again, after {r.starts} starts in a row"
    elif r.state is RoleState.STARTING and r.starts < UNSTEADY:
        sentence = f"Role {r.role} is starting"
    elif r.state in {RoleState.STARTING, RoleState.FAILED}:
        sentence = f"Role {r.role} fails and starts again, {count(r.starts, 'time')} so far (`journalctl -u {unit}`)"
    elif r.state is RoleState.STOPPED:
        sentence = f"Role {r.role} is stopped{ago}: start it with `systemctl start {unit}`"
    else:
        sentence = f"Role {r.role} has sent no heartbeat{ago or ' yet'}: see `systemctl status {unit}`"
    if readable and r.state is RoleState.MISSING and r.failure:
        sentence = f"Role {r.role} has failed{ago} and did not start again: `systemctl start {unit}`"
    if readable and r.failure and r.state is not RoleState.STOPPED:
        sentence += f": {without_identity(r.failure)}"
    return Condition(
        name=f"role.{r.role}",
        ok=readable and r.state is RoleState.ALIVE and r.starts < UNSTEADY,
        severity=severity,
        sentence=sentence,
        depends_on=("database",),
        is_starting=r.state is RoleState.STARTING and r.starts < UNSTEADY,
    )


def _configuration(roles: Iterable[RoleStatus], readable: bool) -> Condition:
    """Return the condition of the configuration file: every role that runs works with its values."""
    running = [r for r in roles if r.state in {RoleState.ALIVE, RoleState.STARTING}]
    outdated = [r.role for r in running if r.configuration is ConfigurationState.CHANGED]
    unusable = any(r.configuration is ConfigurationState.UNUSABLE for r in running)
    sentence = "Every role works with the configuration of its file"
    if not readable:
        sentence = "Whether the configuration was changed is unknown while the database cannot be read"
    elif unusable:
        sentence = "The configuration file was changed and cannot be used: no role can start again; see `osteon check`"
    elif outdated:
        units = " ".join(f"osteon-{role}" for role in outdated)
        sentence = f"The configuration was changed since roles were started: `systemctl restart {units}`"
    return Condition(
        name="configuration",
        ok=readable and not (unusable or outdated),
        severity=Severity.WARNING,
        sentence=sentence,
        depends_on=("database",),
    )


def _silence(seen: Silence) -> Condition:
    """Return the condition of the intake: radiographs come when this site usually sends."""
    if seen.is_unusual:
        sentence = (
            f"No radiograph has come for {duration(seen.length_s)}, at a time when this site usually sends: check the "
            "routing rules of the PACS, the X-ray rooms and the network; the doctor looks at this box: `osteon doctor`"
        )
    elif seen.chance is None:
        sentence = "Silence is judged once two weeks of this site have been seen"
    else:
        sentence = "Radiographs come as usual at this site"
    return Condition(
        name="silence",
        ok=not seen.is_unusual,
        severity=Severity.WARNING,
        sentence=sentence,
        depends_on=("database", "role.receive", "clock", "disk"),
    )


def _agreements(compared: Sequence[Agreement]) -> list[Condition]:
    """Return the condition of each live site: its answers agree with the final reports as often as the gate asks.

    It is broken only if the agreement is certainly lower: its exact interval lies below the accuracy of the gate, or
    the site is apart from the other live sites together.
    """
    if not compared:
        return []
    # NumPy, which they load, would double the time of a short command
    from appliance.rollout.gate import ACCURACY
    from appliance.rollout.statistics import groups_apart, rate

    shares = {str(one.site): rate(one.agreeing, one.compared) for one in compared}
    apart = groups_apart(shares)
    return [_agreement(one, shares[one.site].high >= ACCURACY, one.site in apart) for one in compared]


def _agreement(of: Agreement, is_enough: bool, is_apart: bool) -> Condition:
    ok = is_enough and not is_apart
    sentence = f"Answers about the {of.site.label} agree with final reports: {of.agreeing} of {of.compared}"
    if not ok:
        others = ", fewer than those about the other sites" if is_apart else ""
        sentence = (
            f"Answers about the {of.site.label} agree with only {of.agreeing} of {of.compared} final reports{others} "
            f"({of.only_radiologist} fractures missed, {of.only_appliance} not confirmed): read these studies again"
        )
    return Condition(
        name=f"agreement.{of.site}", ok=ok, severity=Severity.WARNING, sentence=sentence, depends_on=("database",)
    )


def _drift(window: DriftWindow) -> Condition:
    """Return the condition of a live site: its newest radiographs are like those on which it was validated."""
    site = str(window.site.label)
    sentence = f"The newest {window.size} radiographs of the {site} are like those before"
    if window.drifting:
        figures = ", ".join(figure.replace("_", " ") for figure in window.drifting)
        sentence = (
            f"The newest {window.size} radiographs of the {site} differ from those on which its answers were checked "
            f"({figures}): look for a new device, another processing or other patients"
        )
    return Condition(
        name=f"drift.{window.site}",
        ok=not window.drifting,
        severity=Severity.WARNING,
        sentence=sentence,
        depends_on=("database",),
    )


def _channel(channel: ChannelState, at: datetime) -> Condition:
    """Return the condition of a channel of alarms: it takes messages."""
    sentence = f"Alarms leave by {channel.channel}"
    is_failing = channel.failures >= UNSTEADY and channel.failing_since is not None
    if is_failing and channel.failing_since:
        lost_s = (at - channel.failing_since).total_seconds()
        sentence = f"Alarms by {channel.channel} have not all arrived for {duration(lost_s)}: {channel.reason}"
        sentence += "; `osteon alarm test` sends a message"
    return Condition(
        name=f"alarms.{channel.channel}",
        ok=not is_failing,
        severity=Severity.WARNING,
        sentence=sentence,
        depends_on=("database",),
    )


def _hold(hold: Hold) -> Condition:
    """Return the condition of a hold, on which the lateness of its deliveries depends.

    Probes and alarms carry it out of the house: without the reason, which a person typed.
    """
    place = "any destination" if hold.destination == EVERY else hold.destination
    return Condition(
        name=f"gate.{hold.destination}",
        ok=False,
        severity=Severity.WARNING,
        sentence=f"Nothing leaves for {place} since {local_minute(hold.since)}: a hold is set, "
        f"and the page says why; lift it with `{release_command(hold.destination)}`",
        depends_on=("database",),
    )


def _revocation(found: SitePhase) -> Condition:
    """Return the condition of a site that the appliance itself has set back; it stays until a person sets the phase."""
    withheld = "nothing about it leaves the box" if not found.phase.leaves else "its answers flag nothing"
    return Condition(
        name=f"phase.{found.site}",
        ok=False,
        severity=Severity.WARNING,
        sentence=f"The {found.site.label} is back in the phase {found.phase} since {local_minute(found.since)}, and "
        f"{withheld}: {found.reason}; after a look at the release notes `osteon phase set {found.site} PHASE`",
        depends_on=("database",),
    )


def _flow(
    queue: Backlog, at: datetime, readable: bool, noun: str, command: str, needs: tuple[str, ...], name: str
) -> Condition:
    """Return the condition of one queue: nothing is parked or late, and the queue is not too long."""
    wrong = []
    if queue.waiting and not queue.is_known:
        wrong.append(f"{count(queue.waiting, noun)} waiting for a destination that is no longer configured")
    if queue.parked:
        wrong.append(f"{count(queue.parked, noun)} parked: see the reason with `osteon queue show {command}:ID`")
    if queue.age_s(at) > LATE_S:
        wrong.append(f"{count(queue.waiting, noun)} waiting, the oldest for {duration(queue.age_s(at))}")
    elif queue.failures and queue.waiting:
        wrong.append(f"the last {count(queue.failures, 'attempt')} failed, {count(queue.waiting, noun)} waiting")
    elif queue.waiting > DEEP:
        wrong.append(f"{count(queue.waiting, noun)} waiting: more arrive than leave")
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
        # a parked job needs a person whether the role runs or not; a late job can follow from a role that does not run
        depends_on=("database",) if queue.parked or not queue.is_known else ("database", *needs),
    )
