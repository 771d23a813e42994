"""Say of each event by which way it came, by which request, and the record's version after it.

Columns without a value for the events that are there: no row is rewritten, however many there are. The default of `via`
is for later events, of programs that know nothing of it.
"""

from alembic import op

revision = "0019_origin_of_events"
down_revision = "0018_industry"
branch_labels = None
depends_on = None

COLUMNS = """
ALTER TABLE events ADD COLUMN IF NOT EXISTS via text, ADD COLUMN IF NOT EXISTS request_id text,
  ADD COLUMN IF NOT EXISTS version integer, ALTER COLUMN via SET DEFAULT 'sql'
"""
KNOWN = "ALTER TABLE events ADD CONSTRAINT events_via_known CHECK (via IN ('api', 'program', 'demo', 'sql')) NOT VALID"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.execute(COLUMNS)
    # All events are read to validate the constraint, beside those who write more.
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute("SET lock_timeout = '1s'")
        op.execute("ALTER TABLE events DROP CONSTRAINT IF EXISTS events_via_known")
        op.execute(KNOWN)
        op.execute("ALTER TABLE events VALIDATE CONSTRAINT events_via_known")
        op.execute("RESET statement_timeout")
        op.execute("RESET lock_timeout")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.drop_column("events", "version")
    op.drop_column("events", "request_id")
    op.drop_column("events", "via")
