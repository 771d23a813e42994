"""Add the end of an AI task's latest attempt, a hash of its request, and an index for today's costs."""

import sqlalchemy as sa
from alembic import op

revision = "0010_refine_ai_tasks"
down_revision = "0009_generation_tasks"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.add_column("ai_tasks", sa.Column("stopped_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("ai_tasks", sa.Column("fingerprint", sa.Text(), nullable=True))
    op.add_column("ai_tasks", sa.Column("losses", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.execute("UPDATE ai_tasks SET stopped_at = finished_at WHERE started_at IS NOT NULL AND finished_at IS NOT NULL")
    op.drop_index("ai_tasks_waiting_idx", "ai_tasks")
    op.drop_index("ai_tasks_running_idx", "ai_tasks")
    op.create_index(
        "ai_tasks_open_idx",
        "ai_tasks",
        ["status", "due_at"],
        postgresql_include=["priority"],
        postgresql_where=sa.text("status IN ('queued', 'retrying', 'running')"),
    )
    op.create_index(
        "ai_tasks_waiting_idx",
        "ai_tasks",
        ["due_at"],
        postgresql_where=sa.text("status IN ('queued', 'retrying') AND NOT aged"),
    )
    op.execute("UPDATE ai_tasks SET aged = false WHERE aged AND status NOT IN ('queued', 'retrying')")
    op.create_index("ai_tasks_aged_idx", "ai_tasks", ["id"], postgresql_where=sa.text("aged"))
    for name in ("waited", "ran"):
        count = sa.Column(name, sa.BigInteger(), server_default=sa.text("0"), nullable=False)
        op.add_column("ai_task_days", count)
    op.execute("UPDATE ai_task_days SET waited = tasks, ran = tasks")
    op.create_index(
        "ai_calls_of_ai_tasks_idx",
        "ai_calls",
        ["created_at"],
        postgresql_include=["cost_usd"],
        postgresql_where=sa.text("ai_task_attempt_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.drop_index("ai_calls_of_ai_tasks_idx", "ai_calls")
    op.drop_column("ai_task_days", "ran")
    op.drop_column("ai_task_days", "waited")
    op.drop_index("ai_tasks_aged_idx", "ai_tasks")
    op.drop_index("ai_tasks_waiting_idx", "ai_tasks")
    op.drop_index("ai_tasks_open_idx", "ai_tasks")
    op.create_index(
        "ai_tasks_waiting_idx", "ai_tasks", ["due_at"], postgresql_where=sa.text("status IN ('queued', 'retrying')")
    )
    op.create_index(
        "ai_tasks_running_idx", "ai_tasks", ["lease_expires_at"], postgresql_where=sa.text("status = 'running'")
    )
    op.drop_column("ai_tasks", "losses")
    op.drop_column("ai_tasks", "fingerprint")
    op.drop_column("ai_tasks", "stopped_at")
