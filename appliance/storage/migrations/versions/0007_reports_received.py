"""Reports of radiologists that came over HL7"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "reports_received",
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
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reports_received")),
        sa.UniqueConstraint(
            "sending_application",
            "control_id",
            "digest",
            name=op.f("uq_reports_received_sending_application_control_id_digest"),
        ),
    )
    with op.batch_alter_table("reports_received", schema=None) as batch_op:
        for name in ("accession_number", "study_instance_uid"):
            batch_op.create_index(batch_op.f(f"ix_reports_received_{name}"), [name], unique=False)
