"""Add functions that count rows and bytes within a statement, and raise errors with an SQLSTATE of their own."""

from alembic import op

revision = "0016_counting"
down_revision = "0015_revoked_tokens"
branch_labels = None
depends_on = None

# Adds a count to a sum, or raises an error if the operation's budget has no room for it; also the step of an aggregate
# over rows. It keeps only the sum, and the row that breaks the budget is the last that is read.
ADD = """
CREATE FUNCTION crm_add_{what}(so_far bigint, more bigint, room bigint, most bigint, problem text) RETURNS bigint
LANGUAGE plpgsql AS $$
BEGIN
  IF so_far + more > room THEN
    RAISE EXCEPTION USING ERRCODE = '{state}', MESSAGE = problem, DETAIL = most;
  END IF;
  RETURN so_far + more;
END $$
"""

COUNT = """
CREATE AGGREGATE crm_count_{what}(more bigint, room bigint, most bigint, problem text)
(SFUNC = crm_add_{what}, STYPE = bigint, INITCOND = '0')
"""

# Raised when a list is longer than its share: the program then runs the statement's counting variant.
BEYOND_ALLOTMENT = """
CREATE FUNCTION crm_beyond_allotment() RETURNS json LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION USING ERRCODE = 'CRM05', MESSAGE = 'A list is longer than its share.';
END $$
"""


STATES = {"rows": "CRM03", "bytes": "CRM04"}


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    for what, state in STATES.items():
        op.execute(ADD.format(what=what, state=state))
        op.execute(COUNT.format(what=what))
    op.execute(BEYOND_ALLOTMENT)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.execute("DROP FUNCTION crm_beyond_allotment()")
    for what in STATES:
        op.execute(f"DROP AGGREGATE crm_count_{what}(bigint, bigint, bigint, text)")
        op.execute(f"DROP FUNCTION crm_add_{what}(bigint, bigint, bigint, bigint, text)")
