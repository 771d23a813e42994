"""Old events go; cursors that would miss some are refused, others work on."""

import asyncio
import json
from uuid import uuid4

import psycopg
import pytest

from crm.db import event_feed as feeds
from crm.db.database import Database
from crm.db.event_feed import EventFeed
from tests.faults.follower import CHANGES, first_event, open_socket, stream, subscribe

pytestmark = pytest.mark.waits(20)

DAYS = 30


@pytest.fixture(scope="module")
def server(own_server):
    return own_server


@pytest.fixture
async def feed(own_database):
    database = Database(own_database, size=2)
    yield EventFeed(database, own_database, DAYS)
    database.close()


@pytest.fixture
def events(own_database):
    """Write events of a given age, in one transaction; returns their cursors."""

    def write(count: int, *, days: int = 0) -> list[str]:
        known = len(stream(own_database))
        with psycopg.connect(own_database, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO events (type, entity, entity_id, occurred_at) "
                "SELECT 'lead.noted', 'lead', n::text, now() - make_interval(days => %s) FROM generate_series(1, %s) n",
                (days, count),
            )
        return stream(own_database)[known:]

    return write


async def _first(server, **variables):
    """What a new subscription says first."""
    async with open_socket(server, server.token()) as socket:
        await socket.send(subscribe(CHANGES, **variables))
        return json.loads(await asyncio.wait_for(socket.recv(), 5))


def _code(message):
    return message["payload"][0]["extensions"]["code"]


class TestPruning:
    async def test_removes_what_is_past_its_time_in_batches(self, feed, events, own_database, monkeypatch):
        monkeypatch.setattr(feeds, "_PRUNE_BATCH", 10)
        events(25, days=DAYS + 1)
        kept = events(3, days=DAYS - 1) + events(2)
        assert [await feed.prune_once() for _ in range(4)] == [10, 10, 5, 0]
        assert stream(own_database) == kept

    async def test_a_cursor_that_would_miss_some_has_expired(self, feed, events, server):
        old, last = events(1, days=DAYS + 2)[0], events(2, days=DAYS + 1)[-1]
        kept = events(2)
        await feed.prune_once()
        assert _code(await _first(server, after=old)) == "CURSOR_EXPIRED"
        following = await _first(server, after=kept[0])
        assert following["payload"]["data"]["changes"]["cursor"] == kept[1]
        assert stream(server.database_url) == kept
        assert last not in kept

    async def test_a_cursor_in_the_middle_of_a_removed_transaction_has_expired(self, feed, events, server, monkeypatch):
        monkeypatch.setattr(feeds, "_PRUNE_BATCH", 4)
        many = events(6, days=DAYS + 1)
        await feed.prune_once()
        assert _code(await _first(server, after=many[1])) == "CURSOR_EXPIRED"

    async def test_two_processes_prune_at_once(self, feed, events, own_database):
        events(300, days=DAYS + 1)
        kept = events(1)
        removed = await asyncio.gather(feed.prune_once(), feed.prune_once())
        assert sum(removed) == 300
        assert stream(own_database) == kept

    async def test_the_server_prunes_by_itself(self, events, start_server, own_database):
        events(20, days=DAYS + 1)
        kept = events(1)
        start_server(CRM_EVENT_RETENTION_DAYS=str(DAYS))
        for _ in range(50):
            if stream(own_database) == kept:
                break
            await asyncio.sleep(0.1)
        assert stream(own_database) == kept


class TestRestore:
    async def test_a_new_epoch_ends_all_cursors(self, own_database, server):
        before = first_event(own_database)
        first_event(own_database)
        assert (await _first(server, after=before))["type"] == "next"
        with psycopg.connect(own_database, autocommit=True) as connection:
            connection.execute("UPDATE event_epoch SET epoch = gen_random_uuid()")
        assert _code(await _first(server, after=before)) == "CURSOR_EXPIRED"
        first_event(own_database)
        after = stream(own_database)
        following = await _first(server, after=after[0])
        assert following["payload"]["data"]["changes"]["cursor"] == after[1]

    async def test_a_cursor_from_the_future_is_refused(self, own_database, server):
        """As after a restore that forgot to renew the epoch."""
        epoch, xid, _ = first_event(own_database).split(".")
        assert _code(await _first(server, after=f"{epoch}.{int(xid) + 1000}.1")) == "CURSOR_EXPIRED"
        assert _code(await _first(server, after=f"{uuid4()}.{xid}.1")) == "CURSOR_EXPIRED"

    async def test_a_cursor_ahead_of_an_open_transaction_misses_nothing(self, own_database, server):
        """A timeline shows changes at once; its cursor may be ahead of a transaction that is still open."""
        with psycopg.connect(own_database) as slow:
            slow.execute("INSERT INTO events (type, entity, entity_id) VALUES ('lead.late', 'lead', '0')")
            ahead = first_event(own_database)
            async with open_socket(server, server.token()) as socket:
                await socket.send(subscribe(CHANGES, after=ahead))
                await asyncio.sleep(0.3)
                slow.commit()
                got = json.loads(await asyncio.wait_for(socket.recv(), 5))
        assert got["payload"]["data"]["changes"]["type"] == "lead.late"
