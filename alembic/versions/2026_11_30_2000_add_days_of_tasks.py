"""Add the day of tasks that are due by a day, not by a moment."""

import sqlalchemy as sa
from alembic import op

revision = "0027_days_of_tasks"
down_revision = "0026_authors_of_tasks"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.add_column("tasks", sa.Column("due_on", sa.Date()))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.drop_column("tasks", "due_on")
