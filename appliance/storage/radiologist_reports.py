"""The radiologist reports received: one row for each message, however often it is sent."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import Engine, select

from appliance.clock import now
from appliance.domain.radiologist_report import RadiologistReport

from .database import upsert
from .tables import radiologist_reports, studies


def keep_report(engine: Engine, report: RadiologistReport, digest: str) -> None:
    """Record a report with its message `digest` in the spool, durably; a repeat marks the message as present again."""
    ours = select(studies.c.study_instance_uid).where(studies.c.study_instance_uid == report.study_instance_uid)
    with engine.begin() as c:
        matched = c.execute(ours).scalar() or ""
        row = asdict(report) | {"digest": digest, "matched_study_instance_uid": matched, "received_at": now()}
        key = ("sending_application", "control_id", "digest")
        upsert(c, radiologist_reports, row, key=key, on_conflict={"pruned_at": None})
