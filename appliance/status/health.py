"""The health of the appliance as conditions, the same for the page and /health/ready.

A condition names the conditions that it depends on, so that an unreadable database is one problem and not ten.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from appliance.config import MEGABYTE
from appliance.gpu import GpuFigures
from appliance.storage.clock_steps import ClockStep
from appliance.storage.gate import EVERY, Hold, release_command

from .facts import Backlog, Certificate, Facts, RoleState, RoleStatus

LATE_S = 300.0
"""A radiograph or a delivery that waits longer is reported as late."""

LOST_S = 3600.0
"""A destination that takes nothing for longer is an error: answers come too late to be of use there."""

UNSTEADY = 3
"""Starts in a row after which a role that runs again is reported all the same."""

DEEP = 500
"""More radiographs than a busy hospital makes in an hour: a queue of that length needs attention."""

RENEW_DAYS = 30
"""Days before its end at which a certificate should be renewed, as ACME clients do."""

_PERSON_NAME = re.compile(r"[^\s'\"(),;|]*\^[^'\"(),;|]*")
_UID = re.compile(r"\b\d+(?:\.\d+){4,}\b")


class Severity(StrEnum):
    """Meaning of a condition that is not met.

    `ERROR`: radiographs are not received, not analysed, or no destination or one for an hour takes the answers.
    `WARNING`: all else that a person should look at.
    """

    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition of a healthy appliance.

    Attributes
    ----------
    sentence
        The state for a person; if the condition is not met, also the next step.
    depends_on
        Names of conditions that must hold before this one can be judged.
    is_starting
        Whether the condition will soon be met by itself: a role starts.
    """

    name: str
    ok: bool
    severity: Severity
    sentence: str
    depends_on: tuple[str, ...] = ()
    is_starting: bool = False


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
        _disk(facts),
        _clock(facts.clock_step),
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
    found += [_certificate(certificate, facts.at) for certificate in facts.certificates]
    found += _gpu(facts.gpu) if facts.gpu else []
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
        return "Osteon works. The points below need attention."
    broken = {c.name.partition(".")[0] for c in problems(found) if c.severity is Severity.ERROR}
    if broken == {"destination"}:
        lost = [c.name.partition(".")[2] for c in problems(found) if c.severity is Severity.ERROR]
        return f"Osteon receives and analyses radiographs, but answers do not arrive at {', '.join(lost)}."
    if broken == {"role"} and all(c.is_starting for c in problems(found) if c.severity is Severity.ERROR):
        return "Osteon is starting."
    return "Osteon is not working."


def duration(seconds: float) -> str:
    """Return `seconds` for people: ``8 s``, ``4 min``, ``2 h 5 min``, ``3 d 4 h``."""
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
    """Return `text` without UIDs and without names in the form of DICOM and HL7 (``Doe^Jane``).

    Our own sentences carry none; the words of a peer, quoted in a refusal, can.
    """
    return _UID.sub("[UID]", _PERSON_NAME.sub("[name]", text))


def _role_condition(r: RoleStatus, readable: bool) -> Condition:
    severity = Severity.WARNING if r.role == "status" else Severity.ERROR
    ago = "" if r.since is None else f" since {r.since:%Y-%m-%d %H:%M:%S} UTC"
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
        sentence = f"Role {r.role} fails and starts again, {_count(r.starts, 'time')} so far (`journalctl -u {unit}`)"
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


def _gpu(seen: GpuFigures) -> list[Condition]:
    if seen.unused:
        sentence = f"A GPU is there, and the CPU computes: {seen.unused}. The role tries the GPU again by itself"
        return [Condition(name="gpu.used", ok=False, severity=Severity.WARNING, sentence=sentence)]
    warm = "" if seen.temperature_c is None else f" ({seen.temperature_c} °C)"
    slow = f"The GPU is slowed down by {seen.throttled}{warm}: check its cooling and its power supply"
    faulty = f"The memory of the GPU had {seen.ecc_errors} uncorrectable errors: replace the card"
    return [
        Condition(name="gpu.used", ok=True, severity=Severity.WARNING, sentence="The GPU computes"),
        Condition(
            name="gpu.clocks",
            ok=not seen.throttled,
            severity=Severity.WARNING,
            sentence=slow if seen.throttled else f"The GPU runs at full clock rates{warm}",
        ),
        Condition(
            name="gpu.memory",
            ok=not seen.ecc_errors,
            severity=Severity.WARNING,
            sentence=faulty if seen.ecc_errors else "The memory of the GPU has no errors",
        ),
    ]


