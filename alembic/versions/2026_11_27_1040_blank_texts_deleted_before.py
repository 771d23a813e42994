"""Blank the texts of interactions that were deleted before deletions did that."""

from alembic import op

revision = "0013_blank_deleted_before"
down_revision = "0012_blank_deleted_texts"
branch_labels = None
depends_on = None

BLANK = """
UPDATE events SET fields = crm_without_texts(events.fields)
FROM (SELECT lead_id, entity_id FROM events WHERE type = 'interaction.deleted') AS gone
WHERE events.lead_id = gone.lead_id AND events.entity = 'interaction' AND events.entity_id = gone.entity_id
"""


def upgrade() -> None:
    # A revision of its own: it reads all events, and holds no lock on a table meanwhile.
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.execute(BLANK)


def downgrade() -> None:
    # The texts are gone: there is nothing to bring back.
    op.execute("SET LOCAL lock_timeout = '1s'")
