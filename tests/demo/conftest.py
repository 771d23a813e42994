"""A PostgreSQL of these tests' own, with the tables in place."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.support.clusters import migrated_postgres
from tests.support.postgres import remove


@pytest.fixture(scope="module")
def demo_database() -> Iterator[str]:
    """The URL of a migrated database."""
    postgres, folder = migrated_postgres()
    yield postgres.url
    postgres.stop()
    remove(folder)


@pytest.fixture
def connection(demo_database: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection to it; the tables are empty, but for the service users."""
    with psycopg.connect(demo_database, autocommit=True) as connection:
        connection.execute("TRUNCATE leads, interactions, tasks, events, ai_tasks, ai_calls RESTART IDENTITY CASCADE")
        connection.execute("DELETE FROM users WHERE email LIKE '%.example'")
        yield connection
