"""Create the rollups of leads: what their tasks and interactions come to, kept by triggers, for orders by it.

They are a table beside `leads`, since a change there would enter each of its indexes, the full-text one among them.
An insert moves the moments of the rollup as it is, another change looks for them anew. Each does so once it holds the
rollup's lock, which an insert takes even if it then moves nothing: otherwise the search for a moment misses the row
that is not committed yet, and the insert compares its row with a moment that is about to go.
"""

import sqlalchemy as sa
from alembic import op

# ruff: noqa: S608

revision = "0023_lead_rollups"
down_revision = "0022_index_sort_keys"
branch_labels = None
depends_on = None


# Spelled out: PostgreSQL would read a function's text anew for each statement that may fire a trigger.
def is_due(task: str) -> str:
    """The condition that a task is open and has a due date."""
    return (
        f"{task}due_date IS NOT NULL AND NOT {task}completed AND {task}source = 'manual' AND {task}deleted_at IS NULL"
    )


FUNCTIONS = {
    "crm_add_lead_rollup()": """
CREATE FUNCTION crm_add_lead_rollup() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO lead_rollups (lead_id) VALUES (NEW.id);
  RETURN NULL;
END $$
""",
    "crm_add_task_to_rollup()": """
CREATE FUNCTION crm_add_task_to_rollup() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM FROM lead_rollups WHERE lead_id = NEW.lead_id FOR NO KEY UPDATE;
  UPDATE lead_rollups SET next_due_at = NEW.due_date
  WHERE lead_id = NEW.lead_id AND (next_due_at > NEW.due_date OR next_due_at IS NULL);
  RETURN NULL;
END $$
""",
    "crm_change_task_of_rollup()": f"""
CREATE FUNCTION crm_change_task_of_rollup() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE lead integer := OLD.lead_id;
BEGIN
  LOOP
    PERFORM FROM lead_rollups WHERE lead_id = lead FOR UPDATE;
    UPDATE lead_rollups SET next_due_at = (SELECT min(due_date) FROM tasks WHERE lead_id = lead AND {is_due("")})
    WHERE lead_id = lead;
    EXIT WHEN TG_OP = 'DELETE' OR lead = NEW.lead_id;
    lead := NEW.lead_id;
  END LOOP;
  RETURN NULL;
END $$
""",
    "crm_add_interactions_to_rollups()": """
CREATE FUNCTION crm_add_interactions_to_rollups() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE lead record;
BEGIN
  FOR lead IN
    SELECT added.lead_id AS id, max(occurred_at) AS last_at FROM added GROUP BY added.lead_id ORDER BY added.lead_id
  LOOP
    PERFORM FROM lead_rollups WHERE lead_id = lead.id FOR NO KEY UPDATE;
    UPDATE lead_rollups SET last_interaction_at = lead.last_at
    WHERE lead_id = lead.id AND (last_interaction_at < lead.last_at OR last_interaction_at IS NULL);
  END LOOP;
  RETURN NULL;
END $$
""",
    "crm_change_interaction_of_rollup()": """
CREATE FUNCTION crm_change_interaction_of_rollup() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE lead integer := OLD.lead_id;
BEGIN
  LOOP
    PERFORM FROM lead_rollups WHERE lead_id = lead FOR UPDATE;
    UPDATE lead_rollups SET last_interaction_at = (SELECT max(occurred_at) FROM interactions WHERE lead_id = lead)
    WHERE lead_id = lead;
    EXIT WHEN TG_OP = 'DELETE' OR lead = NEW.lead_id;
    lead := NEW.lead_id;
  END LOOP;
  RETURN NULL;
END $$
""",
}
# By table: the name, when it fires, and the function. COPY brings interactions by the thousand: a statement of them
# moves each rollup once.
TRIGGERS = (
    ("leads", "add_rollup", "AFTER INSERT", "FOR EACH ROW", "crm_add_lead_rollup"),
    ("tasks", "add_to_rollup", "AFTER INSERT", f"FOR EACH ROW WHEN ({is_due('NEW.')})", "crm_add_task_to_rollup"),
    (
        "tasks",
        "change_rollup",
        "AFTER UPDATE",
        f"""FOR EACH ROW WHEN (
          CASE WHEN {is_due("OLD.")} THEN (OLD.due_date, OLD.lead_id) END
          IS DISTINCT FROM CASE WHEN {is_due("NEW.")} THEN (NEW.due_date, NEW.lead_id) END)""",
        "crm_change_task_of_rollup",
    ),
    ("tasks", "leave_rollup", "AFTER DELETE", f"FOR EACH ROW WHEN ({is_due('OLD.')})", "crm_change_task_of_rollup"),
    (
        "interactions",
        "add_to_rollups",
        "AFTER INSERT",
        "REFERENCING NEW TABLE AS added FOR EACH STATEMENT",
        "crm_add_interactions_to_rollups",
    ),
    (
        "interactions",
        "change_rollup",
        "AFTER UPDATE",
        "FOR EACH ROW WHEN ((OLD.occurred_at, OLD.lead_id) IS DISTINCT FROM (NEW.occurred_at, NEW.lead_id))",
        "crm_change_interaction_of_rollup",
    ),
    ("interactions", "leave_rollup", "AFTER DELETE", "FOR EACH ROW", "crm_change_interaction_of_rollup"),
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.create_table(
        "lead_rollups",
        sa.Column("lead_id", sa.Integer(), sa.ForeignKey("leads.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("next_due_at", sa.DateTime(timezone=True)),
        sa.Column("last_interaction_at", sa.DateTime(timezone=True)),
    )
    op.create_index("lead_rollups_next_due_at_lead_id_idx", "lead_rollups", ["next_due_at", "lead_id"])
    op.create_index(
        "lead_rollups_last_interaction_at_lead_id_idx",
        "lead_rollups",
        [sa.text("last_interaction_at DESC NULLS LAST"), sa.text("lead_id DESC")],
    )
    for function in FUNCTIONS.values():
        op.execute(function)
    for table, name, event, rows, function in TRIGGERS:
        op.execute(f"CREATE TRIGGER {table}_{name} {event} ON {table} {rows} EXECUTE FUNCTION {function}()")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    for table, name, *_ in TRIGGERS:
        op.execute(f"DROP TRIGGER {table}_{name} ON {table}")
    for name in reversed(FUNCTIONS):
        op.execute(f"DROP FUNCTION {name}")
    op.drop_table("lead_rollups")
