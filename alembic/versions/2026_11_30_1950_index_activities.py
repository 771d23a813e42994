"""Index what happened with a lead by when it happened, for pages of `Lead.activities`.

The index of interactions takes the place of one without `id`.
"""

from alembic import op

from crm.db.migrations import exchange_indexes

revision = "0025_activities"
down_revision = "0024_fill_lead_rollups"
branch_labels = None
depends_on = None

ACTIVITY_CHANGES = """
type = 'lead.updated' AND (fields @> '[{"name": "status"}]'::jsonb OR fields @> '[{"name": "summary"}]'::jsonb)
"""
INDEXES = {
    "interactions_lead_id_occurred_at_id_idx": "interactions (lead_id, occurred_at, id)",
    "tasks_lead_id_completed_at_id_idx": "tasks (lead_id, completed_at, id) WHERE completed_at IS NOT NULL",
    "tasks_lead_id_created_at_id_idx": "tasks (lead_id, created_at, id) WHERE generated_by IS NOT NULL",
    "events_activities_idx": f"events (lead_id, occurred_at, id) WHERE {ACTIVITY_CHANGES}",
}
BEFORE = {"interactions_lead_id_occurred_at_idx": "interactions (lead_id, occurred_at)"}


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    exchange_indexes(INDEXES, BEFORE)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    exchange_indexes(BEFORE, INDEXES)
