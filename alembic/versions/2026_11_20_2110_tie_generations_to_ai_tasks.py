"""Add a generation's AI task: the task's next attempt takes over the generation, or uses what it saved."""

import sqlalchemy as sa
from alembic import op

revision = "0009_generation_tasks"
down_revision = "0008_ai_tasks"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.add_column("generations", sa.Column("ai_task_id", sa.Uuid(), nullable=True))
    op.create_index(
        "generations_ai_task_id_idx",
        "generations",
        ["ai_task_id"],
        postgresql_where=sa.text("ai_task_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.drop_index("generations_ai_task_id_idx", "generations")
    op.drop_column("generations", "ai_task_id")
