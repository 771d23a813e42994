"""Alembic's entry: `crm migrate` calls it with the database's URL."""

from alembic import context
from sqlalchemy import Connection, event
from sqlalchemy.dialects.postgresql.base import ischema_names

from crm import models
from crm.db.address import sqlalchemy_engine
from crm.db.events import Xid8

url = context.config.get_main_option("sqlalchemy.url")
if url is None:
    msg = "run `crm migrate`: it knows the database"
    raise RuntimeError(msg)

# Indexes of extensions that a server may have or not: the models cannot say.
OPTIONAL_INDEXES = frozenset({"leads_similar_idx"})


def ours(name: str | None, kind: str, _: object) -> bool:
    """Whether the models have to say it: procrastinate's tables are its own."""
    if kind == "table":
        return not (name or "").startswith("procrastinate_")
    return kind != "index" or name not in OPTIONAL_INDEXES


# A type of PostgreSQL that SQLAlchemy does not know, for comparing the tables with the models.
ischema_names["xid8"] = Xid8
engine = sqlalchemy_engine(url)


@event.listens_for(engine, "begin")
def take_your_time(connection: Connection) -> None:
    """A revision may read or build for longer than a request may take, which the role's settings bound."""
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")


with engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=models.Model.metadata,
        compare_server_default=False,
        include_name=ours,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()
