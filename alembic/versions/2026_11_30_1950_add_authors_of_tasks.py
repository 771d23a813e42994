"""Add who wrote a task.

Without a foreign key, whose check would cost each new task: users are disabled, never deleted.
"""

import sqlalchemy as sa
from alembic import op

revision = "0026_authors_of_tasks"
down_revision = "0025_activities"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.add_column("tasks", sa.Column("created_by", sa.Uuid()))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.drop_column("tasks", "created_by")
