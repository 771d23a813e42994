"""Create leads, interactions and tasks."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002_leads"
down_revision = "0001_foundations"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.create_table(
        "leads",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("first_name", sa.Text(), nullable=False),
        sa.Column("last_name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("company", sa.Text(), nullable=True),
        sa.Column("job_title", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), server_default="new", nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("budget", sa.Numeric(precision=14, scale=2), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=True),
        sa.Column("location", sa.Text(), nullable=True),
        sa.Column("tags", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=True),
        sa.Column("summary", sa.Text(), nullable=True),
        sa.Column("summary_generated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("activity_score", sa.Integer(), nullable=True),
        sa.Column("score_calculated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("score_factors", postgresql.JSONB(), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('new', 'contacted', 'qualified', 'proposal', 'won', 'lost')",
            name=op.f("leads_status_known"),
        ),
        sa.CheckConstraint("activity_score BETWEEN 0 AND 100", name=op.f("leads_activity_score_range")),
        sa.CheckConstraint("budget >= 0", name=op.f("leads_budget_positive")),
        sa.ForeignKeyConstraint(
            ["owner_id"],
            ["users.id"],
            name=op.f("leads_owner_id_fkey"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("leads_pkey")),
    )
    op.create_index(
        "leads_activity_score_id_idx",
        "leads",
        [
            sa.literal_column("activity_score DESC NULLS LAST"),
            sa.literal_column("id DESC"),
        ],
        unique=False,
    )
    op.create_index("leads_created_at_id_idx", "leads", ["created_at", "id"], unique=False)
    op.create_index("leads_last_name_id_idx", "leads", ["last_name", "id"], unique=False)
    op.create_index(
        "leads_living_email_key",
        "leads",
        [sa.literal_column("lower(email COLLATE crm_text)")],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index("leads_owner_id_id_idx", "leads", ["owner_id", "id"], unique=False)
    op.create_index("leads_score_calculated_at_idx", "leads", ["score_calculated_at"], unique=False)
    op.create_index("leads_status_id_idx", "leads", ["status", "id"], unique=False)
    op.create_index("leads_tags_idx", "leads", ["tags"], unique=False, postgresql_using="gin")
    op.create_index("leads_updated_at_id_idx", "leads", ["updated_at", "id"], unique=False)
    op.create_table(
        "interactions",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("lead_id", sa.Integer(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column(
            "occurred_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("duration_minutes", sa.Integer(), nullable=True),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "type IN ('call', 'email', 'meeting', 'message', 'note')",
            name=op.f("interactions_type_known"),
        ),
        sa.CheckConstraint("duration_minutes >= 0", name=op.f("interactions_duration_minutes_positive")),
        sa.ForeignKeyConstraint(
            ["created_by"],
            ["users.id"],
            name=op.f("interactions_created_by_fkey"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["lead_id"],
            ["leads.id"],
            name=op.f("interactions_lead_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("interactions_pkey")),
    )
    op.create_index(
        "interactions_created_by_idx",
        "interactions",
        ["created_by"],
        unique=False,
        postgresql_where=sa.text("created_by IS NOT NULL"),
    )
    op.create_index("interactions_lead_id_id_idx", "interactions", ["lead_id", "id"], unique=False)
    op.create_index(
        "interactions_lead_id_occurred_at_idx",
        "interactions",
        ["lead_id", "occurred_at"],
        unique=False,
    )
    op.create_index(
        "interactions_occurred_at_id_idx",
        "interactions",
        ["occurred_at", "id"],
        unique=False,
    )
    op.create_table(
        "tasks",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("title", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("due_date", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("priority", sa.Text(), server_default="normal", nullable=False),
        sa.Column("source", sa.Text(), server_default="manual", nullable=False),
        sa.Column("dismissed_reason", sa.Text(), nullable=True),
        sa.Column("ai_reasoning", sa.Text(), nullable=True),
        sa.Column("generated_by", sa.Text(), nullable=True),
        sa.Column("lead_id", sa.Integer(), nullable=False),
        sa.Column("assignee_id", sa.Uuid(), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("generated_by IN ('llm', 'playbook')", name=op.f("tasks_generated_by_known")),
        sa.CheckConstraint(
            "priority IN ('low', 'normal', 'high', 'urgent')",
            name=op.f("tasks_priority_known"),
        ),
        sa.CheckConstraint(
            "source IN ('manual', 'ai_suggested', 'dismissed')",
            name=op.f("tasks_source_known"),
        ),
        sa.ForeignKeyConstraint(
            ["assignee_id"],
            ["users.id"],
            name=op.f("tasks_assignee_id_fkey"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["lead_id"],
            ["leads.id"],
            name=op.f("tasks_lead_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("tasks_pkey")),
    )
    op.create_index(
        "tasks_assignee_id_id_idx",
        "tasks",
        ["assignee_id", "id"],
        unique=False,
        postgresql_where=sa.text("assignee_id IS NOT NULL"),
    )
    op.create_index("tasks_completed_id_idx", "tasks", ["completed", "id"], unique=False)
    op.create_index("tasks_created_at_id_idx", "tasks", ["created_at", "id"], unique=False)
    op.create_index("tasks_lead_id_id_idx", "tasks", ["lead_id", "id"], unique=False)
    op.create_index(
        "tasks_open_due_date_idx",
        "tasks",
        ["due_date", "id"],
        unique=False,
        postgresql_where=sa.text("NOT completed AND deleted_at IS NULL"),
    )
    op.create_index("tasks_source_id_idx", "tasks", ["source", "id"], unique=False)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.drop_table("tasks")
    op.drop_table("interactions")
    op.drop_table("leads")
