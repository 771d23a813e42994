"""Add the job queue (procrastinate 3.10) and the positions of event consumers."""

import sqlalchemy as sa
from alembic import op
from procrastinate.schema import SchemaManager

revision = "0005_jobs"
down_revision = "0004_ai_calls"
branch_labels = None
depends_on = None


class Xid8(sa.types.UserDefinedType[int]):
    """PostgreSQL's type of transaction ids."""

    def get_col_spec(self, **_: object) -> str:
        return "xid8"


# Drops what procrastinate's schema.sql creates. A later release of procrastinate changes it by numbered files (its
# `sql/migrations`): then add a revision per release, and put a copy of 3.10's schema.sql here instead of the import.
DROP_PROCRASTINATE = """
DO $$
DECLARE
  made record;
BEGIN
  FOR made IN SELECT oid::regprocedure AS name FROM pg_proc
    WHERE proname LIKE 'procrastinate\\_%' AND pronamespace = current_schema()::regnamespace
  LOOP
    EXECUTE 'DROP FUNCTION ' || made.name || ' CASCADE';
  END LOOP;
  DROP TABLE procrastinate_periodic_defers, procrastinate_events, procrastinate_jobs, procrastinate_workers;
  DROP TYPE procrastinate_job_to_defer_v1, procrastinate_job_status, procrastinate_job_event_type;
END $$
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.get_bind().exec_driver_sql(SchemaManager.get_schema().replace("%", "%%"))
    # Rows of these tables live for seconds: vacuum them often.
    for table in ("procrastinate_jobs", "procrastinate_events"):
        op.execute(
            f"ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500)"
        )
    op.create_table(
        "event_followers",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("xid", Xid8(), nullable=False),
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=True),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("retry_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("skipped", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("event_followers_pkey")),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.drop_table("event_followers")
    op.execute(DROP_PROCRASTINATE)