def _disk(facts: Facts) -> Condition:
    free, reserve = facts.disk_free_bytes, facts.disk_reserve_bytes
    if free is None:
        ok, sentence = False, "The disk of the spool cannot be read: check state_dir"
    elif free < reserve:
        ok = False
        sentence = (
            f"The disk has {free // MEGABYTE} MB free, less than the reserve of {reserve // MEGABYTE} MB: "
            "radiographs are refused until there is room"
        )
    else:
        ok = True
        sentence = f"The disk has {free // MEGABYTE} MB free; the reserve is {reserve // MEGABYTE} MB"
    return Condition(name="disk", ok=ok, severity=Severity.ERROR, sentence=sentence)


def _clock(step: ClockStep | None) -> Condition:
    """Return the condition of the wall clock: no step in the last day."""
    sentence = "The clock has made no step in the last day"
    if step is not None:
        way = "on" if step.step_s > 0 else "back"
        sentence = (
            f"The clock of this machine was set {way} by {duration(abs(step.step_s))}, to {step.at:%Y-%m-%d %H:%M} "
            "UTC: the times in answers before it may be wrong; check its time service with `timedatectl`"
        )
    return Condition(name="clock", ok=step is None, severity=Severity.WARNING, sentence=sentence)


def _hold(hold: Hold) -> Condition:
    """Return the condition of a hold, on which the lateness of its deliveries depends."""
    place = "any destination" if hold.destination == EVERY else hold.destination
    return Condition(
        name=f"gate.{hold.destination}",
        ok=False,
        severity=Severity.WARNING,
        sentence=f"Nothing leaves for {place} since {hold.since:%Y-%m-%d %H:%M} UTC: {hold.reason}; "
        f"lift the hold with `{release_command(hold.destination)}`",
        depends_on=("database",),
    )


def _certificate(certificate: Certificate, at: datetime) -> Condition:
    """Return the condition of a certificate file: an ERROR once it has run out and there is no way without TLS."""
    severity, ok = Severity.WARNING, False
    if certificate.not_after is None:
        sentence = f"{certificate.key} cannot be read: its end is not known"
    else:
        days = (certificate.not_after - at).days
        ok = days >= RENEW_DAYS
        sentence = f"{certificate.key} runs out on {certificate.not_after:%Y-%m-%d}, in {_count(days, 'day')}"
        if days < 0:
            severity = Severity.ERROR if certificate.is_only_way else Severity.WARNING
            effect = "peers with TLS are rejected" if certificate.role == "receive" else "TLS connections there fail"
            sentence = f"{certificate.key} ran out on {certificate.not_after:%Y-%m-%d}: {effect}"
        if not ok:
            sentence += f"; renew it and restart osteon-{certificate.role}"
    return Condition(name=f"certificate.{certificate.key}", ok=ok, severity=severity, sentence=sentence)


def _flow(
    queue: Backlog, at: datetime, readable: bool, noun: str, command: str, needs: tuple[str, ...], name: str
) -> Condition:
    """Return the condition of one queue: nothing is parked or late, and the queue is not too long."""
    wrong = []
    if queue.waiting and not queue.is_known:
        wrong.append(f"{_count(queue.waiting, noun)} waiting for a destination that is no longer configured")
    if queue.parked:
        wrong.append(f"{_count(queue.parked, noun)} parked: see the reason with `osteon queue show {command}:ID`")
    if queue.age_s(at) > LATE_S:
        wrong.append(f"{_count(queue.waiting, noun)} waiting, the oldest for {duration(queue.age_s(at))}")
    elif queue.failures and queue.waiting:
        wrong.append(f"the last {_count(queue.failures, 'attempt')} failed, {_count(queue.waiting, noun)} waiting")
    elif queue.waiting > DEEP:
        wrong.append(f"{_count(queue.waiting, noun)} waiting: more arrive than leave")
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


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
