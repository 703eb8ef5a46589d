"""Reports of a study: when it has settled, what was said of it, and which study an answer is of"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    uid = sa.String(length=64)
    with op.batch_alter_table("results", schema=None) as batch_op:
        for name, type_ in (("sop_instance_uid", uid), ("study_instance_uid", uid), ("picture_digest", uid)):
            batch_op.add_column(sa.Column(name, type_, nullable=False, server_default=""))
        batch_op.create_index(batch_op.f("ix_results_study_instance_uid"), ["study_instance_uid"], unique=False)
    c = op.get_bind()
    results = sa.table("results", *(sa.column(n) for n in ("id", "record", "sop_instance_uid", "study_instance_uid")))
    for row in c.execute(sa.select(results.c.id, results.c.record)).all():
        record = json.loads(row.record)
        names = {name: record[name] for name in ("sop_instance_uid", "study_instance_uid")}
        c.execute(sa.update(results).where(results.c.id == row.id).values(**names))

    op.create_table(
        "studies",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_instance_uid", uid, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
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
    with op.batch_alter_table("studies", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_studies_state_not_before"), ["state", "not_before"], unique=False)
    ended = {"state": "done", "attempts": 0, "not_before": 0.0, "code": "", "reason": "", "created_at": 0.0}
    studies = sa.table("studies", *(sa.column(name) for name in ("study_instance_uid", *ended)))
    for (answered,) in c.execute(sa.select(results.c.study_instance_uid).distinct()).all():
        c.execute(sa.insert(studies).values(study_instance_uid=answered, **ended))
    op.create_table(
        "study_results",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("result_ids", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_study_results_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_study_results")),
        sa.UniqueConstraint("study_id", "revision", name=op.f("uq_study_results_study_id_revision")),
    )
    name = op.f("uq_deliveries_study_result_id_destination_kind")
    with op.batch_alter_table("deliveries", schema=None) as batch_op:
        batch_op.alter_column("result_id", existing_type=sa.Integer(), nullable=True)
        batch_op.add_column(sa.Column("study_result_id", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("study_instance_uid", uid, nullable=False, server_default=""))
        key = op.f("fk_deliveries_study_result_id")
        batch_op.create_foreign_key(key, "study_results", ["study_result_id"], ["id"])
        batch_op.create_unique_constraint(name, ["study_result_id", "destination", "kind"])
        batch_op.create_index(batch_op.f("ix_deliveries_study_instance_uid"), ["study_instance_uid"], unique=False)
    deliveries = sa.table("deliveries", sa.column("result_id"), sa.column("study_instance_uid"))
    of_result = sa.select(results.c.study_instance_uid).where(results.c.id == deliveries.c.result_id)
    c.execute(sa.update(deliveries).values(study_instance_uid=of_result.scalar_subquery()))
