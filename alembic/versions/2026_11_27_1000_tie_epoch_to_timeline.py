"""Tie the event stream's epoch to PostgreSQL's timeline, and add the timeline to each event."""

import sqlalchemy as sa
from alembic import op

revision = "0011_epoch_of_timeline"
down_revision = "0010_refine_ai_tasks"
branch_labels = None
depends_on = None


class Xid8(sa.types.UserDefinedType[int]):
    """PostgreSQL's type of transaction ids."""

    def get_col_spec(self, **_: object) -> str:
        return "xid8"


# The current timeline, from the WAL: the checkpoint's stays the old one until the first checkpoint after a promotion. A
# server in recovery writes no WAL. Volatile, so that the function is inlined into the statements that use it.
TIMELINE = """
CREATE FUNCTION crm_timeline() RETURNS integer LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
  SELECT CASE WHEN NOT pg_is_in_recovery()
    THEN ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::integer END
$$
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.execute(TIMELINE)
    # A constant default first: with a default computed per row the whole table would be rewritten.
    timeline = int(op.get_bind().execute(sa.text("SELECT crm_timeline()")).scalar_one())
    for table in ("events", "event_epoch"):
        op.add_column(table, sa.Column("timeline", sa.Integer(), server_default=sa.text(str(timeline)), nullable=False))
        op.alter_column(table, "timeline", server_default=sa.text("crm_timeline()"))
    op.add_column("events", sa.Column("horizon", Xid8(), server_default=sa.text("'0'"), nullable=False))
    op.alter_column("events", "horizon", server_default=sa.text("pg_snapshot_xmin(pg_current_snapshot())"))
    op.create_table(
        "event_forks",
        sa.Column("epoch", sa.Uuid(), nullable=False),
        sa.Column("successor", sa.Uuid(), nullable=False),
        sa.Column("kept_xid", Xid8(), nullable=False),
        sa.Column("forked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("epoch", name=op.f("event_forks_pkey")),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.drop_table("event_forks")
    op.drop_column("events", "horizon")
    op.drop_column("events", "timeline")
    op.drop_column("event_epoch", "timeline")
    op.execute("DROP FUNCTION crm_timeline()")
