"""Blank the texts in the events of leads, tasks and interactions that are deleted for good."""

from alembic import op

revision = "0012_blank_deleted_texts"
down_revision = "0011_epoch_of_timeline"
branch_labels = None
depends_on = None

TABLES = {"leads": ("lead", "id"), "tasks": ("task", "lead_id"), "interactions": ("interaction", "lead_id")}

# Keeps numbers and booleans and removes all other values, so that columns added later are covered too.
BLANKED = """
CREATE FUNCTION crm_without_texts(fields jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT coalesce(jsonb_agg(jsonb_build_object(
      'name', field -> 'name',
      'before', CASE WHEN jsonb_typeof(field -> 'before') IN ('number', 'boolean') THEN field -> 'before' END,
      'after', CASE WHEN jsonb_typeof(field -> 'after') IN ('number', 'boolean') THEN field -> 'after' END
    ) ORDER BY place), '[]')
  FROM jsonb_array_elements(fields) WITH ORDINALITY AS each (field, place)
$$
"""

# A statement trigger runs at the end of the statement: the event of the deletion itself exists already. Arguments: the
# kind of record, and the column with the id of its lead.
BLANK = """
CREATE FUNCTION crm_blank_events() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format(
    'UPDATE events SET fields = crm_without_texts(events.fields) FROM gone
     WHERE events.lead_id = gone.%I AND events.entity = %L AND events.entity_id = gone.id::text',
    TG_ARGV[1], TG_ARGV[0]);
  RETURN NULL;
END $$
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.execute(BLANKED)
    op.execute(BLANK)
    for table, (entity, lead) in TABLES.items():
        op.execute(
            f"CREATE TRIGGER {table}_blank_events AFTER DELETE ON {table} REFERENCING OLD TABLE AS gone "
            f"FOR EACH STATEMENT EXECUTE FUNCTION crm_blank_events('{entity}', '{lead}')"
        )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    for table in TABLES:
        op.execute(f"DROP TRIGGER {table}_blank_events ON {table}")
    op.execute("DROP FUNCTION crm_blank_events()")
    op.execute("DROP FUNCTION crm_without_texts(jsonb)")
