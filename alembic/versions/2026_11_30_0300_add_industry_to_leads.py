"""Add the industry of leads."""

import sqlalchemy as sa
from alembic import op

revision = "0018_industry"
down_revision = "0017_fetch_by_priority"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.add_column("leads", sa.Column("industry", sa.Text()))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.drop_column("leads", "industry")
