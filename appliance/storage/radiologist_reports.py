"""The ledger of radiologists' reports: one row for each message, however often it is sent."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import Engine, select
from sqlalchemy.dialects import postgresql, sqlite

from appliance.clock import now
from appliance.domain.radiologist_report import RadiologistReport

from .tables import reports_received, studies


def keep_report(engine: Engine, report: RadiologistReport, digest: str) -> None:
    """Record a report that lies in the spool, durably; of a repeat, that it lies there (again)."""
    ours = select(studies.c.study_instance_uid).where(studies.c.study_instance_uid == report.study_instance_uid)
    with engine.begin() as c:
        matched = c.execute(ours).scalar() or ""
        values = asdict(report) | {"digest": digest, "matched_study_instance_uid": matched, "received_at": now()}
        upsert = (sqlite if engine.dialect.name == "sqlite" else postgresql).insert(reports_received)
        row = upsert.values(values)
        key = ("sending_application", "control_id", "digest")
        c.execute(row.on_conflict_do_update(index_elements=list(key), set_={"pruned_at": None}))
