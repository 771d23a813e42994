"""Create the foundations: text collation, event stream, users."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001_foundations"
down_revision = None
branch_labels = None
depends_on = None


class Xid8(sa.types.UserDefinedType[int]):
    """PostgreSQL's type of transaction ids."""

    def get_col_spec(self, **_: object) -> str:
        return "xid8"


COLLATION = """
DO $$
BEGIN
  IF lower(U&'\\00C5' COLLATE "default") <> U&'\\00E5' THEN
    RAISE EXCEPTION 'this database cannot lower-case letters beyond ASCII'
      USING HINT = 'Create it with CREATE DATABASE ... TEMPLATE template0 ENCODING ''UTF8'' LOCALE ''C.UTF-8''';
  END IF;
  IF current_setting('server_version_num')::int >= 170000 THEN
    CREATE COLLATION crm_text (PROVIDER = builtin, LOCALE = 'C.UTF-8');
  ELSE
    CREATE COLLATION crm_text (PROVIDER = libc, LOCALE = 'C.UTF-8');
  END IF;
END $$
"""

# For limits that depend on the data: raises an error from within a statement; the program knows it by its SQLSTATE.
RAISE_TOO_LARGE = """
CREATE FUNCTION crm_too_large(what text) RETURNS json LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION USING ERRCODE = 'CRM01', MESSAGE = what;
END $$
"""

RAISE_CURSOR_EXPIRED = """
CREATE FUNCTION crm_cursor_expired(field text) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION USING ERRCODE = 'CRM02', MESSAGE = 'The cursor is of another stream.', COLUMN = field;
END $$
"""

SERVICE_USERS = """
INSERT INTO users (email, name, role) VALUES
  ('service-admin@crm.invalid', 'Service (admin)', 'admin'),
  ('service-member@crm.invalid', 'Service (member)', 'member'),
  ('service-viewer@crm.invalid', 'Service (viewer)', 'viewer')
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.execute(COLLATION)
    op.execute(RAISE_TOO_LARGE)
    op.execute(RAISE_CURSOR_EXPIRED)
    op.create_table(
        "event_epoch",
        sa.Column(
            "epoch",
            sa.Uuid(),
            server_default=sa.text("gen_random_uuid()"),
            nullable=False,
        ),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("purged_xid", Xid8(), server_default=sa.text("'0'"), nullable=False),
        sa.PrimaryKeyConstraint("epoch", name=op.f("event_epoch_pkey")),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column(
            "xid",
            Xid8(),
            server_default=sa.text("pg_current_xact_id()"),
            nullable=False,
        ),
        sa.Column(
            "occurred_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("entity", sa.Text(), nullable=False),
        sa.Column("entity_id", sa.Text(), nullable=False),
        sa.Column("lead_id", sa.Integer(), nullable=True),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("fields", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("events_pkey")),
    )
    op.create_index(
        "events_lead_id_id_idx",
        "events",
        ["lead_id", "id"],
        unique=False,
        postgresql_where=sa.text("lead_id IS NOT NULL"),
    )
    op.create_index(
        "events_occurred_at_idx",
        "events",
        ["occurred_at"],
        unique=False,
        postgresql_using="brin",
    )
    op.create_index("events_xid_id_idx", "events", ["xid", "id"], unique=False)
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), server_default="member", nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("role IN ('admin', 'member', 'viewer')", name=op.f("users_role_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("users_pkey")),
    )
    op.create_index(
        "users_email_key",
        "users",
        [sa.literal_column("lower(email COLLATE crm_text)")],
        unique=True,
    )
    op.execute("INSERT INTO event_epoch DEFAULT VALUES")
    op.execute(SERVICE_USERS)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.drop_table("users")
    op.drop_table("events")
    op.drop_table("event_epoch")
    op.execute("DROP FUNCTION crm_cursor_expired(text)")
    op.execute("DROP FUNCTION crm_too_large(text)")
    op.execute("DROP COLLATION crm_text")
