"""Blank the texts of interactions that were deleted before the revision that blanks them on deletion."""

from alembic import op
from sqlalchemy import text

revision = "0013_blank_deleted_before"
down_revision = "0012_blank_deleted_texts"
branch_labels = None
depends_on = None

GONE = text("""
SELECT id, lead_id, entity_id FROM events WHERE type = 'interaction.deleted' AND id > :after ORDER BY id LIMIT 1000
""")
BLANK = text("""
UPDATE events SET fields = crm_without_texts(events.fields)
FROM unnest(CAST(:leads AS bigint[]), CAST(:keys AS text[])) AS gone (lead_id, entity_id)
WHERE events.lead_id = gone.lead_id AND events.entity = 'interaction' AND events.entity_id = gone.entity_id
  AND events.fields <> crm_without_texts(events.fields)
""")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    # Subscriptions wait while a writing transaction is open, so each batch has its own; finished batches stay so if
    # a later one has to be tried again.
    with op.get_context().autocommit_block():
        connection, after = op.get_bind(), 0
        op.execute("SET statement_timeout = 0")
        op.execute("SET lock_timeout = '1s'")
        while found := connection.execute(GONE, {"after": after}).all():
            gone = {"leads": [one.lead_id for one in found], "keys": [one.entity_id for one in found]}
            connection.execute(BLANK, gone)
            after = found[-1].id
        op.execute("RESET statement_timeout")
        op.execute("RESET lock_timeout")


def downgrade() -> None:
    # The texts were deleted and cannot be restored.
    op.execute("SET LOCAL lock_timeout = '1s'")
