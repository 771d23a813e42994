"""Create the keys with which users create records, so that a create can be sent again.

Without a foreign key, whose check would cost each claim: users are disabled, never deleted, and a key goes in a day.
"""

import sqlalchemy as sa
from alembic import op

revision = "0031_idempotency_keys"
down_revision = "0030_living_leads"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.create_table(
        "idempotency_keys",
        sa.Column("created_by", sa.Uuid(), primary_key=True),
        sa.Column("record_type", sa.Text(), primary_key=True),
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("record_id", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False, server_default=sa.text("1")),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    )
    op.create_index("idempotency_keys_created_at_idx", "idempotency_keys", ["created_at"])


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.drop_table("idempotency_keys")
