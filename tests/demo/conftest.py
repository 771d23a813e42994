"""A PostgreSQL of these tests' own, with the tables in place."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import psycopg
import pytest

from crm.demo.load import load
from tests.support.clusters import create_migrated_database, migrated_postgres
from tests.support.postgres import remove


@pytest.fixture(scope="module")
def demo_database() -> Iterator[str]:
    """The URL of a migrated database."""
    postgres, folder = migrated_postgres()
    yield postgres.url
    postgres.stop()
    remove(folder)


@pytest.fixture(scope="module")
def filled(demo_database: str) -> Iterator[Callable[[int, datetime], psycopg.Connection[Any]]]:
    """Give a connection that only reads, to so many demo leads as of a moment: loaded once for all who ask for them."""
    found: dict[tuple[int, datetime], psycopg.Connection[Any]] = {}

    def give(leads: int, now: datetime) -> psycopg.Connection[Any]:
        if (leads, now) not in found:
            url = create_migrated_database(demo_database, f"demo{len(found)}")
            with psycopg.connect(url, autocommit=True) as connection:
                load(connection, leads, now=now)
            read_only = "-c default_transaction_read_only=on"
            found[leads, now] = psycopg.connect(url, autocommit=True, options=read_only)
        return found[leads, now]

    yield give
    for connection in found.values():
        connection.close()


@pytest.fixture
def connection(demo_database: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection to it; the tables are empty, but for the service users."""
    with psycopg.connect(demo_database, autocommit=True) as connection:
        connection.execute("TRUNCATE leads, interactions, tasks, events, ai_tasks, ai_calls RESTART IDENTITY CASCADE")
        connection.execute("DELETE FROM users WHERE email LIKE '%.example'")
        yield connection
