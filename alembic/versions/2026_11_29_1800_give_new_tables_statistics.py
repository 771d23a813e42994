"""Give new tables the statistics of a usual CRM, until PostgreSQL has gathered their own.

For a column that was never analyzed PostgreSQL assumes that one row in 200 has any given value, and that one in 200 is
null. So it takes `deleted_at IS NULL` for rare, and assumes 300 tasks per lead among the 60,000 of a new database: it
reads whole tables and indexes where a few pages would do, until the first ANALYZE. Statistics outlive the rows that
they were gathered from: so typical rows are added, analyzed and removed in one transaction, for the first plans.
docs/decisions/0023-statistics.md has the measurements.
"""

from alembic import op

revision = "0014_first_statistics"
down_revision = "0013_blank_deleted_before"
branch_labels = None
depends_on = None

# All tables that refer to these are among them: `TRUNCATE` demands to empty them together.
TABLES = "leads, interactions, tasks, generations, events, ai_tasks, ai_task_attempts"
IS_ANY_USED = " OR ".join(f"EXISTS (SELECT FROM {name})" for name in TABLES.split(", "))

ROWS = (
    """
    INSERT INTO leads (id, first_name, last_name, status, source, deleted_at)
    SELECT number, 'First', 'Last',
      (ARRAY['new', 'new', 'new', 'contacted', 'contacted', 'contacted', 'qualified', 'qualified', 'proposal', 'won',
        'lost', 'lost'])[1 + number % 12],
      (ARRAY['website', 'referral', 'event', 'campaign', 'partner'])[1 + number % 5],
      CASE WHEN number % 50 = 0 THEN now() END
    FROM generate_series(1, 1000) AS number
    """,
    """
    INSERT INTO interactions (id, lead_id, type)
    SELECT number, 1 + number / 5, (ARRAY['call', 'email', 'meeting', 'message', 'note'])[1 + number % 5]
    FROM generate_series(1, 4999) AS number
    """,
    """
    INSERT INTO tasks (id, lead_id, title, completed, priority, source, generated_by, deleted_at)
    SELECT number, 1 + number / 3, 'Title', number % 2 = 0,
      (ARRAY['low', 'normal', 'normal', 'normal', 'normal', 'high', 'high', 'urgent'])[1 + number / 3 % 8],
      (ARRAY['manual', 'manual', 'manual', 'manual', 'manual', 'manual', 'manual', 'ai_suggested', 'ai_suggested',
        'dismissed'])[1 + number % 10],
      CASE WHEN number % 10 >= 5 THEN 'playbook' END,
      CASE WHEN number % 50 = 0 THEN now() END
    FROM generate_series(1, 2999) AS number
    """,
    """
    INSERT INTO events (id, type, entity, entity_id, lead_id)
    SELECT number,
      (ARRAY['lead.created', 'lead.updated', 'lead.scored', 'lead.scored', 'interaction.created', 'interaction.created',
        'task.created', 'task.created', 'task.updated', 'task.updated'])[1 + number % 10],
      (ARRAY['lead', 'lead', 'lead', 'lead', 'interaction', 'interaction', 'task', 'task', 'task', 'task'])
        [1 + number % 10],
      number::text, CASE WHEN number % 50 > 0 THEN 1 + number / 10 END
    FROM generate_series(1, 9999) AS number
    """,
)
# The columns whose values decide which index pays. Without those compared by range: the planner would take the made-up
# rows' month for the whole range.
ANALYZED = (
    "leads (status, source, deleted_at)",
    "interactions (lead_id, type)",
    "tasks (lead_id, completed, priority, source, generated_by, deleted_at)",
    "events (lead_id, type, entity)",
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    if _are_used():
        return  # `crm migrate` analyzes these tables at its end
    op.execute(f"LOCK TABLE {TABLES} IN ACCESS EXCLUSIVE MODE")
    if _are_used():
        return
    for rows in ROWS:
        op.execute(rows)
    for columns in ANALYZED:
        op.execute(f"ANALYZE {columns}")
    op.execute(f"TRUNCATE {TABLES}")


def _are_used() -> bool:
    return bool(op.get_bind().exec_driver_sql(f"SELECT {IS_ANY_USED}").scalar())


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
