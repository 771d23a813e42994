"""${message}."""

import sqlalchemy as sa
from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None

# `crm migrate` runs each direction again when it could not get a lock within a second: no statement may depend on a
# part of it that was undone. An index on a table that grows is built beside its writers, in a revision of its own:
#
#     from crm.db.migrations import exchange_indexes
#
#     exchange_indexes({"leads_city_idx": "leads (city)"})  # and, of those that it replaces, the names


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    ${downgrades if downgrades else "pass"}
