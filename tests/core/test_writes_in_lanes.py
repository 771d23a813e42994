"""Writes that take long, or wait for a lock, never take what everybody needs."""

import asyncio
from contextlib import asynccontextmanager
from uuid import UUID

import psycopg
import pytest
from waiting import eventually

from crm.core.identity import Role, Viewer
from crm.db.connection import Statement
from crm.db.database import Database
from crm.db.lanes import LaneLimits
from crm.db.unit_of_work import UnitOfWork
from crm.db.workflow import Writer
from crm.sales.leads.model import Lead
from crm.sales.tasks.model import Task

ONE = Statement("SELECT 1")
SLEEP = Statement("SELECT 1 FROM pg_sleep($1::float)")
FLOODER, OTHER = 1, 2
SIZE = 6
LIMITS = LaneLimits(each=2, slow=2, read_seconds=20)
SLOW_COMMIT = """
CREATE FUNCTION pg_temp.sleep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1.5); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON tasks DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION pg_temp.sleep()"""


class Shown:
    """A projection of nothing but the written row."""

    row = "to_json(written.id)"

    def steps(self, _result):
        return []

    def answer(self, _result, _rows):
        return b"null"


@pytest.fixture
async def database(database_url):
    found = Database(database_url, size=SIZE, timeout=3, limits=LIMITS)
    yield found
    found.close()


@pytest.fixture
def write(database):
    """Run a piece of work as one write of somebody's."""

    def run(work, owner=FLOODER):
        viewer = Viewer(UUID(int=owner), Role.MEMBER)
        return Writer(database, viewer, lambda: None).shown(work, Shown())

    return run


@pytest.fixture
def people(db):
    """Users whose ids are small numbers."""
    for number in range(1, 20):
        values = [UUID(int=number), f"{number}@example.com", str(number)]
        db.execute("INSERT INTO users (id, email, name) VALUES (%s, %s, %s)", values)


@asynccontextmanager
async def flood(*writes):
    """These writes, all at once; what is left of them is cancelled."""
    tasks = [asyncio.create_task(write) for write in writes]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def locked(database_url, statement, values):
    """The lock that somebody else holds, in a transaction that does not end."""
    async with await psycopg.AsyncConnection.connect(database_url) as other:
        await other.execute(statement, values)
        yield other


def count(db, what):
    return db.execute(f"SELECT count(*) AS count FROM pg_stat_activity WHERE {what}").fetchone()["count"]


async def others_are_served(database):
    """Reads of somebody else, which end with UNAVAILABLE after three seconds without a connection."""
    for _ in range(5):
        await database.read(ONE, (), owner=OTHER)
        await asyncio.sleep(0.05)


async def sleeps(unit, seconds=15):
    await unit.execute(SLEEP, [str(seconds).encode()])


def updates(key):
    async def work(unit):
        lead = await unit.get(Lead, key)
        lead.company = f"{lead.company or ''}+"
        return lead

    return work


