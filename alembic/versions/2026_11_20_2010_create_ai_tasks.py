"""Create the tables of AI tasks."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008_ai_tasks"
down_revision = "0007_scores"
branch_labels = None
depends_on = None

USD = sa.Numeric(precision=18, scale=10)
STATUSES = "status IN ('queued', 'running', 'retrying', 'completed', 'failed', 'cancelled', 'timed_out')"
OUTCOMES = "outcome IN ('completed', 'failed', 'timed_out', 'cancelled', 'postponed', 'released', 'lost')"
SOURCES = "cost_source IN ('provider', 'estimated', 'unknown')"


def moment(name: str, *, nullable: bool = True) -> sa.Column:
    default = None if nullable else sa.text("now()")
    return sa.Column(name, sa.DateTime(timezone=True), server_default=default, nullable=nullable)


def number(name: str, kind: sa.types.TypeEngine, default: str = "0") -> sa.Column:
    return sa.Column(name, kind, server_default=sa.text(default), nullable=False)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.create_table(
        "ai_tasks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("agent_id", sa.Text(), nullable=True),
        sa.Column("task_type", sa.Text(), nullable=False),
        sa.Column("priority", sa.Text(), server_default="normal", nullable=False),
        sa.Column("status", sa.Text(), server_default="queued", nullable=False),
        sa.Column("input", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("result", postgresql.JSONB(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        number("attempt", sa.Integer()),
        number("failures", sa.Integer()),
        number("max_retries", sa.Integer(), "3"),
        number("timeout_seconds", sa.Integer(), "60"),
        moment("scheduled_for"),
        moment("due_at", nullable=False),
        sa.Column("aged", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=True),
        sa.Column("lease_token", sa.Uuid(), nullable=True),
        moment("lease_expires_at"),
        number("progress", sa.Float()),
        number("tokens", sa.BigInteger()),
        number("cost_usd", USD),
        sa.Column("cost_source", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("quality_score", sa.Float(), nullable=True),
        sa.Column("lead_id", sa.Integer(), nullable=True),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        number("version", sa.Integer(), "1"),
        moment("created_at", nullable=False),
        moment("started_at"),
        moment("finished_at"),
        moment("updated_at", nullable=False),
        sa.CheckConstraint("priority IN ('low', 'normal', 'high', 'urgent')", name=op.f("ai_tasks_priority_known")),
        sa.CheckConstraint(STATUSES, name=op.f("ai_tasks_status_known")),
        sa.CheckConstraint(SOURCES, name=op.f("ai_tasks_cost_source_known")),
        sa.CheckConstraint("progress BETWEEN 0 AND 1", name=op.f("ai_tasks_progress_range")),
        sa.CheckConstraint("quality_score BETWEEN 0 AND 1", name=op.f("ai_tasks_quality_score_range")),
        sa.ForeignKeyConstraint(["lead_id"], ["leads.id"], name=op.f("ai_tasks_lead_id_fkey"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(
            ["created_by"], ["users.id"], name=op.f("ai_tasks_created_by_fkey"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("ai_tasks_pkey")),
        # Room in each page, so that leases are renewed in place.
        postgresql_with={"fillfactor": 70, "autovacuum_vacuum_scale_factor": 0.02},
    )
    op.create_index("ai_tasks_created_by_id_idx", "ai_tasks", ["created_by", "id"])
    op.create_index(
        "ai_tasks_lead_id_id_idx", "ai_tasks", ["lead_id", "id"], postgresql_where=sa.text("lead_id IS NOT NULL")
    )
    op.create_index(
        "ai_tasks_idempotency_key",
        "ai_tasks",
        ["created_by", "idempotency_key"],
        unique=True,
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )
    op.create_index(
        "ai_tasks_waiting_idx", "ai_tasks", ["due_at"], postgresql_where=sa.text("status IN ('queued', 'retrying')")
    )
    op.create_index(
        "ai_tasks_running_idx", "ai_tasks", ["lease_expires_at"], postgresql_where=sa.text("status = 'running'")
    )
    op.create_index(
        "ai_tasks_finished_at_idx",
        "ai_tasks",
        ["finished_at"],
        postgresql_where=sa.text("finished_at IS NOT NULL"),
    )
    op.create_table(
        "ai_task_attempts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        number("tokens", sa.BigInteger()),
        number("cost_usd", USD),
        sa.Column("cost_source", sa.Text(), nullable=True),
        moment("started_at", nullable=False),
        moment("finished_at"),
        sa.CheckConstraint(OUTCOMES, name=op.f("ai_task_attempts_outcome_known")),
        sa.CheckConstraint(SOURCES, name=op.f("ai_task_attempts_cost_source_known")),
        sa.ForeignKeyConstraint(
            ["task_id"], ["ai_tasks.id"], name=op.f("ai_task_attempts_task_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("ai_task_attempts_pkey")),
        postgresql_with={"fillfactor": 80},
    )
    op.create_index("ai_task_attempts_task_id_number_idx", "ai_task_attempts", ["task_id", "number"], unique=True)
    op.create_table(
        "ai_task_days",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("task_type", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        *(number(name, sa.BigInteger()) for name in ("tasks", "attempts", "tokens")),
        number("cost_usd", sa.Numeric(precision=24, scale=10)),
        *(number(name, sa.BigInteger()) for name in ("unpriced", "wait_ms", "run_ms", "rated")),
        number("quality", sa.Float()),
        sa.CheckConstraint(STATUSES, name=op.f("ai_task_days_status_known")),
        sa.PrimaryKeyConstraint("day", "task_type", "status", name=op.f("ai_task_days_pkey")),
    )
    op.add_column("ai_calls", sa.Column("ai_task_attempt_id", sa.Uuid(), nullable=True))
    op.create_index(
        "ai_calls_ai_task_attempt_id_idx",
        "ai_calls",
        ["ai_task_attempt_id"],
        postgresql_where=sa.text("ai_task_attempt_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.drop_index("ai_calls_ai_task_attempt_id_idx", "ai_calls")
    op.drop_column("ai_calls", "ai_task_attempt_id")
    op.drop_table("ai_task_days")
    op.drop_table("ai_task_attempts")
    op.drop_table("ai_tasks")
    # The jobs of AI tasks refer to the dropped rows.
    op.execute("DELETE FROM procrastinate_jobs WHERE queue_name = 'ai'")
