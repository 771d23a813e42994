"""Alembic, called by the program: which revisions a database lacks, and applying them."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psycopg
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg import sql
from sqlalchemy import create_engine, pool

from crm.core.database import sqlalchemy_url

_SCRIPTS: Final = Path(__file__).resolve().parents[2] / "alembic"
# Role-level, so that no session has state of its own. The timeout is a net below the request's own deadline.
_ROLE_SETTINGS: Final = {
    "statement_timeout": "60s",
    "idle_in_transaction_session_timeout": "60s",
    "jit": "off",
}


def pending(url: str) -> list[str]:
    """What the database's migrations lack, oldest first; empty when it is up to date."""
    scripts = ScriptDirectory(str(_SCRIPTS))
    engine = create_engine(sqlalchemy_url(url), poolclass=pool.NullPool, connect_args={"connect_timeout": 10})
    with engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_heads()
    known = {revision.revision for revision in scripts.walk_revisions()}
    unknown = [head for head in current if head not in known]
    if unknown:
        msg = f"the database is at revision {unknown[0]}, which this version does not know: it is newer"
        raise RuntimeError(msg)
    done = {revision.revision for head in current for revision in scripts.iterate_revisions(head, "base")}
    return [one.revision for one in reversed(list(scripts.walk_revisions())) if one.revision not in done]


def upgrade(url: str, on_revision: Callable[[str], None] = lambda _: None) -> None:
    """Apply what is pending, one transaction each."""
    config = _config(url)
    for revision in pending(url):
        title = (ScriptDirectory.from_config(config).get_revision(revision).doc or revision).strip(" .")
        command.upgrade(config, revision)
        on_revision(title)
    _set_role_defaults(url)


def downgrade(url: str, revision: str) -> None:
    """Go back to a revision."""
    command.downgrade(_config(url), revision)


def _config(url: str) -> Config:
    config = Config(stdout=io.StringIO())
    config.set_main_option("script_location", str(_SCRIPTS))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config


def _set_role_defaults(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        database = connection.info.dbname
        for name, value in _ROLE_SETTINGS.items():
            try:
                connection.execute(
                    sql.SQL("ALTER ROLE CURRENT_USER IN DATABASE {} SET {} = {}").format(
                        sql.Identifier(database), sql.Identifier(name), sql.Literal(value)
                    )
                )
            except psycopg.errors.InsufficientPrivilege:
                return
