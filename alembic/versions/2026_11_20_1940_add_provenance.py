"""Add generations, the origin of suggested tasks and decisions on them, and the basis of summaries."""

import sqlalchemy as sa
from alembic import op

revision = "0006_provenance"
down_revision = "0005_jobs"
branch_labels = None
depends_on = None

TASK_COLUMNS = ("model", "rule", "prompt_version", "generation_id", "edited", "decided_at", "decided_by_id")
LEAD_COLUMNS = ("summary_source", "summary_model", "summary_prompt_version", "summary_hash", "summary_facts_at")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    _create_generations()
    _extend_tasks()
    for name in ("summary_source", "summary_model", "summary_prompt_version", "summary_hash"):
        op.add_column("leads", sa.Column(name, sa.Text(), nullable=True))
    op.add_column("leads", sa.Column("summary_facts_at", sa.DateTime(timezone=True), nullable=True))
    op.create_check_constraint(op.f("leads_summary_source_known"), "leads", "summary_source IN ('llm', 'playbook')")


def _create_generations() -> None:
    op.create_table(
        "generations",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("lead_id", sa.Integer(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.CheckConstraint("purpose IN ('recommendations', 'summary')", name=op.f("generations_purpose_known")),
        sa.CheckConstraint("outcome IN ('saved', 'failed', 'abandoned')", name=op.f("generations_outcome_known")),
        sa.ForeignKeyConstraint(["lead_id"], ["leads.id"], name=op.f("generations_lead_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("generations_pkey")),
    )
    op.create_index(
        "generations_underway_key",
        "generations",
        ["lead_id", "purpose"],
        unique=True,
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_index("generations_lead_id_started_at_idx", "generations", ["lead_id", "started_at"])


def _extend_tasks() -> None:
    for name in ("model", "rule", "prompt_version"):
        op.add_column("tasks", sa.Column(name, sa.Text(), nullable=True))
    op.add_column("tasks", sa.Column("generation_id", sa.Uuid(), nullable=True))
    op.add_column("tasks", sa.Column("edited", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("tasks", sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("tasks", sa.Column("decided_by_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("tasks_generation_id_fkey"), "tasks", "generations", ["generation_id"], ["id"], ondelete="SET NULL"
    )
    op.create_foreign_key(
        op.f("tasks_decided_by_id_fkey"), "tasks", "users", ["decided_by_id"], ["id"], ondelete="SET NULL"
    )
    for name, column, condition in (
        ("tasks_generation_id_idx", "generation_id", "generation_id IS NOT NULL"),
        ("tasks_generated_created_at_idx", "created_at", "generated_by IS NOT NULL"),
        ("tasks_decided_by_id_idx", "decided_by_id", "decided_by_id IS NOT NULL"),
    ):
        op.create_index(name, "tasks", [column], postgresql_where=sa.text(condition))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    # The other indexes are dropped with their columns.
    op.drop_index("tasks_generated_created_at_idx", "tasks")
    for name in reversed(TASK_COLUMNS):
        op.drop_column("tasks", name)
    for name in reversed(LEAD_COLUMNS):
        op.drop_column("leads", name)
    op.drop_table("generations")
