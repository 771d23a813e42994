"""Fill the rollups of the leads that were there before."""

from alembic import op
from sqlalchemy import text

from crm.db.migrations import in_batches

# ruff: noqa: S608

revision = "0024_fill_lead_rollups"
down_revision = "0023_lead_rollups"
branch_labels = None
depends_on = None

LAST_OF_BATCH = text("SELECT max(id) FROM (SELECT id FROM leads WHERE id > :after ORDER BY id LIMIT 1000) AS batch")
ADD = text("""
INSERT INTO lead_rollups (lead_id) SELECT id FROM leads WHERE id > :after AND id <= :last ON CONFLICT DO NOTHING
""")
# A rollup that is right once stays so, by its triggers.
NEXT_DUE_AT = """(
  SELECT min(due_date) FROM tasks
  WHERE tasks.lead_id = lead_rollups.lead_id AND NOT completed AND source = 'manual' AND deleted_at IS NULL
)"""
LAST_INTERACTION_AT = """(
  SELECT max(occurred_at) FROM interactions WHERE interactions.lead_id = lead_rollups.lead_id
)"""
IS_TO_DO = f"""lead_id > :after AND lead_id <= :last
  AND (next_due_at, last_interaction_at) IS DISTINCT FROM ({NEXT_DUE_AT}, {LAST_INTERACTION_AT})"""
LOCK = text(f"SELECT FROM lead_rollups WHERE {IS_TO_DO} ORDER BY lead_id FOR UPDATE")
FILL = text(f"""
UPDATE lead_rollups SET next_due_at = {NEXT_DUE_AT}, last_interaction_at = {LAST_INTERACTION_AT} WHERE {IS_TO_DO}
""")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    # Writers wait while a batch is open, so each is a transaction of its own; finished rows are left alone if a later
    # batch has to be tried again.
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute("SET lock_timeout = '1s'")
        in_batches(op.get_bind(), LAST_OF_BATCH, ADD)
        # Who wrote before a rollup was there has ended once this lock is given: nothing is missed below.
        op.execute("BEGIN")
        op.execute("LOCK TABLE tasks, interactions IN SHARE MODE")
        op.execute("COMMIT")
        in_batches(op.get_bind(), LAST_OF_BATCH, LOCK, FILL)
        op.execute("RESET statement_timeout")
        op.execute("RESET lock_timeout")


def downgrade() -> None:
    # The table goes with the revision before.
    op.execute("SET LOCAL lock_timeout = '1s'")
