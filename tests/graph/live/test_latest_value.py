"""A subscription to one row, while PostgreSQL takes longer than a read may."""

import asyncio
from contextlib import aclosing

import pytest

from crm.core import errors
from crm.core.settings import Settings
from crm.db.database import Database
from crm.db.lanes import LaneLimits
from crm.graph.run.engine import Engine, Request
from crm.schema import schema
from tests.support import locks

QUEUE = Request("subscription { aiTaskQueueUpdated { queued } }", None, {})
WAITING = "SELECT pid, query_start FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


@pytest.fixture
async def limited(database_url, db):  # noqa: ARG001
    """An engine whose reads may take 0.5 s."""
    database = Database(database_url, size=4, limits=LaneLimits(read_seconds=0.5))
    engine = Engine(schema, database, Settings())
    yield engine
    await engine.subscriptions.stop()
    database.close()


@pytest.fixture
def locked(database_url):
    """Whoever reads the queue waits until this is closed."""
    with locks.locked(database_url, "ai_tasks") as connection:
        yield connection


async def test_goes_on_after_one_read_was_cancelled(limited, viewers, locked, db):
    """As PostgreSQL thaws, it runs the read that waited, and cancels it at once."""
    async with aclosing(limited.subscribe(QUEUE, viewers["admin"])) as answers:
        first = asyncio.create_task(anext(answers))
        waiting = set()
        async with asyncio.timeout(5):
            while len(waiting) < 2:
                waiting |= {(row["pid"], row["query_start"]) for row in db.execute(WAITING).fetchall()}
                await asyncio.sleep(0.01)
        locked.close()
        assert b'"queued"' in b"".join(await asyncio.wait_for(first, 5))


async def test_ends_when_each_is(limited, viewers, locked):  # noqa: ARG001
    async with aclosing(limited.subscribe(QUEUE, viewers["admin"])) as answers:
        with pytest.raises(errors.Timeout, match="Select less of it"):
            await asyncio.wait_for(anext(answers), 5)
