"""A PostgreSQL of these tests' own, with the tables in place."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.config import Config

from crm.db.embedded import EmbeddedPostgres

ALEMBIC = Path(__file__).parents[2] / "alembic"


@pytest.fixture(scope="module")
def demo_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a migrated database."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("demo") / "pg") as server:
        config = Config()
        config.set_main_option("script_location", str(ALEMBIC))
        config.set_main_option("sqlalchemy.url", server.url.replace("%", "%%"))
        command.upgrade(config, "head")
        yield server.url


@pytest.fixture
def connection(demo_database: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection to it; the tables are empty, but for the service users."""
    with psycopg.connect(demo_database, autocommit=True) as connection:
        connection.execute("TRUNCATE leads, interactions, tasks, events, ai_tasks, ai_calls RESTART IDENTITY CASCADE")
        connection.execute("DELETE FROM users WHERE email LIKE '%.example'")
        yield connection
