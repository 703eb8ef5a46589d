"""Results: whose they are, as a digest, and when they were taken back, since when no report speaks of them"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    with op.batch_alter_table("results", schema=None) as batch_op:
        batch_op.add_column(sa.Column("patient_digest", sa.String(length=64), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("taken_back_at", sa.Float(53), nullable=True))
        name = batch_op.f("ix_results_sop_instance_uid")
        batch_op.create_index(name, ["sop_instance_uid"], unique=False)
