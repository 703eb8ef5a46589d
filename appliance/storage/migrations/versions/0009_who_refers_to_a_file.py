"""Which rows refer to a file of the spool, and the first radiograph, are found without reading whole tables"""

from alembic import op

revision = "0009"
down_revision = "0008"

INDEXED = (
    ("instances", "digest"),
    ("instances", "received_at"),
    ("results", "picture_digest"),
    ("deliveries", "digest"),
    ("reports_received", "digest"),
)


def upgrade() -> None:
    for table, column in INDEXED:
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column], unique=False)
