"""Locks that somebody outside the API holds, and who waits for them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

_WAITING = """
SELECT count(*) AS count FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND wait_event_type = 'Lock'"""


@contextmanager
def locked(url: str, table: str) -> Iterator[psycopg.Connection[Any]]:
    """While this holds, or its connection is open, whoever reads the table waits."""
    with psycopg.connect(url) as connection:
        connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield connection


def waiting(db: psycopg.Connection[Any]) -> int:
    """How many statements wait for a lock."""
    row: Any = db.execute(_WAITING).fetchone()
    return int(row["count"])
