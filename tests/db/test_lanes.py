"""One viewer, and reads that take long, never take what everybody needs."""

import asyncio
import itertools
import statistics
import time
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import psycopg
import pytest

from crm.core import errors
from crm.db.connection import TookTooLong
from crm.db.database import Database
from crm.db.lanes import LaneLimits
from crm.db.statement import Statement
from tests.support.waiting import eventually

pytestmark = pytest.mark.waits(15)

ONE = Statement("SELECT 1")
FLOODER, OTHER, THIRD = 1, 2, 3
LIMITS = LaneLimits(each=3, slow=3, read_seconds=20)
_numbers = itertools.count(1)


def sleep(seconds):
    """A read that takes so long, different from all others."""
    return Statement(f"SELECT {next(_numbers)} FROM pg_sleep({seconds})")


def sleeping(db):
    row = db.execute(
        "SELECT count(*) AS count FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND state = 'active'"
    ).fetchone()
    return row["count"]


@pytest.fixture
def database(database_url):
    found = Database(database_url, size=10, limits=LIMITS)
    yield found
    found.close()


@asynccontextmanager
async def flood(database, owner, reads):
    """These reads of one viewer, all at once; what is left of them is cancelled."""
    tasks = [asyncio.create_task(database.read(read, (), owner=owner)) for read in reads]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def timed(database, owner=OTHER, count=40):
    """How long quick reads of somebody else take."""
    took = []
    for _ in range(count):
        started = time.monotonic()
        await database.read(ONE, (), owner=owner)
        took.append(time.monotonic() - started)
        await asyncio.sleep(0.025)
    return took


class TestAFlood:
    async def test_of_new_slow_reads_leaves_quick_ones_a_connection(self, database, db):
        async with flood(database, FLOODER, [sleep(15) for _ in range(60)]):
            await eventually(lambda: sleeping(db) == 10)
            took = await timed(database)
        assert statistics.quantiles(took, n=20)[-1] < 2  # waiting for one of them would be 15
        assert statistics.median(took) < 0.5

    async def test_of_reads_known_to_be_slow_does_too(self, database, db):
        known = Statement("SELECT 1 FROM pg_sleep(0.7)")
        await database.read(known, (), owner=FLOODER)
        slow = Statement("SELECT 1 FROM pg_sleep(15)")
        slow.slow_for = FLOODER
        assert known.slow_for == FLOODER
        async with flood(database, FLOODER, [slow] * 60):
            await eventually(lambda: sleeping(db) == 10)
            took = await timed(database, count=20)
            assert sleeping(db) < 10
        assert statistics.quantiles(took, n=20)[-1] < 2
        assert statistics.median(took) < 0.5

    async def test_leaves_a_slow_slot_for_the_next(self, database, db):
        async with flood(database, FLOODER, [sleep(15) for _ in range(20)]):
            await eventually(lambda: sleeping(db) == 10)
            await timed(database, count=2)
            await database.read(sleep(1), (), owner=OTHER)

    @pytest.mark.parametrize("flooders", [1, 2])
    async def test_shares_the_slots_with_reads_known_to_be_slow(self, database, db, flooders):
        """Nobody asks for anything quick, so that all connections are taken by slow ones."""
        slow = Statement("SELECT 1 FROM pg_sleep(0.3)")
        slow.slow_for = OTHER
        async with AsyncExitStack() as stack:
            for flooder in range(flooders):
                await stack.enter_async_context(flood(database, FLOODER + 10 * flooder, [sleep(15) for _ in range(20)]))
            await eventually(lambda: sleeping(db) == 10)
            await asyncio.sleep(0.7)
            for _ in range(3):
                began = time.monotonic()
                await database.read(slow, (), owner=OTHER)
                assert time.monotonic() - began < 3  # waiting for one of theirs would be 15
                slow.slow_for = OTHER

    async def test_is_done_in_the_end(self, database):
        """What was stopped for others runs again."""
        async with flood(database, FLOODER, [sleep(0.3) for _ in range(30)]) as tasks:
            await timed(database, count=20)
            assert len(await asyncio.gather(*tasks)) == 30

    async def test_stops_no_more_than_others_wait_for(self, database, db):
        async with flood(database, FLOODER, [sleep(15) for _ in range(10)]):
            await eventually(lambda: sleeping(db) == 10)
            await timed(database, count=20)
            assert sleeping(db) == 9

    async def test_of_writes_gets_no_more_while_others_wait(self, database):
        """What is not a read cannot be stopped; but what is given back goes to the others."""
        held = [await database.primary.acquire(FLOODER) for _ in range(10)]
        mine = [asyncio.create_task(database.primary.acquire(FLOODER)) for _ in range(5)]
        others = [asyncio.create_task(database.primary.acquire(OTHER)) for _ in range(2)]
        await eventually(lambda: database.primary.lanes.strict)
        for wire in held[:2]:
            database.primary.release(wire)
        got = await asyncio.wait_for(asyncio.gather(*others), 5)
        assert not any(task.done() for task in mine)
        for wire in got:
            database.primary.release(wire)
        await asyncio.sleep(0.2)
        assert not any(task.done() for task in mine)  # two are left free: there may be more to come of the others
        for wire in held[2:4]:
            database.primary.release(wire)
        await eventually(lambda: any(task.done() for task in mine))  # more than a third are free
        for task in mine:
            task.cancel()


