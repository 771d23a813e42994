"""Serve orders by a name with indexes of the sort keys."""

from alembic import op

revision = "0022_index_sort_keys"
down_revision = "0021_fill_sort_keys"
branch_labels = None
depends_on = None

KEYS = ("first_name_key", "last_name_key", "company_key")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        for key in KEYS:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS leads_{key}_id_idx")
            op.create_index(f"leads_{key}_id_idx", "leads", [key, "id"], postgresql_concurrently=True)
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS leads_last_name_id_idx")
        op.execute("RESET statement_timeout")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS leads_last_name_id_idx")
        op.create_index("leads_last_name_id_idx", "leads", ["last_name", "id"], postgresql_concurrently=True)
        for key in KEYS:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS leads_{key}_id_idx")
        op.execute("RESET statement_timeout")
