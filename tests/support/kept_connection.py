"""A connection that is opened when it is needed and kept: to open one takes forty times what a short statement does."""

import select
from typing import Any

import psycopg
from psycopg.rows import dict_row


class KeptConnection:
    """Statements, each committed at once; after PostgreSQL was away, on a new connection."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.Connection[dict[str, Any]] | None = None

    def rows(self, statement: str, *params: object) -> list[dict[str, Any]]:
        """Run a statement; its rows, if it has any."""
        cursor = self._usable().execute(statement, params)
        return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _usable(self) -> psycopg.Connection[dict[str, Any]]:
        if self._connection is not None and _has_ended(self._connection):
            self.close()
        if self._connection is None:
            self._connection = psycopg.connect(self._url, autocommit=True, row_factory=dict_row)
        return self._connection


def _has_ended(connection: psycopg.Connection[Any]) -> bool:
    """Whether PostgreSQL has said something since the last statement: usually that it ends the connection."""
    if connection.closed:
        return True
    watch = select.poll()
    watch.register(connection.fileno(), select.POLLIN)
    return bool(watch.poll(0))
