"""How much a subscription reads at once, how often, and what becomes of what is too much."""

import asyncio
import json
from contextlib import aclosing, asynccontextmanager, contextmanager

import psycopg
import pytest

from crm.core import errors
from crm.core.identity import Role, Viewer
from crm.core.settings import Settings
from crm.db.database import Database
from crm.db.lanes import LaneLimits
from crm.db.statement import Statement
from crm.graph.run.engine import Engine, Request
from crm.schema import schema
from tests.support.clusters import create_migrated_database
from tests.support.proxy import Proxy

pytestmark = pytest.mark.waits(16)

EVENT = (
    "INSERT INTO events (type, entity, entity_id, lead_id) SELECT %s, 'lead', %s::text, %s FROM generate_series(1, %s)"
)
TASKS = "INSERT INTO tasks (title, lead_id) SELECT 'T', %s FROM generate_series(1, %s)"
NOTES = """
INSERT INTO interactions (type, lead_id, notes) SELECT 'note', %s, repeat('x', 9000) FROM generate_series(1, %s)
"""
LONG_EVENT = """
INSERT INTO events (type, entity, entity_id, lead_id, fields)
SELECT 'lead.updated', 'lead', %s::text, %s,
  jsonb_build_array(jsonb_build_object('name', 'summary', 'before', NULL, 'after', repeat('x', 20000)))
FROM generate_series(1, %s)
"""
WAITING = "SELECT count(*) AS count FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
FOLLOWERS = 50


class Counting(Database):
    """Counts the reads of events that are shown."""

    reads = most_bytes = 0

    async def read(self, statement, params, **options):
        result = await super().read(statement, params, **options)
        if b"AS shown" in statement.text:
            self.reads += 1
            sizes = (len(result.get_value(row, 2) or b"") for row in range(result.ntuples))
            self.most_bytes = max(self.most_bytes, sum(sizes))
        return result


@pytest.fixture
async def engine(database_url, db):  # noqa: ARG001
    made = []

    def make(url=database_url, limits=None, size=4, **settings):
        database = Counting(url, size=size, limits=limits or LaneLimits())
        made.append(Engine(schema, database, Settings(**settings)))
        return made[-1]

    yield make
    for one in made:
        await one.subscriptions.stop()
        one.database.close()


class Followers:
    """Several who follow the same, each with what has come so far."""

    def __init__(self, engine, viewer, query, count, since):
        self.found = [[] for _ in range(count)]
        self.problems = []
        self._tasks = [asyncio.create_task(self._follow(engine, viewer, query, since, one)) for one in self.found]

    async def _follow(self, engine, viewer, query, since, found):
        try:
            async with aclosing(engine.subscribe(Request(query, None, {}), viewer, since=since)) as answers:
                async for answer in answers:
                    found.append(json.loads(b"".join(answer))["data"]["changes"])
        except errors.CrmError as error:
            self.problems.append(error)

    async def have(self, count):
        async with asyncio.timeout(20):
            while any(len(one) < count for one in self.found):
                await asyncio.sleep(0.02)

    async def ended(self):
        await asyncio.wait_for(asyncio.gather(*self._tasks), 20)
        return self.problems

    async def stop(self):
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.fixture
def follow(database_url):
    with psycopg.connect(database_url) as connection:
        (key,) = connection.execute("SELECT id FROM users WHERE email = 'service-admin@crm.invalid'").fetchone() or ()
    viewer = Viewer(key, Role.ADMIN)

    @asynccontextmanager
    async def following(engine, query="subscription { changes { type } }", count=1):
        followers = Followers(engine, viewer, query, count, await engine.feed.now())
        try:
            yield followers
        finally:
            await followers.stop()

    return following


@contextmanager
def change_that_waits(database_url, lead):
    """A change of a lead, whose interactions cannot be read meanwhile."""
    with psycopg.connect(database_url) as writer, psycopg.connect(database_url) as locked:
        writer.execute(EVENT, ["lead.updated", lead, lead, 1])  # older than what holds the lock
        locked.execute("LOCK TABLE interactions IN ACCESS EXCLUSIVE MODE")
        writer.commit()
        yield


