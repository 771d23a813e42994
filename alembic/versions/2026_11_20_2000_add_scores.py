"""Add leases, and leave room in pages of leads so that scores are updated in place."""

import sqlalchemy as sa
from alembic import op

revision = "0007_scores"
down_revision = "0006_provenance"
branch_labels = None
depends_on = None

# docs/decisions/0013-scores.md has the measurements.
FILLFACTOR = 60


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Uuid(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("leases_pkey")),
    )
    op.drop_index("leads_score_calculated_at_idx", "leads")
    op.create_index("leads_score_calculated_at_idx", "leads", ["score_calculated_at"], postgresql_using="brin")
    op.execute(f"ALTER TABLE leads SET (fillfactor = {FILLFACTOR})")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.execute("ALTER TABLE leads RESET (fillfactor)")
    op.drop_index("leads_score_calculated_at_idx", "leads")
    op.create_index("leads_score_calculated_at_idx", "leads", ["score_calculated_at"])
    op.drop_table("leases")
