"""Conditions of this machine: disk, clock, GPU and certificate files."""

from __future__ import annotations

from datetime import datetime

from appliance.clock import local_minute
from appliance.config import MEGABYTE
from appliance.gpu import GpuFigures
from appliance.storage.clock_steps import ClockStep

from .condition import Condition, Severity, count, duration
from .facts import Certificate, Facts

RENEW_DAYS = 30
"""Days before its end at which a certificate should be renewed, as ACME clients do."""


FEW_DAYS = 14
"""Days until the disk is full at which there should be more room, or a shorter retention."""


def gpu(seen: GpuFigures) -> list[Condition]:
    """Return the conditions of a GPU that is there."""
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


def disk(facts: Facts) -> Condition:
    """Return the condition of the disk: there is room for radiographs."""
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


def disk_days(facts: Facts) -> Condition:
    """Return the condition of the days to come: the disk has room for what retention keeps."""
    days, daily_mb = facts.disk_days, facts.arrivals.daily_bytes / MEGABYTE
    is_enough = days is None or days >= FEW_DAYS or days >= facts.retention_days
    if facts.database_error:
        sentence = "The days until the disk is full are unknown while the database cannot be read"
    elif days is None:
        sentence = "The days until the disk is full are known after a day with radiographs"
    else:
        sentence = f"The disk has room for {count(int(days), 'day')} at {daily_mb:.0f} MB of radiographs a day"
    if not is_enough:
        sentence += (
            f". Retention keeps delivered ones for {facts.retention_days:g} days: below "
            f"{facts.prune_below_bytes // MEGABYTE} MB they are removed earlier, oldest first, and undelivered ones "
            "stay until radiographs are refused; give it a larger disk, or shorten retention.days"
        )
    needs, ok = ("disk", "database"), is_enough and not facts.database_error
    return Condition(name="disk.days", ok=ok, severity=Severity.WARNING, sentence=sentence, depends_on=needs)


def clock_kept(is_kept: bool | None) -> Condition:
    """Return the condition of the time service."""
    sentence = "A time service keeps the clock"
    if is_kept is None:
        sentence = "Whether a time service keeps the clock cannot be asked here"
    elif not is_kept:
        sentence = (
            "No time service keeps the clock of this machine: times in answers, certificates and retention drift with "
            "it; `timedatectl set-ntp true`, with the hospital's time server in /etc/systemd/timesyncd.conf"
        )
    return Condition(name="clock.kept", ok=is_kept is not False, severity=Severity.WARNING, sentence=sentence)


def clock_step(step: ClockStep | None) -> Condition:
    """Return the condition of the wall clock: no step in the last day."""
    sentence = "The clock has made no step in the last day"
    if step is not None:
        way = "on" if step.step_s > 0 else "back"
        sentence = (
            f"The clock of this machine was set {way} by {duration(abs(step.step_s))}, to {local_minute(step.at)}: "
            "the times in answers before it may be wrong; check its time service with `timedatectl`"
        )
    return Condition(name="clock", ok=step is None, severity=Severity.WARNING, sentence=sentence)


def certificate_end(certificate: Certificate, at: datetime) -> Condition:
    """Return the condition of a certificate file: an ERROR once it has run out and there is no way without TLS."""
    severity, ok = Severity.WARNING, False
    if certificate.not_after is None:
        sentence = f"{certificate.key} cannot be read: its end is not known"
    else:
        days = (certificate.not_after - at).days
        ok = days >= RENEW_DAYS
        sentence = f"{certificate.key} runs out on {certificate.not_after:%Y-%m-%d}, in {count(days, 'day')}"
        if days < 0:
            severity = Severity.ERROR if certificate.is_only_way else Severity.WARNING
            effect = "peers with TLS are rejected" if certificate.role == "receive" else "TLS connections there fail"
            sentence = f"{certificate.key} ran out on {certificate.not_after:%Y-%m-%d}: {effect}"
        if not ok:
            sentence += f"; renew it and restart osteon-{certificate.role}"
    return Condition(name=f"certificate.{certificate.key}", ok=ok, severity=severity, sentence=sentence)
