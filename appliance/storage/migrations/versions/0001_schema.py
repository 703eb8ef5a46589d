"""The schema: every table with its indexes and constraints."""

import sqlalchemy as sa
from alembic import op

from appliance.storage.append_only import APPEND_ONLY, trigger_statements

revision = "0001"
down_revision = None


def upgrade() -> None:  # noqa: PLR0915  one statement a table
    op.create_table(
        "clock_steps",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("step_s", sa.Float(53), nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("boot_id", sa.String(length=36), nullable=False),
        sa.Column("uptime_s", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clock_steps")),
    )
    op.create_index(op.f("ix_clock_steps_boot_id"), "clock_steps", ["boot_id"], unique=False)
    op.create_table(
        "commitments",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("transaction_uid", sa.String(length=64), nullable=False),
        sa.Column("destination", sa.String(length=64), nullable=False),
        sa.Column("asked_at", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commitments")),
        sa.UniqueConstraint("transaction_uid", name=op.f("uq_commitments_transaction_uid")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "destinations",
        sa.Column("destination", sa.String(length=64), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("pauses", sa.Integer(), nullable=False),
        sa.Column("recoveries", sa.Integer(), nullable=False),
        sa.Column("is_away", sa.Boolean(), nullable=False),
        sa.Column("paused_until", sa.Float(53), nullable=True),
        sa.Column("held_up_to", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("destination", name=op.f("pk_destinations")),
    )
    op.create_table(
        "holds",
        sa.Column("destination", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("destination", name=op.f("pk_holds")),
    )
    op.create_table(
        "instances",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("sop_class_uid", sa.String(length=64), nullable=False),
        sa.Column("transfer_syntax_uid", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("calling_ae_title", sa.String(length=16), nullable=False),
        sa.Column("receipt", sa.Integer(), nullable=False),
        sa.Column("received_at", sa.Float(53), nullable=False),
        sa.Column("pruned_at", sa.Float(53), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instances")),
        sa.UniqueConstraint("sop_instance_uid", "digest", name=op.f("uq_instances_sop_instance_uid_digest")),
        sa.UniqueConstraint("sop_instance_uid", "receipt", name=op.f("uq_instances_sop_instance_uid_receipt")),
    )
    op.create_index(op.f("ix_instances_digest"), "instances", ["digest"], unique=False)
    op.create_index(op.f("ix_instances_received_at"), "instances", ["received_at"], unique=False)
    op.create_table(
        "notices",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("subject", sa.String(length=16), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.String(length=256), nullable=False),
        sa.Column("calling_ae_title", sa.String(length=16), nullable=False),
        sa.Column("called_ae_title", sa.String(length=16), nullable=False),
        sa.Column("address", sa.String(length=45), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("first_at", sa.Float(53), nullable=False),
        sa.Column("last_at", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices")),
        sa.UniqueConstraint(
            "code",
            "reason",
            "calling_ae_title",
            "called_ae_title",
            "address",
            name=op.f("uq_notices_code_reason_calling_ae_title_called_ae_title_address"),
        ),
    )
    op.create_table(
        "radiologist_reports",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sending_application", sa.String(length=227), nullable=False),
        sa.Column("sending_facility", sa.String(length=227), nullable=False),
        sa.Column("control_id", sa.String(length=199), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("accession_number", sa.String(length=64), nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("result_status", sa.String(length=1), nullable=False),
        sa.Column("matched_study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("received_at", sa.Float(53), nullable=False),
        sa.Column("pruned_at", sa.Float(53), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_radiologist_reports")),
        sa.UniqueConstraint(
            "sending_application",
            "control_id",
            "digest",
            name=op.f("uq_radiologist_reports_sending_application_control_id_digest"),
        ),
    )
    op.create_index(
        op.f("ix_radiologist_reports_accession_number"), "radiologist_reports", ["accession_number"], unique=False
    )
    op.create_index(op.f("ix_radiologist_reports_digest"), "radiologist_reports", ["digest"], unique=False)
    op.create_index(
        op.f("ix_radiologist_reports_matched_study_instance_uid"),
        "radiologist_reports",
        ["matched_study_instance_uid"],
        unique=False,
    )
    op.create_index(
        op.f("ix_radiologist_reports_result_status"), "radiologist_reports", ["result_status"], unique=False
    )
    op.create_index(
        op.f("ix_radiologist_reports_study_instance_uid"), "radiologist_reports", ["study_instance_uid"], unique=False
    )
    op.create_table(
        "alarms",
        sa.Column("host", sa.String(length=64), nullable=False),
        sa.Column("condition", sa.String(length=128), nullable=False),
        sa.Column("since", sa.Float(53), nullable=False),
        sa.Column("met_since", sa.Float(53), nullable=True),
        sa.Column("told", sa.String(length=8), nullable=True),
        sa.Column("told_at", sa.Float(53), nullable=True),
        sa.Column("gravest", sa.String(length=8), nullable=True),
        sa.PrimaryKeyConstraint("host", "condition", name=op.f("pk_alarms")),
    )
    op.create_table(
        "alarm_events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("host", sa.String(length=64), nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("condition", sa.String(length=128), nullable=False),
        sa.Column("severity", sa.String(length=8), nullable=False),
        sa.Column("since", sa.Float(53), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alarm_events")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_alarm_events_host_id"), "alarm_events", ["host", "id"], unique=False)
    op.create_table(
        "alarm_channels",
        sa.Column("host", sa.String(length=64), nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("sent_up_to", sa.Integer(), nullable=False),
        sa.Column("sending_up_to", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("failing_since", sa.Float(53), nullable=True),
        sa.Column("tried_at", sa.Float(53), nullable=True),
        sa.PrimaryKeyConstraint("host", "channel", name=op.f("pk_alarm_channels")),
    )
    op.create_table(
        "failed_attempts",
        sa.Column("queue", sa.String(length=64), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("queue", "code", name=op.f("pk_failed_attempts")),
    )
    op.create_table(
        "roles",
        sa.Column("host", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.Float(53), nullable=False),
        sa.Column("beat_at", sa.Float(53), nullable=False),
        sa.Column("boot_id", sa.String(length=36), nullable=False),
        sa.Column("uptime_s", sa.Float(53), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("starts", sa.Integer(), nullable=False),
        sa.Column("failure", sa.Text(), nullable=False),
        sa.Column("configuration", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("host", "role", name=op.f("pk_roles")),
    )
    op.create_table(
        "studies",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("delays", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.Float(53), nullable=False),
        sa.Column("lease_owner", sa.String(length=128), nullable=True),
        sa.Column("lease_until", sa.Float(53), nullable=True),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("finished_at", sa.Float(53), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_studies")),
        sa.UniqueConstraint("study_instance_uid", name=op.f("uq_studies_study_instance_uid")),
    )
    op.create_index(op.f("ix_studies_state_not_before"), "studies", ["state", "not_before"], unique=False)
    op.create_index(op.f("ix_studies_state_code_id"), "studies", ["state", "code", "id"], unique=False)
    op.create_index(op.f("ix_studies_state_finished_at"), "studies", ["state", "finished_at"], unique=False)
    op.create_table(
        "trials",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("result_digest", sa.String(length=64), nullable=False),
        sa.Column("picture_digest", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("delays", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.Float(53), nullable=False),
        sa.Column("lease_owner", sa.String(length=128), nullable=True),
        sa.Column("lease_until", sa.Float(53), nullable=True),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("finished_at", sa.Float(53), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trials")),
        sa.UniqueConstraint("name", name=op.f("uq_trials_name")),
    )
    op.create_table(
        "analyses",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("instance_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("delays", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.Float(53), nullable=False),
        sa.Column("lease_owner", sa.String(length=128), nullable=True),
        sa.Column("lease_until", sa.Float(53), nullable=True),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("finished_at", sa.Float(53), nullable=True),
        sa.ForeignKeyConstraint(["instance_id"], ["instances.id"], name=op.f("fk_analyses_instance_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_analyses")),
        sa.UniqueConstraint("instance_id", name=op.f("uq_analyses_instance_id")),
    )
    op.create_index(op.f("ix_analyses_state_id"), "analyses", ["state", "id"], unique=False)
    op.create_index(op.f("ix_analyses_state_not_before"), "analyses", ["state", "not_before"], unique=False)
    op.create_index(
        op.f("ix_analyses_state_attempts_created_at"), "analyses", ["state", "attempts", "created_at"], unique=False
    )
    op.create_index(op.f("ix_analyses_state_code_id"), "analyses", ["state", "code", "id"], unique=False)
    op.create_index(op.f("ix_analyses_state_finished_at"), "analyses", ["state", "finished_at"], unique=False)
    op.create_table(
        "study_results",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("result_ids", sa.Text(), nullable=False),
        sa.Column("phases", sa.Text(), nullable=False),
        sa.Column("left_out", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_study_results_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_study_results")),
        sa.UniqueConstraint("study_id", "revision", name=op.f("uq_study_results_study_id_revision")),
    )
    op.create_table(
        "results",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("analysis_id", sa.Integer(), nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("answer", sa.String(length=16), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.Column("source_digest", sa.String(length=64), nullable=False),
        sa.Column("picture_digest", sa.String(length=64), nullable=False),
        sa.Column("patient_digest", sa.String(length=64), nullable=False),
        sa.Column("phases", sa.Text(), nullable=False),
        sa.Column("taken_back_at", sa.Float(53), nullable=True),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.ForeignKeyConstraint(["analysis_id"], ["analyses.id"], name=op.f("fk_results_analysis_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_results")),
    )
    op.create_index(op.f("ix_results_analysis_id"), "results", ["analysis_id"], unique=False)
    op.create_index(op.f("ix_results_picture_digest"), "results", ["picture_digest"], unique=False)
    op.create_index(op.f("ix_results_sop_instance_uid"), "results", ["sop_instance_uid"], unique=False)
    op.create_index(op.f("ix_results_study_instance_uid"), "results", ["study_instance_uid"], unique=False)
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("result_id", sa.Integer(), nullable=True),
        sa.Column("study_result_id", sa.Integer(), nullable=True),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("destination", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("page", sa.Integer(), nullable=False),
        sa.Column("identifier", sa.String(length=128), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("delays", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.Float(53), nullable=False),
        sa.Column("lease_owner", sa.String(length=128), nullable=True),
        sa.Column("lease_until", sa.Float(53), nullable=True),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("finished_at", sa.Float(53), nullable=True),
        sa.Column("sent_class_uid", sa.String(length=64), nullable=False),
        sa.Column("sent_uid", sa.String(length=64), nullable=False),
        sa.Column("transaction_uid", sa.String(length=64), nullable=False),
        sa.Column("refuted", sa.Integer(), nullable=False),
        sa.Column("refusals", sa.Integer(), nullable=False),
        sa.Column("refused_since", sa.Float(53), nullable=True),
        sa.Column("refused_in", sa.Integer(), nullable=True),
        sa.Column("stored_at", sa.Float(53), nullable=True),
        sa.Column("stored_after", sa.Integer(), nullable=False),
        sa.Column("unanswered_at", sa.Float(53), nullable=True),
        sa.Column("proven_at", sa.Float(53), nullable=True),
        sa.ForeignKeyConstraint(["result_id"], ["results.id"], name=op.f("fk_deliveries_result_id")),
        sa.ForeignKeyConstraint(["study_result_id"], ["study_results.id"], name=op.f("fk_deliveries_study_result_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint(
            "result_id", "destination", "kind", "page", name=op.f("uq_deliveries_result_id_destination_kind_page")
        ),
        sa.UniqueConstraint(
            "study_result_id",
            "destination",
            "kind",
            "page",
            name=op.f("uq_deliveries_study_result_id_destination_kind_page"),
        ),
    )
    op.create_index(
        op.f("ix_deliveries_destination_state_finished_at"),
        "deliveries",
        ["destination", "state", "finished_at"],
    )
    op.create_index(
        op.f("ix_deliveries_destination_state_not_before"),
        "deliveries",
        ["destination", "state", "not_before"],
        unique=False,
    )
    op.create_index(
        op.f("ix_deliveries_destination_state_stored_at_id"),
        "deliveries",
        ["destination", "state", "stored_at", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_deliveries_state_code_destination_id"),
        "deliveries",
        ["state", "code", "destination", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_deliveries_state_finished_at_destination"),
        "deliveries",
        ["state", "finished_at", "destination"],
        unique=False,
    )
    op.create_index(op.f("ix_deliveries_digest"), "deliveries", ["digest"], unique=False)
    op.create_index(op.f("ix_deliveries_identifier"), "deliveries", ["identifier"], unique=False)
    op.create_index(op.f("ix_deliveries_sent_uid"), "deliveries", ["sent_uid"], unique=False)
    op.create_index(op.f("ix_deliveries_study_instance_uid"), "deliveries", ["study_instance_uid"], unique=False)
    op.create_index(op.f("ix_deliveries_transaction_uid"), "deliveries", ["transaction_uid"], unique=False)
    op.create_table(
        "accounts",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("password_hash", sa.String(length=256), nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("changed_at", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_accounts")),
    )
    op.create_table(
        "sign_ins",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("seen_at", sa.Float(53), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["accounts.name"], name=op.f("fk_sign_ins_account")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_sign_ins")),
    )
    op.create_index(op.f("ix_sign_ins_account"), "sign_ins", ["account"], unique=False)
    op.create_index(op.f("ix_sign_ins_created_at"), "sign_ins", ["created_at"], unique=False)
    op.create_table(
        "audit",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("person", sa.String(length=128), nullable=False),
        sa.Column("door", sa.String(length=16), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=128), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit")),
        sa.UniqueConstraint("previous", name=op.f("uq_audit_previous")),
    )
    op.create_table(
        "rechecks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("software_version", sa.String(length=32), nullable=False),
        sa.Column("compute", sa.String(length=255), nullable=False),
        sa.Column("pack_digest", sa.String(length=64), nullable=False),
        sa.Column("compared", sa.Integer(), nullable=False),
        sa.Column("unreadable", sa.Integer(), nullable=False),
        sa.Column("differing", sa.Integer(), nullable=False),
        sa.Column("largest_difference", sa.Float(53), nullable=False),
        sa.Column("is_within", sa.Boolean(), nullable=True),
        sa.Column("checked_at", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rechecks")),
    )
    op.create_index(
        op.f("ix_rechecks_software_version_compute_pack_digest"),
        "rechecks",
        ["software_version", "compute", "pack_digest"],
        unique=False,
    )
    op.create_table(
        "phases",
        sa.Column("site", sa.String(length=16), nullable=False),
        sa.Column("phase", sa.String(length=16), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("since", sa.Float(53), nullable=False),
        sa.Column("person", sa.String(length=128), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("is_revoked", sa.Boolean(), nullable=False),
        sa.Column("validate_after", sa.Float(53), nullable=True),
        sa.Column("engine_after", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("site", name=op.f("pk_phases")),
    )
    op.create_table(
        "traits",
        sa.Column("result_id", sa.Integer(), nullable=False),
        sa.Column("header_site", sa.String(length=16), nullable=False),
        sa.Column("found_site", sa.String(length=16), nullable=False),
        sa.Column("phase", sa.String(length=16), nullable=False),
        sa.Column("probability", sa.Float(53), nullable=True),
        sa.Column("age_band", sa.String(length=8), nullable=False),
        sa.Column("view", sa.String(length=16), nullable=False),
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("grey_mean", sa.Float(53), nullable=True),
        sa.Column("grey_spread", sa.Float(53), nullable=True),
        sa.Column("detail", sa.Float(53), nullable=True),
        sa.Column("has_burned_in_text", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.ForeignKeyConstraint(["result_id"], ["results.id"], name=op.f("fk_traits_result_id")),
        sa.PrimaryKeyConstraint("result_id", name=op.f("pk_traits")),
    )
    op.create_index(op.f("ix_traits_created_at"), "traits", ["created_at"], unique=False)
    op.create_index(op.f("ix_traits_header_site"), "traits", ["header_site"], unique=False)
    op.create_table(
        "validations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("sites", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("share", sa.Float(53), nullable=False),
        sa.Column("secret", sa.String(length=64), nullable=False),
        sa.Column("fingerprints", sa.Text(), nullable=False),
        sa.Column("person", sa.String(length=128), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("started_at", sa.Float(53), nullable=False),
        sa.Column("ended_at", sa.Float(53), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_validations")),
    )
    op.create_table(
        "draws",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("validation_id", sa.Integer(), nullable=False),
        sa.Column("patient_digest", sa.String(length=64), nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("result_id", sa.Integer(), nullable=False),
        sa.Column("site", sa.String(length=16), nullable=False),
        sa.Column("rank", sa.String(length=64), nullable=False),
        sa.Column("is_blinded", sa.Boolean(), nullable=False),
        sa.Column("drawn_at", sa.Float(53), nullable=False),
        sa.ForeignKeyConstraint(["validation_id"], ["validations.id"], name=op.f("fk_draws_validation_id")),
        sa.ForeignKeyConstraint(["result_id"], ["results.id"], name=op.f("fk_draws_result_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_draws")),
        sa.UniqueConstraint("validation_id", "patient_digest", name=op.f("uq_draws_validation_id_patient_digest")),
    )
    op.create_index(op.f("ix_draws_result_id"), "draws", ["result_id"], unique=False)
    op.create_index(op.f("ix_draws_study_instance_uid"), "draws", ["study_instance_uid"], unique=False)
    op.create_index(op.f("ix_draws_validation_id"), "draws", ["validation_id"], unique=False)
    op.create_table(
        "reads",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("draw_id", sa.Integer(), nullable=False),
        sa.Column("reader", sa.String(length=128), nullable=False),
        sa.Column("source", sa.String(length=8), nullable=False),
        sa.Column("answer", sa.String(length=16), nullable=False),
        sa.Column("box", sa.Text(), nullable=False),
        sa.Column("marks", sa.Text(), nullable=False),
        sa.Column("is_blinded", sa.Boolean(), nullable=False),
        sa.Column("read_at", sa.Float(53), nullable=False),
        sa.ForeignKeyConstraint(["draw_id"], ["draws.id"], name=op.f("fk_reads_draw_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reads")),
        sa.UniqueConstraint("draw_id", name=op.f("uq_reads_draw_id")),
    )
    op.create_table(
        "conclusions",
        sa.Column("report_id", sa.Integer(), nullable=False),
        sa.Column("conclusion", sa.String(length=16), nullable=False),
        sa.Column("concluded_by", sa.String(length=16), nullable=False),
        sa.Column("person", sa.String(length=128), nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.ForeignKeyConstraint(["report_id"], ["radiologist_reports.id"], name=op.f("fk_conclusions_report_id")),
        sa.PrimaryKeyConstraint("report_id", name=op.f("pk_conclusions")),
    )
    op.create_table(
        "decisions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("study_result_id", sa.Integer(), nullable=False),
        sa.Column("decision", sa.String(length=16), nullable=False),
        sa.Column("source", sa.String(length=8), nullable=False),
        sa.Column("person", sa.String(length=128), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.ForeignKeyConstraint(["study_result_id"], ["study_results.id"], name=op.f("fk_decisions_study_result_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
        sa.UniqueConstraint("key", name=op.f("uq_decisions_key")),
    )
    op.create_index(op.f("ix_decisions_study_instance_uid"), "decisions", ["study_instance_uid"], unique=False)
    op.create_table(
        "drift_windows",
        sa.Column("site", sa.String(length=16), nullable=False),
        sa.Column("figure", sa.String(length=16), nullable=False),
        sa.Column("last_result_id", sa.Integer(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("reference_size", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.Float(53), nullable=False),
        sa.Column("ended_at", sa.Float(53), nullable=False),
        sa.Column("psi", sa.Float(53), nullable=False),
        sa.Column("p_value", sa.Float(53), nullable=False),
        sa.Column("is_drift", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["last_result_id"], ["results.id"], name=op.f("fk_drift_windows_last_result_id")),
        sa.PrimaryKeyConstraint("site", "figure", "last_result_id", name=op.f("pk_drift_windows")),
    )
    for table in APPEND_ONLY:
        for statement in trigger_statements(op.get_bind().dialect.name, table):
            op.execute(statement)
