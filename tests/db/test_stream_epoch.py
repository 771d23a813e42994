"""What stays of positions when PostgreSQL's timeline becomes another one, decided by the events that are left.

The fork is made up: events and epoch say that they are of timeline 0, and the server is on timeline 1.
"""

import asyncio
import re
from pathlib import Path

import psycopg
import pytest

from crm.core import errors
from crm.db.database import Database
from crm.db.event_feed import EventFeed
from crm.db.statement import Statement
from tests.support.clusters import create_migrated_database

_FAULTS = Path(__file__).resolve().parents[2] / "docs" / "operations" / "faults.md"
_INSERT = "INSERT INTO events (type, entity, entity_id, timeline) VALUES ('lead.noted', 'lead', '0', 0) RETURNING id"


@pytest.fixture(scope="module")
def forked_url(postgres):
    """A database of its own."""
    base = postgres.url.replace("/crm?", "/postgres?")
    url = create_migrated_database(postgres.url, "forked")
    yield url
    with psycopg.connect(base, autocommit=True) as connection:
        connection.execute("DROP DATABASE forked WITH (FORCE)")


@pytest.fixture
def connection(forked_url):
    with psycopg.connect(forked_url, autocommit=True) as connection:
        connection.execute("TRUNCATE events, event_forks")
        connection.execute("UPDATE event_epoch SET epoch = gen_random_uuid(), timeline = 0, purged_xid = '0'")
        yield connection


@pytest.fixture
async def feed(connection, forked_url):  # noqa: ARG001
    database = Database(forked_url, size=4)
    yield EventFeed(database, forked_url, 400)
    database.close()


@pytest.fixture
def write(connection):
    """Write an event; returns its cursor."""

    def written():
        (key,) = connection.execute(_INSERT).fetchone()
        statement = "SELECT epoch || '.' || xid || '.' || id FROM events, event_epoch WHERE id = %s"
        return connection.execute(statement, (key,)).fetchone()[0]

    return written


def _epochs(connection):
    return connection.execute("SELECT epoch FROM event_epoch").fetchall()


async def _is_good(feed, cursor):
    try:
        return _number(await feed.position(cursor)) == int(cursor.split(".")[1])
    except errors.CursorExpired:
        return False


def _number(position):
    return position.xid


class TestFork:
    async def test_keeps_what_was_committed_before_it(self, feed, write):
        cursors = [write() for _ in range(5)]
        assert [await _is_good(feed, one) for one in cursors] == [True] * 5
        assert (await feed.position(cursors[0])).epoch != cursors[0].split(".")[0]

    async def test_ends_positions_behind_a_commit_that_was_lost(self, feed, write, forked_url):
        """To the promoted server it is a transaction that was never committed."""
        before = write()
        with psycopg.connect(forked_url) as lost:
            lost.execute(_INSERT)
            after = write()
            lost.rollback()
        assert await _is_good(feed, before)
        assert not await _is_good(feed, after)

    async def test_does_not_mind_what_was_rolled_back_before_the_last_event(self, feed, write, forked_url):
        before = write()
        with psycopg.connect(forked_url) as other:
            other.execute(_INSERT)
            other.rollback()
        after = write()
        assert await _is_good(feed, before)
        assert await _is_good(feed, after)

    async def test_ends_positions_that_the_new_timeline_has_passed_already(self, feed, write, connection):
        """Ids of transactions are given out again: this may have been another event to whoever saw it."""
        before, again = write(), write()
        connection.execute("UPDATE events SET timeline = 1 WHERE id = (SELECT max(id) FROM events)")
        assert await _is_good(feed, before)
        assert not await _is_good(feed, again)

    async def test_is_noticed_once(self, feed, write, connection):
        write()
        old = _epochs(connection)
        await asyncio.gather(*(feed.renew() for _ in range(4)))
        assert _epochs(connection) != old
        assert connection.execute("SELECT epoch FROM event_forks").fetchall() == old
        new = _epochs(connection)
        await feed.renew()
        assert _epochs(connection) == new

    async def test_after_a_fork_counts_for_positions_from_before_both(self, feed, write, connection, forked_url):
        kept = write()
        with psycopg.connect(forked_url) as lost:
            lost.execute(_INSERT)
            ended = write()
            lost.rollback()
        await feed.renew()
        connection.execute("UPDATE event_epoch SET timeline = 0")  # once more; nothing is lost this time
        between = write()
        await feed.renew()
        assert [await _is_good(feed, one) for one in (kept, ended, between)] == [True, False, True]

    async def test_to_a_lower_timeline_ends_everything(self, feed, write, connection):
        """Another cluster's: a dump that was restored."""
        cursor = write()
        connection.execute("UPDATE event_epoch SET timeline = 7")
        assert not await _is_good(feed, cursor)

    async def test_renewed_by_hand_ends_everything_before(self, feed, write, connection):
        cursor = write()
        await feed.renew()
        assert await _is_good(feed, cursor)
        connection.execute("UPDATE event_epoch SET epoch = gen_random_uuid()")
        assert not await _is_good(feed, cursor)

    async def test_that_nothing_can_renew_is_no_endless_search(self, feed):
        """As where `event_epoch` is empty."""
        with pytest.raises(errors.Unavailable):
            await feed.renewed(Statement("SELECT NULL::text"), ())

    async def test_of_an_empty_stream(self, feed):
        start = await feed.now()
        assert await feed.carried(start) == start

    async def test_a_position_ahead_of_the_server_is_refused(self, feed, write):
        """As after a restore that renewed nothing."""
        write()
        now = await feed.now()
        with pytest.raises(errors.CursorExpired):
            await feed.carried(type(now)(now.xid + 1000, 1, now.epoch))


class TestDumpInAnotherCluster:
    """There transactions are numbered anew, from far below those of the dump."""

    async def test_goes_on_after_the_statements_of_the_guide(self, feed, write, connection):
        seen, unseen = [write() for _ in range(3)], [write() for _ in range(2)]
        connection.execute("UPDATE events SET xid = (xid::text::bigint + 1000000)::text::xid8")
        connection.execute("TRUNCATE event_followers")
        connection.execute(
            "INSERT INTO event_followers (name, xid, id) "
            "SELECT 'scores', xid, id FROM events ORDER BY id OFFSET 2 LIMIT 1"
        )
        (statements,) = re.findall(r"```sql\n(BEGIN;.*?)```", _FAULTS.read_text(), re.DOTALL)
        connection.execute(statements)
        new = write()
        left = connection.execute(
            "SELECT events.id FROM events, event_followers AS place "
            "WHERE (events.xid, events.id) > (place.xid, place.id) ORDER BY events.xid, events.id"
        ).fetchall()
        assert [str(row[0]) for row in left] == [one.rpartition(".")[2] for one in (*unseen, new)]
        assert not await _is_good(feed, seen[0])
        assert (await feed.now()).xid == int(new.split(".")[1])
