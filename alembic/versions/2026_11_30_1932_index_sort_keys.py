"""Serve orders by a name with indexes of the sort keys."""

from alembic import op

from crm.db.migrations import exchange_indexes

revision = "0022_index_sort_keys"
down_revision = "0021_fill_sort_keys"
branch_labels = None
depends_on = None

INDEXES = {f"leads_{key}_id_idx": f"leads ({key}, id)" for key in ("first_name_key", "last_name_key", "company_key")}
BEFORE = {"leads_last_name_id_idx": "leads (last_name, id)"}


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    exchange_indexes(INDEXES, BEFORE)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    exchange_indexes(BEFORE, INDEXES)
