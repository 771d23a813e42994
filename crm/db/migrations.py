"""Alembic, called by the program: which revisions a database lacks, and applying them."""

import io
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import psycopg
from alembic import command, op
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg import sql
from sqlalchemy import Connection, TextClause
from sqlalchemy.exc import DBAPIError

from crm.db.address import conninfo, sqlalchemy_engine
from crm.db.table_statistics import analyze_all

_SCRIPTS: Final = Path(__file__).resolve().parents[2] / "alembic"
# Set for the role, so that no session has state of its own. The timeout is a safety net for the request's deadline.
_ROLE_SETTINGS: Final = {
    "statement_timeout": "60s",
    "idle_in_transaction_session_timeout": "60s",
    "jit": "off",
}
# A statement that waits for a table's lock makes all later ones wait: a revision waits a second (its `lock_timeout`),
# pauses for as long, and tries again.
PATIENCE_SECONDS: Final = 300.0
_PAUSE_SECONDS: Final = (0.5, 1.5)
_TRY_LOCK: Final = sql.SQL("SELECT pg_try_advisory_xact_lock({})").format(int.from_bytes(b"crm", "big"))
_BLOCKED_STATES: Final = frozenset({"55P03", "40P01"})
_TRIES_OF_BATCH: Final = 20
_OLDEST_TRANSACTION: Final = """
SELECT format('process %s (%s) has had a transaction open for %s', pid,
  coalesce(nullif(application_name, ''), usename), date_trunc('second', clock_timestamp() - xact_start))
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start < clock_timestamp() - interval '1 second'
ORDER BY xact_start LIMIT 1
"""


class Blocked(RuntimeError):
    """Other transactions held locks that a migration needs for longer than `patience`."""


def _ignore(_: str) -> None:
    """Do nothing with a message."""


def pending(url: str) -> list[str]:
    """The revisions that the database lacks, oldest first; empty if it is up to date."""
    scripts = ScriptDirectory(str(_SCRIPTS))
    with sqlalchemy_engine(url).connect() as connection:
        current = MigrationContext.configure(connection).get_current_heads()
    known = {revision.revision for revision in scripts.walk_revisions()}
    unknown = [head for head in current if head not in known]
    if unknown:
        msg = f"the database is at revision {unknown[0]}, which this version does not know: it is newer"
        raise RuntimeError(msg)
    done = {revision.revision for head in current for revision in scripts.iterate_revisions(head, "base")}
    return [revision.revision for revision in reversed(list(scripts.walk_revisions())) if revision.revision not in done]


def upgrade(
    url: str,
    on_revision: Callable[[str], None] = _ignore,
    on_wait: Callable[[str], None] = _ignore,
    patience: float = PATIENCE_SECONDS,
) -> None:
    """Apply the pending revisions, one transaction each, and gather the tables' statistics afterwards.

    `on_revision` gets the title of each revision that was applied, `on_wait` a message while one waits for a lock.
    """
    config = _config(url)
    with _one_at_a_time(url, on_wait):
        behind = pending(url)
        for revision in behind:
            title = (ScriptDirectory.from_config(config).get_revision(revision).doc or revision).strip(" .")
            _patiently(url, partial(command.upgrade, config, revision), on_wait, patience)
            on_revision(title)
        _set_role_defaults(url)
        if behind:
            analyze_all(url)


def downgrade(
    url: str, revision: str, on_wait: Callable[[str], None] = _ignore, patience: float = PATIENCE_SECONDS
) -> None:
    """Go back to a revision."""
    config = _config(url)
    _patiently(url, lambda: command.downgrade(config, revision), on_wait, patience)


def exchange_indexes(new: Mapping[str, str], old: Iterable[str] = ()) -> None:
    """Build indexes by their names, and then drop those whose place they take; beside who writes.

    For revisions, which may be run again: a build that was cut off has left an index that is not valid.
    """
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        for name, columns in new.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {columns}")
        for name in old:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        op.execute("RESET statement_timeout")


def in_batches(connection: Connection, last_of_batch: TextClause, *statements: TextClause) -> None:
    """Run statements for one batch of rows after the other, each batch in a transaction of its own.

    For revisions, on a connection in autocommit mode. `last_of_batch` finds the last id of those after `:after`; the
    statements are about the rows `> :after` and `<= :last`. While others hold locks that a batch needs, it alone is
    tried again; in the end the revision is, so statements should leave alone what they have done.
    """
    after = 0
    while last := connection.execute(last_of_batch, {"after": after}).scalar():
        for tries_left in reversed(range(_TRIES_OF_BATCH)):
            try:
                _run_batch(connection, statements, {"after": after, "last": last})
            except DBAPIError as error:
                if not _is_blocked(error) or not tries_left:
                    raise
                time.sleep(random.uniform(*_PAUSE_SECONDS))  # noqa: S311  (no secret)
            else:
                break
        after = last


def _run_batch(connection: Connection, statements: tuple[TextClause, ...], ids: dict[str, int]) -> None:
    connection.exec_driver_sql("BEGIN")
    try:
        for statement in statements:
            connection.execute(statement, ids)
    except DBAPIError:
        connection.exec_driver_sql("ROLLBACK")
        raise
    connection.exec_driver_sql("COMMIT")


def _is_blocked(error: DBAPIError) -> bool:
    return getattr(error.orig, "sqlstate", None) in _BLOCKED_STATES


@contextmanager
def _one_at_a_time(url: str, on_wait: Callable[[str], None]) -> Iterator[None]:
    """Wait until no other process migrates this database, and keep others waiting.

    The lock belongs to a transaction, so that it works through a pooler; the transaction has no snapshot meanwhile.
    """
    with psycopg.connect(conninfo(url)) as connection:
        connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        # Without parameters, by the simple protocol: the other one keeps its portal, and with it a snapshot that
        # `CREATE INDEX CONCURRENTLY` in a revision would wait for.
        while connection.execute(_TRY_LOCK).fetchone() != (True,):
            on_wait("another process migrates")
            time.sleep(random.uniform(*_PAUSE_SECONDS))  # noqa: S311  (no secret)
        yield


def _patiently(url: str, migrate: Callable[[], None], on_wait: Callable[[str], None], patience: float) -> None:
    """Migrate, again and again while other transactions hold locks that it needs."""
    started = time.monotonic()
    while True:
        try:
            migrate()
        except DBAPIError as error:
            if not _is_blocked(error):
                raise
            holder = _oldest_transaction(url)
            waited = time.monotonic() - started
            if waited >= patience:
                message = (
                    f"others have held locks that it needs for {patience:.0f} s"
                    f"{f': {holder}' if holder else ''}. End what holds them, or run it when less is going on"
                )
                raise Blocked(message) from error
            on_wait(f"waiting for a lock, {waited:.0f} s{f': {holder}' if holder else ''}")
            time.sleep(random.uniform(*_PAUSE_SECONDS))  # noqa: S311  (no secret)
        else:
            return


def _oldest_transaction(url: str) -> str:
    """A description of the session that most likely holds the locks; empty if there is none."""
    with psycopg.connect(conninfo(url), autocommit=True) as connection:
        row = connection.execute(_OLDEST_TRANSACTION).fetchone()
    return str(row[0]) if row else ""


def _config(url: str) -> Config:
    config = Config(stdout=io.StringIO())
    config.set_main_option("script_location", str(_SCRIPTS))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config


def _set_role_defaults(url: str) -> None:
    with psycopg.connect(conninfo(url), autocommit=True) as connection:
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
