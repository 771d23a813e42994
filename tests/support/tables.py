"""Emptying tables between tests."""

from contextlib import suppress
from functools import cache
from typing import Any

import psycopg

_PAGE = 8192
_TRIES = 3
QUEUES = "procrastinate_jobs", "procrastinate_workers", "procrastinate_periodic_defers", "procrastinate_events"

# The tables, and those that refer to them, each with its own referring tables and its sequence.
_REFERRING = """
WITH RECURSIVE refers (id, root) AS (
    SELECT oid, oid FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
    UNION
    SELECT conrelid, root FROM pg_constraint JOIN refers ON confrelid = id WHERE contype = 'f'
)
SELECT root::regclass::text, array_agg(id::regclass::text),
    (SELECT objid::regclass::text FROM pg_depend JOIN pg_class ON pg_class.oid = objid
     WHERE refobjid = root AND deptype IN ('a', 'i') AND relkind = 'S')
FROM refers
WHERE root IN (SELECT refers.id FROM refers JOIN unnest(%s::text[]) AS name ON root = name::regclass)
GROUP BY root ORDER BY count(*) DESC, 1
"""


def empty(connection: psycopg.Connection[Any], *tables: str, restart_identity: bool = True) -> None:
    """Do what `TRUNCATE … RESTART IDENTITY CASCADE` does, in a fraction of its time.

    TRUNCATE makes every table and index anew, and every server plans its statements anew. Rows that fit into one page
    are deleted instead, under the same locks (writers under way are waited for) and without triggers. A table of more
    pages is truncated: so rows keep lying in the order in which a test inserted them.
    """
    statement = _statement(connection.info.dsn, tables, restart_identity=restart_identity)
    for _ in range(_TRIES):
        with suppress(psycopg.errors.DeadlockDetected):  # with a server that is still at it
            connection.execute(statement, prepare=False)
            return
    connection.execute(statement, prepare=False)


@cache
def _statement(dsn: str, tables: tuple[str, ...], *, restart_identity: bool) -> str:
    with psycopg.connect(dsn, autocommit=True) as connection:
        found = connection.execute(_REFERRING, [list(tables)]).fetchall()
    # As TRUNCATE would: in the caller's order. Workers that are still at it take AI tasks before their jobs.
    locked = dict.fromkeys([*tables, *(name for name, _, _ in found)])
    lines = [f"LOCK TABLE {', '.join(locked)} IN ACCESS EXCLUSIVE MODE;"]
    for name, referring, _ in found:
        lines.append(
            f"IF pg_relation_size('{name}') > {_PAGE} THEN TRUNCATE {', '.join(referring)};"
            f" ELSE DELETE FROM {name}; END IF;"
        )
    lines += [f"PERFORM setval('{sequence}', 1, false);" for _, _, sequence in found if sequence and restart_identity]
    return f"DO $$ BEGIN SET LOCAL session_replication_role = replica; {' '.join(lines)} END $$"