class TestTooMuch:
    async def test_one_change_alone_ends_the_stream_with_its_error(self, engine, follow, db, make_lead):
        """It was read again and again, and whoever followed heard nothing more."""
        first, long, last = (make_lead()["id"] for _ in range(3))
        db.execute(TASKS, [long, 1001])
        async with follow(engine(), "subscription { changes { entityId lead { tasks { id } } } }", 2) as followers:
            with db.transaction():
                for lead, count in (first, 30), (long, 1), (last, 1):
                    db.execute(EVENT, ["lead.updated", lead, lead, count])
            problems = await followers.ended()
        assert [error.code for error in problems] == ["TOO_LARGE"] * 2
        assert "more than 1,000 rows" in problems[0].message
        shown = {tuple(change["entityId"] for change in one) for one in followers.found}
        assert shown == {(str(first),) * 30}

    async def test_time_ends_it_too(self, engine, follow, database_url, db, make_lead):
        lead = make_lead()["id"]
        limited = engine(limits=LaneLimits(read_seconds=0.5))
        async with follow(limited, "subscription { changes { lead { interactions { id } } } }") as followers:
            db.execute(EVENT, ["lead.updated", lead, lead, 1])
            await followers.have(1)
            with change_that_waits(database_url, lead):
                (problem,) = await followers.ended()
        assert problem.code == "TIMEOUT"
        assert limited.database.reads < 20

    async def test_but_not_that_of_a_frozen_postgres(self, engine, follow, database_url, db, make_lead):
        """Each read that was not answered was repeated for fewer changes, and the fourth ended the stream."""
        lead = make_lead()["id"]
        async with Proxy(database_url) as proxy:
            limited = engine(proxy.url, LaneLimits(read_seconds=0.3), size=10)
            pause = Statement("SELECT pg_sleep(0.3)")
            await asyncio.gather(*(limited.database.read(pause, ()) for _ in range(10)))
            async with follow(limited, "subscription { changes { lead { interactions { id } } } }") as followers:
                db.execute(EVENT, ["lead.updated", lead, lead, 1])
                await followers.have(1)
                with change_that_waits(database_url, lead):
                    while not db.execute(WAITING).fetchone()["count"]:
                        await asyncio.sleep(0.01)
                    proxy.freeze()
                    proxy.refuse()  # cancellations end at once
                await asyncio.sleep(2)
                assert followers.problems == []
                proxy.thaw()
                await followers.have(2)

    async def test_who_comes_after_it_goes_on(self, engine, follow, db, make_lead):
        long, other = make_lead()["id"], make_lead()["id"]
        db.execute(TASKS, [long, 1001])
        running, query = engine(), "subscription { changes { entityId lead { tasks { id } } } }"
        async with follow(running, query) as followers:
            db.execute(EVENT, ["lead.updated", long, long, 1])
            assert len(await followers.ended()) == 1
            async with follow(running, query) as later:
                db.execute(EVENT, ["lead.updated", other, other, 1])
                await later.have(1)
        assert later.found == [[{"entityId": str(other), "lead": {"tasks": []}}]]


