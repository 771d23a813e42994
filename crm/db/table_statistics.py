"""PostgreSQL's statistics: where a table has none, plans rest on guesses that are wrong by a factor of hundreds.

Autovacuum gathers them within a minute of the first rows. It comes too late for a load in one transaction, for a
revision that changes many rows, and never by itself after `pg_upgrade` to a version before 18.
docs/decisions/0023-statistics.md has the measurements.
"""

from typing import Any, Final

import psycopg

from crm.db.address import conninfo

_OURS: Final = """
SELECT c.relname FROM pg_class AS c
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND pg_relation_size(c.oid) > 0
  AND pg_has_role(c.relowner, 'USAGE')"""
USED: Final = f"{_OURS} ORDER BY 1"
# Tables without a count of rows, or without statistics of any column. (CREATE INDEX sets the count; a table that is
# emptied loses it, and keeps the statistics of its columns.)
NEVER_ANALYZED: Final = f"""{_OURS}
  AND (c.reltuples = -1 OR c.reltuples > 0
    AND NOT EXISTS (SELECT FROM pg_stats WHERE schemaname = current_schema() AND tablename = c.relname))
ORDER BY 1"""


def analysis(table: str) -> str:
    """The ANALYZE statement for one table; it skips a table that another session analyzes already."""
    return f"ANALYZE (SKIP_LOCKED) {quoted(table)}"


def quoted(name: str) -> str:
    """A name quoted as an SQL identifier, whatever characters it has: `quote_ident`, but always with quotes."""
    return '"' + name.replace('"', '""') + '"'


def analyze_all(url: str) -> None:
    """Gather statistics of every table that holds rows. Takes seconds, whatever their size."""
    with psycopg.connect(conninfo(url), autocommit=True) as connection:
        for table in names(connection, USED):
            with connection.transaction():
                connection.execute("SET LOCAL statement_timeout = 0")
                analyze(connection, table)


def analyze(connection: psycopg.Connection[Any], *tables: str) -> None:
    """Gather statistics of these tables, including rows that the transaction has not committed yet."""
    for table in tables:
        connection.execute(analysis(table).encode())


def names(connection: psycopg.Connection[Any], query: str) -> list[str]:
    """The table names that a query (`USED`, `NEVER_ANALYZED`) returns."""
    return [name for (name,) in connection.execute(query.encode()).fetchall()]
