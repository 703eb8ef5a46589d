"""The tables, as SQLAlchemy Core: instances, jobs, results, deliveries, heartbeats, notices, rollout."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar

from sqlalchemy import (
    Boolean,
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

from appliance.domain.account import AccountRole
from appliance.domain.alarm import Channel, EventKind, Severity
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.audit import AuditAction, Door
from appliance.domain.finding import Answer
from appliance.domain.identifiers import Site
from appliance.domain.job import State
from appliance.domain.notice import Subject
from appliance.domain.phase import Phase
from appliance.domain.reason import ReasonCode
from appliance.domain.roles import ConfigurationState
from appliance.domain.validation import (
    ConcludedBy,
    Conclusion,
    Decision,
    DecisionSource,
    ReadAnswer,
    ReadSource,
    SampleKind,
)

E = TypeVar("E", bound=StrEnum)

REVISION = "0001"
"""Revision of these tables: the newest of `appliance.storage.migrations`."""


class Instant(TypeDecorator[datetime]):
    """A point in time: aware `datetime` in Python, Unix seconds in the database: every back end compares alike."""

    impl = Float(53)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> float | None:
        return None if value is None else value.timestamp()

    def process_result_value(self, value: float | None, dialect: Dialect) -> datetime | None:
        return None if value is None else datetime.fromtimestamp(value, UTC)


class Choice(TypeDecorator[E]):
    """A member of one `StrEnum` in Python, its value in the database."""

    impl = String
    cache_ok = True

    def __init__(self, members: type[E], length: int) -> None:
        super().__init__(length)
        self._members = members

    def process_bind_param(self, value: E | None, dialect: Dialect) -> str | None:
        return None if value is None else self._members(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> E | None:
        return None if value is None else self._members(value)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _job_columns() -> tuple[Column[object], ...]:
    """Return the columns of every queue; see `appliance.domain.job`."""
    return (
        Column("state", Choice(State, 16), nullable=False),
        Column("attempts", Integer, nullable=False, default=0),
        Column("delays", Integer, nullable=False, default=0),
        Column("not_before", Instant, nullable=False),
        Column("lease_owner", String(128)),
        Column("lease_until", Instant),
        Column("code", Choice(ReasonCode, 64), nullable=False, default=ReasonCode.NONE),
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
    Column("receipt", Integer, nullable=False),
    Column("received_at", Instant, nullable=False, index=True),
    Column("pruned_at", Instant),
    UniqueConstraint("sop_instance_uid", "digest"),
    UniqueConstraint("sop_instance_uid", "receipt"),
)
"""`receipt` counts what came under one SOP Instance UID, from 1: the highest was received last, whatever the clock."""

analyses = Table(
    "analyses",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("instance_id", ForeignKey("instances.id"), nullable=False, unique=True),
    *_job_columns(),
    Index(None, "state", "id"),
    Index(None, "state", "not_before"),
    Index(None, "state", "attempts", "created_at"),  # the first that was not tried, which studies wait for
    Index(None, "state", "code", "id"),
    Index(None, "state", "finished_at"),
)

results = Table(
    "results",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("analysis_id", ForeignKey("analyses.id"), nullable=False, index=True),
    Column("sop_instance_uid", String(64), nullable=False, index=True),
    Column("study_instance_uid", String(64), nullable=False, index=True),
    Column("answer", Choice(Answer, 16), nullable=False),
    Column("record", Text, nullable=False),
    Column("source_digest", String(64), nullable=False, default=""),
    Column("picture_digest", String(64), nullable=False, default="", index=True),
    Column("patient_digest", String(64), nullable=False, default=""),
    Column("phases", Text, nullable=False, default="{}"),
    Column("taken_back_at", Instant),
    Column("created_at", Instant, nullable=False),
)
"""The results of radiographs. `record` is all that the analysis found; `phases` decide which part of it was told.

