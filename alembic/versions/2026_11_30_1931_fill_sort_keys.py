"""Fill the sort keys of the leads that were there before."""

from alembic import op
from sqlalchemy import text

from crm.db.migrations import in_batches

revision = "0021_fill_sort_keys"
down_revision = "0020_sort_keys"
branch_labels = None
depends_on = None

LAST_OF_BATCH = text("SELECT max(id) FROM (SELECT id FROM leads WHERE id > :after ORDER BY id LIMIT 1000) AS batch")
FILL = text("""
UPDATE leads SET first_name_key = crm_sort_key(first_name), last_name_key = crm_last_name_key(last_name),
  company_key = crm_sort_key(company)
WHERE id > :after AND id <= :last AND (first_name_key, last_name_key, company_key)
  IS DISTINCT FROM (crm_sort_key(first_name), crm_last_name_key(last_name), crm_sort_key(company))
""")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    # Writers of these leads, and subscriptions, wait while a batch is open, so each is a transaction of its own;
    # finished rows are left alone if a later batch has to be tried again.
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute("SET lock_timeout = '1s'")
        in_batches(op.get_bind(), LAST_OF_BATCH, FILL)
        op.execute("RESET statement_timeout")
        op.execute("RESET lock_timeout")


def downgrade() -> None:
    # The columns go with the revision before.
    op.execute("SET LOCAL lock_timeout = '1s'")
