"""Leads with facts, and their scores as of any instant."""

import psycopg
import pytest

from crm.db.database import Database
from crm.db.statement import Statement
from tests.sales.scoring.facts import Scorer

_EMPTY = Statement("DELETE FROM leases")


@pytest.fixture(scope="module")
def scorer(database_url):
    """Scores facts that exist for that long only."""
    with psycopg.connect(database_url) as connection:
        connection.execute("TRUNCATE leads, tasks, interactions, events RESTART IDENTITY CASCADE")
        connection.commit()
        yield Scorer(connection)
        connection.rollback()


@pytest.fixture
async def database(database_url, db):  # noqa: ARG001
    found = Database(database_url, size=3)
    await found.write(_EMPTY)
    yield found
    found.close()