`phases` are JSON: the phase of each site when the result was recorded. Without a site's phase it counts as in shadow.
"""

studies = Table(
    "studies",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_instance_uid", String(64), nullable=False, unique=True),
    *_job_columns(),
    Index(None, "state", "not_before"),
    Index(None, "state", "code", "id"),
    Index(None, "state", "finished_at"),
)
"""One job per study, to report on the study: due when it has settled, queued again by each new result."""

study_results = Table(
    "study_results",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey("studies.id"), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("result_ids", Text, nullable=False),
    Column("phases", Text, nullable=False, default="[]"),
    Column("left_out", Integer, nullable=False),
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("study_id", "revision"),
)
"""The reports of studies. `result_ids` are the radiographs told of; `phases` those that each was told by, both JSON."""

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("result_id", ForeignKey("results.id")),
    Column("study_result_id", ForeignKey("study_results.id")),
    Column("study_instance_uid", String(64), nullable=False, index=True),
    Column("destination", String(64), nullable=False),
    Column("kind", Choice(ArtefactKind, 24), nullable=False),
    Column("page", Integer, nullable=False, default=1),
    Column("identifier", String(128), nullable=False, index=True),
    Column("digest", String(64), nullable=False, index=True),
    *_job_columns(),
    Column("sent_class_uid", String(64), nullable=False, default=""),
    Column("sent_uid", String(64), nullable=False, default="", index=True),
    Column("transaction_uid", String(64), nullable=False, default="", index=True),
    Column("refuted", Integer, nullable=False, default=0),
    Column("refusals", Integer, nullable=False, default=0),
    Column("refused_since", Instant),
    Column("refused_in", Integer),
    Column("stored_at", Instant),
    Column("stored_after", Integer, nullable=False, default=0),
    Column("unanswered_at", Instant),
    Column("proven_at", Instant),
    UniqueConstraint("result_id", "destination", "kind", "page"),
    UniqueConstraint("study_result_id", "destination", "kind", "page"),
    Index(None, "destination", "state", "stored_at", "id"),  # what is sent next, without a sort
    Index(None, "destination", "state", "not_before"),
    Index(None, "destination", "state", "finished_at"),  # when the destination took the last one
    Index(None, "state", "code", "destination", "id"),
    Index(None, "state", "finished_at", "destination"),
)
"""One artefact to one destination, of a radiograph's result or of a study's; a withdrawal belongs to neither.

`page` counts from 1 the artefacts of one kind that one result has. A PACS has the artefact as `sent_uid` of
`sent_class_uid` since `stored_at`, later than the request for storage commitment `stored_after`. `transaction_uid` is
the newest such request, `unanswered_at` the time of the newest question for proof that no result came to, `proven_at`
the time at which the PACS vouched for the artefact. `refuted` counts how often the PACS lacked an artefact that it had
stored, `refusals` how often the peer refused it since `refused_since`; `refused_in` is `destinations.recoveries` at the
newest refusal.
"""

commitments = Table(
    "commitments",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("transaction_uid", String(64), nullable=False, unique=True),
    Column("destination", String(64), nullable=False),
    Column("asked_at", Instant, nullable=False),
    sqlite_autoincrement=True,  # an id is never used again: deliveries are compared with it
)
"""Requests for storage commitment: the result of one may come after the next request."""

destinations = Table(
    "destinations",
    metadata,
    Column("destination", String(64), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("pauses", Integer, nullable=False),
    Column("recoveries", Integer, nullable=False),
    Column("is_away", Boolean, nullable=False),
    Column("paused_until", Instant),
    Column("held_up_to", Integer, nullable=False),
    Column("code", Choice(ReasonCode, 64), nullable=False),
    Column("reason", Text, nullable=False),
)
"""The state of destinations that failed once; see `appliance.storage.destinations`."""

holds = Table(
    "holds",
    metadata,
    Column("destination", String(64), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("since", Instant, nullable=False),
)
"""Destinations that nothing leaves for; see `appliance.storage.gate`."""

trials = Table(
    "trials",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("owner", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("result_digest", String(64), nullable=False, default=""),
    Column("picture_digest", String(64), nullable=False, default=""),
    *_job_columns(),
)
"""Trials, a few at a time and each for minutes; see `appliance.storage.trials`. No other table refers to them."""

radiologist_reports = Table(
    "radiologist_reports",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sending_application", String(227), nullable=False),
    Column("sending_facility", String(227), nullable=False),
    Column("control_id", String(199), nullable=False),
    Column("digest", String(64), nullable=False, index=True),
    Column("accession_number", String(64), nullable=False, index=True),
    Column("study_instance_uid", String(64), nullable=False, index=True),
    Column("result_status", String(1), nullable=False, index=True),
    Column("matched_study_instance_uid", String(64), nullable=False, default="", index=True),
    Column("received_at", Instant, nullable=False),
    Column("pruned_at", Instant),
    UniqueConstraint("sending_application", "control_id", "digest"),
)
"""Radiologist reports received over HL7, each message in the spool until it is pruned.

