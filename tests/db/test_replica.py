"""A replica answers what may be stale; while it cannot, the primary does."""

import asyncio
import time

import psycopg
import pytest
from structlog.testing import capture_logs

from crm.db.database import Database
from crm.db.statement import Statement
from tests.support.proxy import Proxy
from tests.support.standby import replicated
from tests.support.waiting import eventually

pytestmark = pytest.mark.waits(12)

WHO = Statement("SELECT current_database()")
OWNER = 1


@pytest.fixture(scope="module")
def other_url(database_url):
    """Another database of the server, to tell who answered: it stands for a replica."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS replica")
        connection.execute("CREATE DATABASE replica")
    yield database_url.replace("/crm?", "/replica?")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DROP DATABASE replica WITH (FORCE)")


@pytest.fixture
async def proxy(database_url):
    async with Proxy(database_url) as found:
        yield found


@pytest.fixture
def database(database_url, other_url, proxy):
    """A primary, and a replica behind the proxy."""
    assert other_url
    found = Database(database_url, f"postgresql://postgres@{proxy.host}/replica", timeout=5)
    yield found
    found.close()


async def who(database, *, stale=True):
    return (await database.read(WHO, (), owner=OWNER, stale=stale)).get_value(0, 0).decode()


class TestAReplica:
    async def test_answers_what_may_be_stale(self, database):
        assert await who(database) == "replica"
        assert await who(database, stale=False) == "crm"

    async def test_that_is_down_is_left_alone(self, database, proxy):
        assert await who(database) == "replica"
        await proxy.down()
        with capture_logs() as logs:
            assert [await who(database) for _ in range(20)] == ["crm"] * 20
        assert [line["event"] for line in logs].count("replica.left_alone") == 1

    async def test_that_freezes_loses_what_waits_for_it_to_the_primary(self, database, proxy):
        assert await who(database) == "replica"
        proxy.freeze()
        started = time.monotonic()
        assert await asyncio.gather(*(who(database) for _ in range(20))) == ["crm"] * 20
        assert time.monotonic() - started < 4
        connections = proxy.connections
        assert [await who(database) for _ in range(20)] == ["crm"] * 20
        assert proxy.connections == connections
        proxy.thaw()

    async def test_that_was_frozen_before_anybody_asked_is_given_a_second(self, database, proxy):
        proxy.freeze()
        started = time.monotonic()
        assert await who(database) == "crm"
        assert time.monotonic() - started < 3
        proxy.thaw()

    async def test_that_comes_back_is_used_again(self, database, proxy, monkeypatch):
        monkeypatch.setattr("crm.db.replica._REST_SECONDS", 0.3)
        proxy.freeze()
        assert await who(database) == "crm"
        proxy.thaw()
        await asyncio.sleep(0.4)
        assert await who(database) == "replica"

    async def test_that_is_merely_slow_is_waited_for(self, database):
        slow = Statement("SELECT current_database() FROM pg_sleep(2.5)")
        assert (await database.read(slow, (), owner=OWNER, stale=True)).get_value(0, 0) == b"replica"

    async def test_that_takes_a_read_back_is_asked_again_for_the_next(self, database, database_url, other_url):
        """What it replays removes rows that the read still needs: 40001."""
        body = "BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END"
        for url, language, text in (
            (database_url, "sql", "SELECT 'crm'"),
            (other_url, "plpgsql", body),
        ):
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(
                    f"CREATE OR REPLACE FUNCTION answer() RETURNS text LANGUAGE {language} AS $${text}$$"
                )
        found = await database.read(Statement("SELECT answer()"), (), owner=OWNER, stale=True)
        assert found.get_value(0, 0) == b"crm"
        assert await who(database) == "replica"
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("DROP FUNCTION answer()")

    async def test_keeps_its_errors(self, database):
        with pytest.raises(psycopg.errors.DivisionByZero):
            await database.read(Statement("SELECT 1/0"), (), owner=OWNER, stale=True)


@pytest.fixture(scope="module")
def pair():
    with replicated() as found:
        yield found


class TestAStandby:
    """PostgreSQL's own replication."""

    async def test_is_not_asked_while_it_is_further_behind_than_it_may_be(self, pair):
        standing = Statement("SELECT pg_is_in_recovery()")

        async def from_standby(database):
            return (await database.read(standing, (), owner=OWNER, stale=True)).get_value(0, 0) == b"t"

        async def until(database, wanted, seconds=15):
            deadline = time.monotonic() + seconds
            while await from_standby(database) is not wanted:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.1)

        await eventually(pair.caught_up)
        database = Database(pair.primary.url, pair.standby.url, most_lag=2)
        await until(database, wanted=True)
        with psycopg.connect(pair.standby.url, autocommit=True) as connection:
            connection.execute("SELECT pg_wal_replay_pause()")
            await database.write(Statement("INSERT INTO leads (first_name, last_name) VALUES ('a', 'b')"))
            await until(database, wanted=False)
            connection.execute("SELECT pg_wal_replay_resume()")
        await until(database, wanted=True)
        database.close()

    async def test_where_a_primary_was_is_left_for_it_at_the_next_connection(self, pair):
        """The connection leads to a server that takes no writes any more: UNAVAILABLE, and none is kept."""
        insert = Statement("INSERT INTO leads (first_name, last_name) VALUES ('a', 'b')")
        database = Database(pair.standby.url)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await database.write(insert)
        assert database.primary.open == 0
        pair.primary.stop()
        pair.standby.promote()
        await database.write(insert)
        database.close()
