"""The tables, as SQLAlchemy Core: what was received, what is to be done, what was answered, who is alive."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect


class Instant(TypeDecorator[datetime]):
    """A moment: aware `datetime` in Python, Unix seconds in the database, so that every back end compares alike."""

    impl = Float(53)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> float | None:
        return None if value is None else value.timestamp()

    def process_result_value(self, value: float | None, dialect: Dialect) -> datetime | None:
        return None if value is None else datetime.fromtimestamp(value, UTC)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _job_columns() -> tuple[Column[object], ...]:
    """What every queue has: see `appliance.domain.job`."""
    return (
        Column("state", String(16), nullable=False),
        Column("attempts", Integer, nullable=False, default=0),
        Column("not_before", Instant, nullable=False),
        Column("lease_owner", String(128)),
        Column("lease_until", Instant),
        Column("code", String(64), nullable=False, default=""),
        Column("reason", Text, nullable=False, default=""),
        Column("created_at", Instant, nullable=False),
        Column("finished_at", Instant),
    )


instances = Table(
    "instances",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sop_instance_uid", String(64), nullable=False),
    Column("sop_class_uid", String(64), nullable=False),
    Column("transfer_syntax_uid", String(64), nullable=False),
    Column("digest", String(64), nullable=False, index=True),
    Column("size_bytes", Integer, nullable=False),
    Column("calling_ae_title", String(16), nullable=False),
    Column("received_at", Instant, nullable=False, index=True),
    Column("pruned_at", Instant),
    UniqueConstraint("sop_instance_uid", "digest"),
)

analyses = Table(
    "analyses",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("instance_id", ForeignKey("instances.id"), nullable=False, unique=True),
    *_job_columns(),
    Index(None, "state", "not_before"),
)

results = Table(
    "results",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("analysis_id", ForeignKey("analyses.id"), nullable=False, index=True),
    Column("sop_instance_uid", String(64), nullable=False, index=True),
    Column("study_instance_uid", String(64), nullable=False, index=True),
    Column("record", Text, nullable=False),
    Column("source_digest", String(64), nullable=False, default=""),
    Column("picture_digest", String(64), nullable=False, default="", index=True),
    Column("patient_digest", String(64), nullable=False, default=""),
    Column("taken_back_at", Instant),
    Column("created_at", Instant, nullable=False),
)

studies = Table(
    "studies",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_instance_uid", String(64), nullable=False, unique=True),
    *_job_columns(),
    Index(None, "state", "not_before"),
)
"""One job per study, to report on it: due when it has settled, queued again by each new result."""

study_results = Table(
    "study_results",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey("studies.id"), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("result_ids", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("study_id", "revision"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("result_id", ForeignKey("results.id")),
    Column("study_result_id", ForeignKey("study_results.id")),
    Column("study_instance_uid", String(64), nullable=False, index=True),
    Column("destination", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("identifier", String(128), nullable=False, index=True),
    Column("digest", String(64), nullable=False, index=True),
    *_job_columns(),
    Column("sent_class_uid", String(64), nullable=False, default=""),
    Column("sent_uid", String(64), nullable=False, default="", index=True),
    Column("transaction_uid", String(64), nullable=False, default="", index=True),
    Column("refuted", Integer, nullable=False, default=0, server_default="0"),
    Column("stored_at", Instant),
    Column("proven_at", Instant),
    UniqueConstraint("result_id", "destination", "kind"),
    UniqueConstraint("study_result_id", "destination", "kind"),
    Index(None, "destination", "state", "not_before"),
)
"""Each is of a radiograph's result or of a study's, one of the two; a withdrawal of neither.

A PACS has it as `sent_uid` of `sent_class_uid` since `stored_at`; `transaction_uid` is the storage commitment that was
asked for last, `proven_at` when the PACS vouched for it, `refuted` how often it did not have what it had stored.
"""

commitments = Table(
    "commitments",
    metadata,
    Column("transaction_uid", String(64), primary_key=True),
    Column("destination", String(64), nullable=False),
    Column("asked_at", Instant, nullable=False),
)
"""Requests for storage commitment: a report may come after the next one was asked for."""

holds = Table(
    "holds",
    metadata,
    Column("destination", String(64), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("since", Instant, nullable=False),
)
"""Destinations to which nothing leaves, by name; see `appliance.storage.gate`."""

reports_received = Table(
    "reports_received",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sending_application", String(227), nullable=False),
    Column("sending_facility", String(227), nullable=False),
    Column("control_id", String(199), nullable=False),
    Column("digest", String(64), nullable=False, index=True),
    Column("accession_number", String(64), nullable=False, index=True),
    Column("study_instance_uid", String(64), nullable=False, index=True),
    Column("result_status", String(1), nullable=False),
    Column("matched_study_instance_uid", String(64), nullable=False, default=""),
    Column("received_at", Instant, nullable=False),
    Column("pruned_at", Instant),
    UniqueConstraint("sending_application", "control_id", "digest"),
)
"""Radiologists' reports that came over HL7, each message in the spool until it is pruned.

`matched_study_instance_uid` is of a study of ours; empty where none was known when the report came.
"""

roles = Table(
    "roles",
    metadata,
    Column("role", String(16), primary_key=True),
    Column("pid", Integer, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("beat_at", Instant, nullable=False),
    Column("detail", Text, nullable=False, default=""),
)

notices = Table(
    "notices",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("subject", String(16), nullable=False),
    Column("code", String(64), nullable=False),
    Column("reason", String(256), nullable=False),
    Column("calling_ae_title", String(16), nullable=False),
    Column("called_ae_title", String(16), nullable=False),
    Column("address", String(45), nullable=False),
    Column("times", Integer, nullable=False),
    Column("first_at", Instant, nullable=False),
    Column("last_at", Instant, nullable=False),
    UniqueConstraint("code", "reason", "calling_ae_title", "called_ae_title", "address"),
)
