"""Checks of the flow: the page's conditions that are not met, and associations turned away in the last day."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from sqlalchemy.exc import SQLAlchemyError

from appliance.clock import now
from appliance.config import Configuration
from appliance.domain.notice import Subject
from appliance.errors import Fault
from appliance.status.facts import observe
from appliance.status.health import Severity, conditions, problems
from appliance.status.records import destination_errors, newest_notices
from appliance.status.remedies import remedy_of
from appliance.storage.database import check_schema, existing_database, readers

from .finding import Finding

RECENT = timedelta(days=1)
"""Age of the oldest refusal that is told."""

OWN_CHECKS = ("database", "disk", "role.", "certificate.", "clock.kept")
"""Beginnings of the names of conditions that other checks look at."""


def check_flow(config: Configuration) -> Iterator[Finding]:
    """Yield the page's conditions that are not met, and the peers that were turned away."""
    try:
        engine = existing_database(config.database)
        if engine is None:
            return
        engine = readers(engine)
        with engine.connect() as c:
            check_schema(c)
            errors = destination_errors(c)
            refused = [
                one for s in (Subject.ASSOCIATION, Subject.STRANGER, Subject.HL7) for one in newest_notices(c, s)
            ]
        broken = problems(conditions(observe(engine, config, now())))
    except (Fault, SQLAlchemyError):  # check_database names it
        return
    for condition in broken:
        if condition.name.startswith(OWN_CHECKS):
            continue
        make = Finding.error if condition.severity is Severity.ERROR else Finding.warning
        error = errors.get(condition.name.removeprefix("destination."))
        seen = (
            f"{condition.sentence}; the newest reason: {error.reason} ({error.code})" if error else condition.sentence
        )
        remedy = remedy_of(condition.name)
        assert remedy is not None, condition.name  # a test holds one for each
        yield make(condition.name, seen, remedy.effect, " ".join(remedy.steps))
    for one in refused:
        if now() - one.last_at < RECENT:
            notice = one.notice
            sender = f"{notice.calling_ae_title} at {notice.address}" if notice.calling_ae_title else notice.address
            times = "once" if one.times == 1 else f"{one.times} times"
            yield Finding.warning(
                f"refused.{notice.code}",
                f"{sender} was turned away {times}, last at {one.last_at:%H:%M} UTC: {notice.reason}",
                "what it sent is not analysed",
                notice.code.remedy,
            )
