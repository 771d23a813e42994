"""Fill the rollups of the leads that were there before."""

from alembic import op
from sqlalchemy import TextClause, text

revision = "0024_fill_lead_rollups"
down_revision = "0023_lead_rollups"
branch_labels = None
depends_on = None

LAST_OF_BATCH = text("SELECT max(id) FROM (SELECT id FROM leads WHERE id > :after ORDER BY id LIMIT 1000) AS batch")
ADD = text("""
INSERT INTO lead_rollups (lead_id) SELECT id FROM leads WHERE id > :after AND id <= :last ON CONFLICT DO NOTHING
""")
LOCK = text("SELECT FROM lead_rollups WHERE lead_id > :after AND lead_id <= :last ORDER BY lead_id FOR UPDATE")
FILL = text("""
UPDATE lead_rollups SET
  next_due_at = (
    SELECT min(due_date) FROM tasks
    WHERE tasks.lead_id = lead_rollups.lead_id AND NOT completed AND source = 'manual' AND deleted_at IS NULL
  ),
  last_interaction_at = (SELECT max(occurred_at) FROM interactions WHERE interactions.lead_id = lead_rollups.lead_id)
WHERE lead_id > :after AND lead_id <= :last
""")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    # Writers wait while a batch is open, so each is a transaction of its own; finished batches stay so if a later one
    # has to be tried again.
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute("SET lock_timeout = '1s'")
        _in_batches(ADD)
        # Who wrote before a rollup was there has ended once this lock is given: nothing is missed below.
        op.execute("BEGIN")
        op.execute("LOCK TABLE tasks, interactions IN SHARE MODE")
        op.execute("COMMIT")
        _in_batches(text("BEGIN"), LOCK, FILL, text("COMMIT"))
        op.execute("RESET statement_timeout")
        op.execute("RESET lock_timeout")


def _in_batches(*statements: TextClause) -> None:
    connection, after = op.get_bind(), 0
    while last := connection.execute(LAST_OF_BATCH, {"after": after}).scalar():
        for statement in statements:
            connection.execute(statement, {"after": after, "last": last} if ":after" in statement.text else {})
        after = last


def downgrade() -> None:
    # The table goes with the revision before.
    op.execute("SET LOCAL lock_timeout = '1s'")
