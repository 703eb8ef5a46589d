"""What was answered: the digest by which an instance that comes again is known"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("results", sa.Column("source_digest", sa.String(length=64), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("results", "source_digest")