class TestAFlood:
    async def test_of_slow_writes_of_one_user(self, database, write, db):
        async with flood(*(write(sleeps) for _ in range(SIZE * 2))):
            await eventually(lambda: count(db, "wait_event = 'PgSleep'") == SIZE)
            await others_are_served(database)

    async def test_of_slow_writes_of_many(self, database, write, db):
        async with flood(*(write(sleeps, 10 + number) for number in range(SIZE))):
            await eventually(lambda: count(db, "wait_event = 'PgSleep'") == SIZE)
            await others_are_served(database)

    async def test_of_those_who_wait_for_a_record(self, database, database_url, write, make_lead, db):
        """Each is done once, and none is lost."""
        lead = make_lead(company=None)["id"]
        async with (
            locked(database_url, "SELECT FROM leads WHERE id = %s FOR UPDATE", [lead]) as other,
            flood(*(write(updates(lead), 10 + number % 7) for number in range(SIZE * 2))) as waiting,
        ):
            await eventually(lambda: count(db, "wait_event_type = 'Lock'") == SIZE)
            await others_are_served(database)
            await other.commit()
            await asyncio.gather(*waiting)
        found = db.execute("SELECT company, version FROM leads WHERE id = %s", [lead]).fetchone()
        assert found == {"company": "+" * SIZE * 2, "version": SIZE * 2 + 1}

    @pytest.mark.usefixtures("people")
    async def test_of_those_who_wait_for_a_unique_value(self, database, database_url, write, db):
        async def create(unit):
            return unit.add(Lead(first_name="A", last_name="B", email="a@example.com"))

        insert = "INSERT INTO leads (first_name, last_name, email) VALUES ('A', 'B', %s)"
        async with (
            locked(database_url, insert, ["A@example.com"]) as other,
            flood(*(write(create) for _ in range(SIZE * 2))) as waiting,
        ):
            await eventually(lambda: count(db, "wait_event_type = 'Lock'") == SIZE)
            await others_are_served(database)
            await other.rollback()
            found = await asyncio.gather(*waiting, return_exceptions=True)
        assert sum(isinstance(one, bytes) for one in found) == 1
        assert sum(isinstance(one, psycopg.errors.UniqueViolation) for one in found) == SIZE * 2 - 1

    @pytest.mark.usefixtures("people")
    async def test_is_done_in_the_end_and_once(self, database, write, make_lead, db, events):
        lead, begun = make_lead()["id"], []

        async def create(unit):
            begun.append(1)
            unit.add(Task(title="Call back", lead_id=lead))
            await unit.flush()
            await sleeps(unit, 0.8)

        async with flood(*(write(create) for _ in range(SIZE * 2))) as writes:
            await eventually(lambda: count(db, "wait_event = 'PgSleep'") == SIZE)
            await others_are_served(database)
            await asyncio.gather(*writes)
        assert len(begun) > SIZE * 2  # some were stopped, and began again
        assert db.execute("SELECT count(*) AS count FROM tasks").fetchone()["count"] == SIZE * 2
        assert len(events()) == SIZE * 2


@pytest.mark.usefixtures("people")
class TestWhatIsNotStopped:
    async def test_a_commit(self, database, write, make_lead, db, database_url):
        """A standby may not have it yet, and nobody could tell the caller so."""
        lead, begun = make_lead()["id"], []

        async def create(unit):
            begun.append(1)
            unit.add(Task(title="Call back", lead_id=lead))
            await unit.flush()

        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as other:
            await other.execute(SLOW_COMMIT)
            try:
                async with flood(*(write(create) for _ in range(SIZE))) as writes:
                    await eventually(lambda: count(db, "wait_event = 'PgSleep'") == SIZE)
                    await others_are_served(database)
                    await asyncio.gather(*writes)
            finally:
                await other.execute("DROP TRIGGER slow_commit ON tasks")
        assert len(begun) == SIZE
        assert db.execute("SELECT count(*) AS count FROM tasks").fetchone()["count"] == SIZE

    async def test_what_a_user_writes_who_is_alone(self, write):
        begun = []

        async def slow(unit):
            begun.append(1)
            await sleeps(unit, 1.2)

        await asyncio.gather(*(write(slow) for _ in range(SIZE)))
        assert len(begun) == SIZE

    async def test_what_the_program_writes(self, database, db):
        async def slow():
            unit = UnitOfWork(database, Viewer(None, Role.ADMIN))
            await sleeps(unit, 2)
            await unit.close()

        async with flood(*(slow() for _ in range(SIZE))) as writes:
            await eventually(lambda: count(db, "wait_event = 'PgSleep'") == SIZE)
            await others_are_served(database)
            await asyncio.gather(*writes)

    async def test_a_quick_write(self, database):
        """The work of a write is lost when it is stopped: those that take less than half a second are waited for."""
        begun = []

        async def quick(unit):
            begun.append(1)
            await sleeps(unit, 0.2)

        writer = Writer(database, Viewer(UUID(int=FLOODER), Role.MEMBER), lambda: None)

        async def keep():
            for _ in range(4):
                await writer.shown(quick, Shown())

        async with flood(*(keep() for _ in range(SIZE))) as writes:
            await others_are_served(database)
            await asyncio.gather(*writes)
        assert len(begun) == SIZE * 4