`matched_study_instance_uid` names one of our studies; it is empty if none was known when the report came.
"""

roles = Table(
    "roles",
    metadata,
    Column("host", String(64), primary_key=True),
    Column("role", String(16), primary_key=True),
    Column("pid", Integer, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("beat_at", Instant, nullable=False),
    Column("boot_id", String(36), nullable=False),
    Column("uptime_s", Float(53), nullable=False),
    Column("detail", Text, nullable=False, default=""),
    Column("starts", Integer, nullable=False, default=1),
    Column("failure", Text, nullable=False, default=""),
    Column("configuration", Choice(ConfigurationState, 16), nullable=False, default=ConfigurationState.CURRENT),
)
"""The newest heartbeat of each role on each machine: several may share the database.

`boot_id` and `uptime_s` give its time by the clock that never steps; see `appliance.clock`. `starts` counts the starts
in a row without ten minutes of work between them, and `failure` is the reason why the last one ended.
"""

clock_steps = Table(
    "clock_steps",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("step_s", Float(53), nullable=False),
    Column("at", Instant, nullable=False),
    Column("boot_id", String(36), nullable=False, index=True),
    Column("uptime_s", Float(53), nullable=False),
)
"""Steps of the wall clock; see `appliance.storage.clock_steps`."""

notices = Table(
    "notices",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("subject", Choice(Subject, 16), nullable=False),
    Column("code", Choice(ReasonCode, 64), nullable=False),
    Column("reason", String(256), nullable=False),
    Column("calling_ae_title", String(16), nullable=False),
    Column("called_ae_title", String(16), nullable=False),
    Column("address", String(45), nullable=False),
    Column("times", Integer, nullable=False),
    Column("turn", Integer, nullable=False),
    Column("first_at", Instant, nullable=False),
    Column("last_at", Instant, nullable=False),
    UniqueConstraint("code", "reason", "calling_ae_title", "called_ae_title", "address"),
)
"""`turn` counts the notices that were written: the highest came last, whatever the clock."""

audit = Table(
    "audit",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", Instant, nullable=False),
    Column("person", String(128), nullable=False),
    Column("door", Choice(Door, 16), nullable=False),
    Column("action", Choice(AuditAction, 32), nullable=False),
    Column("subject", String(128), nullable=False),
    Column("detail", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("previous", String(64), nullable=False, unique=True),
    Column("digest", String(64), nullable=False),
)
"""The audit log, which triggers keep from every change; see `appliance.storage.audit`."""

accounts = Table(
    "accounts",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("role", Choice(AccountRole, 16), nullable=False),
    Column("password_hash", String(256), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("changed_at", Instant, nullable=False),
)
"""The accounts of the page; `password_hash` is Argon2's, with its parameters and its salt."""

sign_ins = Table(
    "sign_ins",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("account", ForeignKey("accounts.name"), nullable=False, index=True),
    Column("created_at", Instant, nullable=False, index=True),
    Column("seen_at", Instant, nullable=False),
)
"""Sessions of the page. `digest` is the SHA-256 of the token in the cookie: the table opens no session."""

