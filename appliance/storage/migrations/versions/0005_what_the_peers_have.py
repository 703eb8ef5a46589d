"""What the peers have: under which UID, since when, and whether they vouch for it; and what is held back"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    with op.batch_alter_table("deliveries", schema=None) as batch_op:
        for name in ("sent_class_uid", "sent_uid", "transaction_uid"):
            batch_op.add_column(sa.Column(name, sa.String(length=64), nullable=False, server_default=""))
        for name in ("stored_at", "proven_at"):
            batch_op.add_column(sa.Column(name, sa.Float(53), nullable=True))
        for name in ("sent_uid", "transaction_uid"):
            batch_op.create_index(batch_op.f(f"ix_deliveries_{name}"), [name], unique=False)
    op.create_table(
        "holds",
        sa.Column("destination", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("destination", name=op.f("pk_holds")),
    )