class TestBudget:
    """That of one operation is that of all changes that are read at once."""

    async def test_of_bytes(self, engine, follow, db, make_lead):
        """200 changes of 3 MB each were one read of 640 MB."""
        lead, running = make_lead()["id"], engine(max_answer_bytes=1_000_000)
        db.execute(NOTES, [lead, 40])
        async with follow(running, "subscription { changes { lead { interactions { notes } } } }") as followers:
            db.execute(EVENT, ["lead.updated", lead, lead, 25])
            await followers.have(25)
        assert {len(change["lead"]["interactions"]) for change in followers.found[0]} == {40}
        assert 350_000 < running.database.most_bytes < 1_000_000

    async def test_of_bytes_without_any_list(self, engine, follow, db, make_lead):
        lead, running = make_lead()["id"], engine(max_answer_bytes=1_000_000)
        async with follow(running, "subscription { changes { fields { after } } }") as followers:
            db.execute(LONG_EVENT, [lead, lead, 60])
            await followers.have(60)
        assert running.database.most_bytes < 1_000_000

    async def test_of_rows(self, engine, follow, db, make_lead):
        lead, running = make_lead()["id"], engine(max_cost=1000)
        db.execute(TASKS, [lead, 90])
        async with follow(running, "subscription { changes { lead { tasks { id } } } }") as followers:
            db.execute(EVENT, ["lead.updated", lead, lead, 25])
            await followers.have(25)
        assert {len(change["lead"]["tasks"]) for change in followers.found[0]} == {90}
        assert running.database.reads >= 13  # two at once are within it

    async def test_one_change_beyond_it_ends_the_stream(self, engine, follow, db, make_lead):
        lead, running = make_lead()["id"], engine(max_cost=1000)
        db.execute(TASKS, [lead, 600])
        query = "subscription { changes { lead { a: tasks { id } b: tasks { id } } } }"
        async with follow(running, query) as followers:
            db.execute(EVENT, ["lead.updated", lead, lead, 3])
            (problem,) = await followers.ended()
        assert (problem.code, problem.details) == ("TOO_COMPLEX", {"what": "rows", "limit": 1000})


class TestOneReadForAll:
    async def test_though_something_is_deleted(self, engine, follow, db, make_lead):
        """Each follower read for itself: 201 reads for 200 of them."""
        lead, running, before = make_lead()["id"], engine(), 0
        async with follow(running, count=FOLLOWERS) as followers:
            for number in range(1, 6):
                with db.transaction():
                    for kind in ("lead.updated", "task.deleted"):
                        db.execute(EVENT, [kind, lead, lead, 1])
                await followers.have(2 * number)
                before = before or running.database.reads  # each may have read its own beginning
        assert running.database.reads - before < 20
        assert followers.found == [[{"type": "lead.updated"}, {"type": "task.deleted"}] * 5] * FOLLOWERS

    async def test_and_though_the_stream_forks(self, forked, forked_url, engine, follow):
        running = engine(forked_url)
        await running.feed.renew()
        async with follow(running, count=FOLLOWERS) as followers:
            forked.execute(EVENT, ["lead.updated", 1, None, 1])
            await followers.have(1)
            before = running.database.reads
            forked.execute("UPDATE events SET timeline = 0")
            forked.execute("UPDATE event_epoch SET timeline = 0")
            await asyncio.sleep(1.5)
            for number in range(2, 5):
                forked.execute(EVENT, ["lead.updated", 1, None, 1])
                await followers.have(number)
        assert not followers.problems
        assert running.database.reads - before < 20
        assert followers.found == [[{"type": "lead.updated"}] * 4] * FOLLOWERS


@pytest.fixture(scope="module")
def forked_url(postgres):
    """A database of its own."""
    base = postgres.url.replace("/crm?", "/postgres?")
    url = create_migrated_database(postgres.url, "forking")
    yield url
    with psycopg.connect(base, autocommit=True) as connection:
        connection.execute("DROP DATABASE forking WITH (FORCE)")


@pytest.fixture
def forked(forked_url):
    with psycopg.connect(forked_url, autocommit=True) as connection:
        yield connection


class TestBeginning:
    async def test_one_reads_for_all_who_come_together(self, engine, follow, db, make_lead):
        made, lead = engine(), make_lead()["id"]
        async with follow(made, count=FOLLOWERS) as followers:
            async with asyncio.timeout(20):
                while not made.database.reads:
                    await asyncio.sleep(0.02)
            await asyncio.sleep(0.5)
            assert made.database.reads < 8
            db.execute(EVENT, ["lead.updated", lead, lead, 3])
            await followers.have(3)
            assert [len(one) for one in followers.found] == [3] * FOLLOWERS
            assert made.database.reads < 12
