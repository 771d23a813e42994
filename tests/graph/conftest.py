"""An engine in the tests' own process, over the real PostgreSQL."""

from uuid import UUID

import psycopg
import pytest

from crm.core.identity import Role, Viewer
from crm.core.settings import Settings
from crm.db.database import Database
from crm.graph.run.engine import Engine
from crm.schema import schema


@pytest.fixture(scope="session")
def roomy():
    """Settings that let generated operations be large: their limits have tests of their own."""
    return Settings(
        max_aliases=5000, max_cost=10**9, max_directives=500, max_fragments=500, max_fields=5000, max_tokens=50_000
    )


@pytest.fixture
async def engine(database_url, roomy):
    database = Database(database_url, size=4)
    yield Engine(schema, database, roomy)
    database.close()


@pytest.fixture(scope="session")
def viewers(database_url):
    """One viewer for each role."""
    with psycopg.connect(database_url) as connection:
        found = connection.execute("SELECT id, role FROM users WHERE email LIKE 'service-%@crm.invalid'").fetchall()
    return {role: Viewer(UUID(str(key)), Role(role)) for key, role in found}