alarms = Table(
    "alarms",
    metadata,
    Column("host", String(64), primary_key=True),
    Column("condition", String(128), primary_key=True),
    Column("since", Instant, nullable=False),
    Column("met_since", Instant),
    Column("told", Choice(Severity, 8)),
    Column("told_at", Instant),
    Column("gravest", Choice(Severity, 8)),
)
"""The conditions of each machine that are broken, or were a moment ago; see `appliance.domain.alarm`."""

alarm_events = Table(
    "alarm_events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("host", String(64), nullable=False),
    Column("at", Instant, nullable=False),
    Column("kind", Choice(EventKind, 16), nullable=False),
    Column("condition", String(128), nullable=False),
    Column("severity", Choice(Severity, 8), nullable=False),
    Column("since", Instant, nullable=False),
    Column("sentence", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("command", Text, nullable=False),
    Index(None, "host", "id"),
    sqlite_autoincrement=True,  # an id is never used again: the progress of channels is compared with it
)
"""Messages about conditions; see `appliance.storage.alarms`."""

alarm_channels = Table(
    "alarm_channels",
    metadata,
    Column("host", String(64), primary_key=True),
    Column("channel", Choice(Channel, 16), primary_key=True),
    Column("sent_up_to", Integer, nullable=False),
    Column("sending_up_to", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("failing_since", Instant),
    Column("tried_at", Instant),
)
"""The progress of each channel of alarms: the id of the newest event that was sent."""

failed_attempts = Table(
    "failed_attempts",
    metadata,
    Column("queue", String(64), primary_key=True),
    Column("code", Choice(ReasonCode, 64), primary_key=True),
    Column("times", Integer, nullable=False),
)
"""Attempts that failed, by reason code: of analyses, of studies, and of deliveries by the name of the destination."""

rechecks = Table(
    "rechecks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("software_version", String(32), nullable=False),
    Column("compute", String(255), nullable=False),
    Column("pack_digest", String(64), nullable=False),
    Column("compared", Integer, nullable=False),
    Column("unreadable", Integer, nullable=False),
    Column("differing", Integer, nullable=False),
    Column("largest_difference", Float(53), nullable=False),
    Column("is_within", Boolean),
    Column("checked_at", Instant, nullable=False),
    Index(None, "software_version", "compute", "pack_digest"),
)
"""Each software and hardware that a pack has computed with here, and how its answers to kept radiographs compared.

`is_within` is null until the comparison has ended.
"""

phases = Table(
    "phases",
    metadata,
    Column("site", Choice(Site, 16), primary_key=True),
    Column("phase", Choice(Phase, 16), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("since", Instant, nullable=False),
    Column("person", String(128), nullable=False),
    Column("reason", Text, nullable=False),
    Column("is_revoked", Boolean, nullable=False, default=False),
    Column("validate_after", Instant),
    Column("engine_after", Integer, nullable=False, default=0),
)
"""The phase of each site that an engine has served; see `appliance.storage.phases`. The audit log has its history.

`validate_after` is the time of its last step back, before which no validation counts; null without one.
`engine_after` is the id of the newest result that an earlier engine of the site may have made.
"""

traits = Table(
    "traits",
    metadata,
    Column("result_id", ForeignKey("results.id"), primary_key=True),
    Column("header_site", String(16), nullable=False, index=True),
    Column("found_site", String(16), nullable=False),
    Column("phase", Choice(Phase, 16), nullable=False),
    Column("probability", Float(53)),
    Column("age_band", String(8), nullable=False),
    Column("view", String(16), nullable=False),
    Column("device", String(64), nullable=False),
    Column("grey_mean", Float(53)),
    Column("grey_spread", Float(53)),
    Column("detail", Float(53)),
    Column("has_burned_in_text", Boolean, nullable=False, default=False),
    Column("created_at", Instant, nullable=False, index=True),
)
"""Facts about each result for subgroups and drift, without identity; see `appliance.storage.traits`.

`header_site` is the one site that the header names, `found_site` that of the gravest finding; each may be empty.
`probability` is the highest of the findings; null without one. `device` is manufacturer and model. The grey values are
those of the displayed radiograph, 0 to 1; null if it has no pixels.
"""

validations = Table(
    "validations",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", Choice(SampleKind, 16), nullable=False),
    Column("sites", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("share", Float(53), nullable=False),
    Column("secret", String(64), nullable=False),
    Column("fingerprints", Text, nullable=False),
    Column("person", String(128), nullable=False),
    Column("reason", Text, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("ended_at", Instant),
)
"""Validations; at most one of each kind is open. `sites` are comma-separated, `fingerprints` JSON by site.

`share` is the share of patients that are drawn, `secret` the key of the hash that draws them.
"""

draws = Table(
    "draws",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("validation_id", ForeignKey("validations.id"), nullable=False, index=True),
    Column("patient_digest", String(64), nullable=False),
    Column("study_instance_uid", String(64), nullable=False, index=True),
    Column("result_id", ForeignKey("results.id"), nullable=False, index=True),
    Column("site", Choice(Site, 16), nullable=False),
    Column("rank", String(64), nullable=False),
    Column("is_blinded", Boolean, nullable=False),
    Column("drawn_at", Instant, nullable=False),
    UniqueConstraint("validation_id", "patient_digest"),
)
"""The radiographs of a sample, one a patient: of the radiographs of a drawn study the one with the lowest `rank`.

`is_blinded` tells that no answer about the study had left the box.
"""

reads = Table(
    "reads",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("draw_id", ForeignKey("draws.id"), nullable=False, unique=True),
    Column("reader", String(128), nullable=False),
    Column("source", Choice(ReadSource, 8), nullable=False),
    Column("answer", Choice(ReadAnswer, 16), nullable=False),
    Column("box", Text, nullable=False, default=""),
    Column("marks", Text, nullable=False, default=""),
    Column("is_blinded", Boolean, nullable=False),
    Column("read_at", Instant, nullable=False),
)
"""Reads of drawn radiographs. `box` is JSON ``[x0, y0, x1, y1]`` in pixels as received, `marks` are comma-separated."""

conclusions = Table(
    "conclusions",
    metadata,
    Column("report_id", ForeignKey("radiologist_reports.id"), primary_key=True),
    Column("conclusion", Choice(Conclusion, 16), nullable=False),
    Column("concluded_by", Choice(ConcludedBy, 16), nullable=False),
    Column("person", String(128), nullable=False, default=""),
    Column("at", Instant, nullable=False),
)
"""A fracture or none, by the final report of a radiologist; its text stays in the spool."""

decisions = Table(
    "decisions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_instance_uid", String(64), nullable=False, index=True),
    Column("study_result_id", ForeignKey("study_results.id"), nullable=False),
    Column("decision", Choice(Decision, 16), nullable=False),
    Column("source", Choice(DecisionSource, 8), nullable=False),
    Column("person", String(128), nullable=False, default=""),
    Column("key", String(64), nullable=False, unique=True),
    Column("at", Instant, nullable=False),
)
"""Decisions of radiologists about reports, never overwritten. `key` is the digest of the message, SR or link."""

drift_windows = Table(
    "drift_windows",
    metadata,
    Column("site", Choice(Site, 16), primary_key=True),
    Column("figure", String(16), primary_key=True),
    Column("last_result_id", ForeignKey("results.id"), primary_key=True),
    Column("size", Integer, nullable=False),
    Column("reference_size", Integer, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("ended_at", Instant, nullable=False),
    Column("psi", Float(53), nullable=False),
    Column("p_value", Float(53), nullable=False),
    Column("is_drift", Boolean, nullable=False),
)
"""Windows of radiographs of a site, each figure compared with its reference; see `appliance.storage.drift`."""
