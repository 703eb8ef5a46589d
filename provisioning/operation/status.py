"""`osteon status`: the page's headline and its points, from the same facts and conditions."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from appliance.clock import now
from appliance.config import Configuration
from appliance.errors import Fault
from appliance.status.attention import Attention, attention
from appliance.status.facts import observe
from appliance.status.health import Condition, Severity, conditions, headline, is_ready
from appliance.status.records import destination_errors
from appliance.storage.database import existing_database, readers


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The health of this box.

    Attributes
    ----------
    ready
        Whether radiographs are received, analysed and delivered.
    points
        The conditions that are not met, gravest first.
    conditions
        All conditions.
    """

    headline: str
    ready: bool
    points: tuple[Attention, ...]
    conditions: tuple[Condition, ...] = ()


def status_of(config: Configuration) -> Status:
    """Read the health of this box; a database that cannot be read is a point, and nothing is written."""
    try:
        engine = existing_database(config.database)
    except Fault as fault:
        return _unused(fault.reason, "osteon doctor")
    if engine is None:
        return _unused("Osteon has not run yet on this state_dir", "systemctl start osteon.target")
    engine = readers(engine)
    facts = observe(engine, config, now())
    try:
        with engine.connect() as c:
            errors = destination_errors(c)
    except (SQLAlchemyError, ValueError):  # the conditions report it
        errors = {}
    found = conditions(facts)
    points = attention(facts, found, errors)
    return Status(headline=headline(found), ready=is_ready(found), points=points, conditions=found)


def _unused(reason: str, command: str) -> Status:
    point = Attention(name="database", severity=Severity.ERROR, sentence=reason, command=command)
    return Status(headline="Osteon is not working.", ready=False, points=(point,))