class TestAlone:
    async def test_a_viewer_has_all_connections(self, database, db):
        async with flood(database, FLOODER, [sleep(5) for _ in range(10)]):
            await eventually(lambda: sleeping(db) == 10)
            await asyncio.sleep(1.2)
            assert sleeping(db) == 10  # nobody waits: slow ones are let be

    async def test_has_them_for_reads_known_to_be_slow(self, database, db):
        slow = Statement("SELECT 1 FROM pg_sleep(2)")
        slow.slow_for = FLOODER
        async with flood(database, FLOODER, [slow] * 10) as tasks:
            await eventually(lambda: sleeping(db) == 10)
            await asyncio.gather(*tasks)


class TestQuickReads:
    async def test_of_two_viewers_share_all_connections(self, database_url):
        """The limits are for what takes long: a crowd of quick reads stops nothing and leaves nothing idle."""
        database = Database(database_url, size=10, limits=LIMITS)
        read = Statement("SELECT 1 FROM pg_sleep(0.01)")
        seen = set()

        async def keep(owner):
            for _ in range(20):
                await database.read(read, (), owner=owner)
                seen.add(len(database.primary.lanes.busy))

        await asyncio.gather(*(keep(owner) for owner in (FLOODER, OTHER) for _ in range(20)))
        assert max(seen) >= 9  # far more than three each
        assert not database.primary.lanes.strict
        database.close()

    async def test_a_read_that_is_quick_again_is_not_slow_any_more(self, database):
        read = Statement("SELECT 1 FROM pg_sleep($1::float)")
        await database.read(read, [b"0.7"], owner=OTHER)
        assert read.slow_for == OTHER
        await database.read(read, [b"0"], owner=OTHER)
        assert read.slow_for != OTHER


class TestTheTimeLimit:
    async def test_ends_a_read_at_the_server_and_keeps_the_connection(self, database_url, db):
        database = Database(database_url, size=1, limits=LaneLimits(read_seconds=0.5))
        pid = Statement("SELECT pg_backend_pid()")
        before = (await database.read(pid, (), owner=OTHER)).get_value(0, 0)
        started = time.monotonic()
        with pytest.raises(TookTooLong):
            await database.read(sleep(30), (), owner=OTHER)
        assert 0.4 < time.monotonic() - started < 10
        assert sleeping(db) == 0
        assert (await database.read(pid, (), owner=OTHER)).get_value(0, 0) == before
        database.close()

    async def test_is_not_for_the_program_s_own_reads(self, database_url):
        database = Database(database_url, size=1, limits=LaneLimits(read_seconds=0.2))
        assert (await database.read(sleep(0.8), ())).ntuples == 1
        database.close()

    async def test_never_hits_the_next_statement(self, database_url):
        """A cancellation that comes late must not meet what runs next on the connection."""
        database = Database(database_url, size=2, limits=LaneLimits(read_seconds=0.1))
        ended = 0
        for number in range(30):
            edge = 0.1 + number % 10 * 0.01
            with suppress(TookTooLong):
                await database.read(sleep(edge), (), owner=OTHER)
                ended += 1
            assert (await database.read(ONE, (), owner=OTHER)).get_value(0, 0) == b"1"
        assert 0 < ended < 30
        database.close()


class TestIdleConnections:
    async def test_are_given_back(self, database_url):
        database = Database(database_url, size=5, limits=LaneLimits(idle_seconds=0.4))
        await asyncio.gather(*(database.read(sleep(0.05), ()) for _ in range(5)))
        assert database.primary.open == 5
        await eventually(lambda: database.primary.open == 0)
        assert (await database.read(ONE, ())).ntuples == 1
        database.close()


class TestALimitOfTheServer:
    async def test_makes_a_pool_do_with_what_it_has(self, database_url, db):
        """PostgreSQL lets no more in: those who wait get the connections there are."""
        db.execute("DROP ROLE IF EXISTS crowded")
        db.execute("CREATE ROLE crowded LOGIN CONNECTION LIMIT 2")
        database = Database(database_url.replace("postgres@", "crowded@"), size=10, timeout=5)
        try:
            read = Statement("SELECT 1 FROM pg_sleep(0.05)")
            found = await asyncio.gather(*(database.read(read, (), owner=OTHER) for _ in range(30)))
            assert len(found) == 30
        finally:
            database.close()
            await asyncio.sleep(0.1)
            db.execute("DROP ROLE crowded")


class TestABrokenServer:
    async def test_waiting_is_bounded(self, database_url):
        database = Database(database_url, size=1, timeout=0.5, limits=LIMITS)
        held = await database.primary.acquire(FLOODER)
        with pytest.raises(errors.Unavailable, match="busy"):
            await database.read(ONE, (), owner=OTHER)
        database.primary.release(held)
        assert (await database.read(ONE, (), owner=OTHER)).ntuples == 1
        database.close()


def test_these_tests_need_a_server_with_room(database_url):
    with psycopg.connect(database_url) as connection:
        (most,) = connection.execute("SHOW max_connections").fetchone() or ()
    assert int(most) >= 50
