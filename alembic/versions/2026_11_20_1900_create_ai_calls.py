"""Create the table of AI calls."""

import sqlalchemy as sa
from alembic import op

revision = "0004_ai_calls"
down_revision = "0003_search"
branch_labels = None
depends_on = None

USD = sa.Numeric(precision=18, scale=10)
OUTCOMES = (
    "'underway', 'ok', 'refused', 'truncated', 'invalid', 'timeout', 'unreachable', 'rate_limited', 'rejected', "
    "'failed', 'cancelled'"
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.create_table(
        "ai_calls",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("question_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("prompt_version", sa.Text(), nullable=False),
        sa.Column("input_hash", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("lead_id", sa.Integer(), nullable=True),
        sa.Column("requested_by", sa.Uuid(), nullable=True),
        sa.Column("outcome", sa.Text(), server_default="underway", nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.Column("tokens_in", sa.Integer(), nullable=True),
        sa.Column("tokens_out", sa.Integer(), nullable=True),
        sa.Column("cost_usd", USD, nullable=True),
        sa.Column("cost_source", sa.Text(), server_default="unknown", nullable=False),
        sa.Column("reserved_usd", USD, nullable=True),
        sa.CheckConstraint(f"outcome IN ({OUTCOMES})", name=op.f("ai_calls_outcome_known")),
        sa.CheckConstraint(
            "cost_source IN ('provider', 'estimated', 'unknown')", name=op.f("ai_calls_cost_source_known")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("ai_calls_pkey")),
    )
    op.create_index(
        "ai_calls_created_at_idx", "ai_calls", ["created_at"], postgresql_include=["cost_usd", "reserved_usd"]
    )
    op.create_index("ai_calls_lead_id_idx", "ai_calls", ["lead_id"], postgresql_where=sa.text("lead_id IS NOT NULL"))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.drop_table("ai_calls")
