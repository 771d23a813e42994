"""Writes that take long, or wait for a lock, never take what everybody needs."""

import asyncio
from contextlib import asynccontextmanager
from uuid import UUID

import psycopg
import pytest

from crm.core import errors
from crm.core.identity import Role, Viewer
from crm.db.connection import LastedTooLong
from crm.db.database import Database
from crm.db.lanes import LaneLimits
from crm.db.sqlstates import translated
from crm.db.statement import Statement
from crm.db.unit_of_work import UnitOfWork
from crm.db.workflow import Writer
from crm.sales.leads.model import Lead
from crm.sales.tasks.model import Task
from tests.support.waiting import eventually

pytestmark = pytest.mark.waits(20)

ONE = Statement("SELECT 1")
SLEEP = Statement("SELECT 1 FROM pg_sleep($1::float)")
FLOODER, OTHER = 1, 2
SIZE = 6
LIMITS = LaneLimits(each=2, slow=2, read_seconds=20)
# For longer than a write waits before it runs again as one that takes long.
WAITS_ON = "wait_event_type = 'Lock' AND clock_timestamp() - xact_start > interval '0.2 s'"
SLOW_COMMIT = """
CREATE FUNCTION pg_temp.sleep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1.5); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON tasks DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION pg_temp.sleep()"""


class Shown:
    """A projection of nothing but the written row."""

    row = "to_json(written.id)"

    def steps(self, _result):
        return []

    async def answer(self, _result, _rows):
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


def creates(key):
    async def work(unit):
        return unit.add(Task(title="Call back", lead_id=key), within=Lead)

    return work


class TestAFlood:
    @pytest.fixture
    def wait_without_harm(self, database, db):
        """Have writes wait for a lock on all connections while others are served; then let all of them end."""

        async def run(lock, writes):
            async with lock as other, flood(*writes) as waiting:
                await eventually(lambda: count(db, "wait_event_type = 'Lock'") == SIZE)
                await others_are_served(database)
                await other.commit()
                await asyncio.gather(*waiting)

        return run

    async def test_of_slow_writes_of_one_user(self, database, write, db):
        async with flood(*(write(sleeps) for _ in range(SIZE * 2))):
            await eventually(lambda: count(db, "wait_event = 'PgSleep'") == SIZE)
            await others_are_served(database)

    async def test_of_slow_writes_of_many(self, database, write, db):
        async with flood(*(write(sleeps, 10 + number) for number in range(SIZE))):
            await eventually(lambda: count(db, "wait_event = 'PgSleep'") == SIZE)
            await others_are_served(database)

    async def test_of_those_who_wait_for_a_record(self, wait_without_harm, database_url, write, make_lead, db):
        """Each is done once, and none is lost."""
        lead = make_lead(company=None)["id"]
        lock = locked(database_url, "SELECT FROM leads WHERE id = %s FOR UPDATE", [lead])
        await wait_without_harm(lock, (write(updates(lead), 10 + number % 7) for number in range(SIZE * 2)))
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
    @pytest.mark.parametrize("table", ["tasks", "events"])
    async def test_of_those_who_create_under_a_lock(self, wait_without_harm, database_url, write, make_lead, db, table):
        """Each is usually one statement with its commit, which could not be stopped."""
        create = creates(make_lead()["id"])
        lock = locked(database_url, f"LOCK TABLE {table} IN EXCLUSIVE MODE", [])
        await wait_without_harm(lock, (write(create) for _ in range(SIZE * 2)))
        assert db.execute("SELECT count(*) AS count FROM tasks").fetchone()["count"] == SIZE * 2

    @pytest.mark.usefixtures("people")
    async def test_of_those_who_update_while_the_events_are_locked(
        self, wait_without_harm, database_url, write, make_lead, db
    ):
        leads = [make_lead(company=None)["id"] for _ in range(SIZE * 2)]
        lock = locked(database_url, "LOCK TABLE events IN EXCLUSIVE MODE", [])
        await wait_without_harm(lock, (write(updates(lead)) for lead in leads))
        assert db.execute("SELECT count(*) AS count FROM leads WHERE version = 2").fetchone()["count"] == SIZE * 2

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


@pytest.mark.usefixtures("people")
class TestTheTimeOfAWrite:
    """Readers of the event stream wait for the oldest transaction that writes, so none may wait for others for long."""

    @pytest.fixture
    async def database(self, database_url):
        found = Database(database_url, size=SIZE, timeout=3, limits=LaneLimits(mutation_seconds=1))
        yield found
        found.close()

    async def test_ends_a_create_that_waits_for_a_lock(self, database_url, write, make_lead, db):
        lead = make_lead()["id"]
        async with locked(database_url, "SELECT FROM leads WHERE id = %s FOR UPDATE", [lead]), asyncio.timeout(10):
            with pytest.raises(LastedTooLong):
                await write(creates(lead))
        assert db.execute("SELECT count(*) AS count FROM tasks").fetchone()["count"] == 0

    async def test_ends_a_chain_of_those_who_wait_for_each_other(self, database_url, write, make_lead, db, events):
        leads, begun = [make_lead(company=None)["id"] for _ in range(4)], []

        def both(own, former):
            async def work(unit):
                begun.append(own)
                (await unit.get(Lead, own)).company = "Mine"
                await unit.flush()
                (await unit.get(Lead, former)).company = "Mine, too"

            return work

        async with (
            locked(database_url, "SELECT FROM leads WHERE id = %s FOR UPDATE", [leads[0]]) as other,
            flood(*(write(both(leads[number], leads[number - 1])) for number in (1, 2, 3))) as writes,
        ):
            await eventually(lambda: len(set(begun)) == 3)
            done = await asyncio.wait_for(asyncio.gather(*writes, return_exceptions=True), 10)
            await other.rollback()
        late = [isinstance(one, LastedTooLong) for one in done]
        assert late[0]
        assert all(ended or isinstance(one, bytes) for ended, one in zip(late, done, strict=True)), done
        assert all(begun.count(lead) in {1, 2} for lead in leads[1:])  # again once it had met a lock, not at its end
        assert len(events()) == 2 * late.count(False)  # once the first has ended, the last may have its turn
        assert count(db, "backend_xid IS NOT NULL AND pid <> pg_backend_pid()") == 0

    async def test_ends_a_chain_of_unique_values(self, database_url, write, db, events):
        def create(*names):
            async def work(unit):
                for name in names:
                    unit.add(Lead(first_name="A", last_name="B", email=f"{name}@example.com"))
                    await unit.flush()

            return work

        insert = "INSERT INTO leads (first_name, last_name, email) VALUES ('A', 'B', 'z@example.com')"
        async with (
            locked(database_url, insert, []) as other,
            flood(write(create("y", "z"))) as [first],
        ):
            await eventually(lambda: count(db, WAITS_ON) == 1)  # it has y, and keeps it, before the second asks
            async with flood(write(create("x", "y"))) as [second]:
                outcome, _ = await asyncio.wait_for(asyncio.gather(first, second, return_exceptions=True), 10)
            await other.rollback()
        assert isinstance(outcome, LastedTooLong)
        assert len(events()) in {0, 2}  # once the first has ended, the second may have its turn

    def test_says_that_it_may_be_tried_again(self):
        found = translated(LastedTooLong())
        assert type(found) is errors.Conflict
        assert found.details == {"conflict": errors.ConflictReason.BUSY, "retryAfterSeconds": 1}
        assert "nothing was changed" in found.message

    async def test_ends_where_nothing_is_under_way(self, database, write, events):
        """What a service does between two statements takes time, too; the connection is as good as new."""

        async def create(unit):
            unit.add(Lead(first_name="A", last_name="B"))
            await unit.flush()
            await asyncio.sleep(1.3)
            return unit.add(Lead(first_name="C", last_name="D"))

        with pytest.raises(LastedTooLong):
            await write(create)
        assert not events()
        assert database.primary.open == 1
        await write(lambda unit: sleeps(unit, 0.1))
        assert database.primary.open == 1

    async def test_does_not_count_for_a_commit(self, write, make_lead, database_url, events):
        lead = make_lead()["id"]

        async def create(unit):
            unit.add(Task(title="Call back", lead_id=lead))
            await unit.flush()

        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as other:
            await other.execute(SLOW_COMMIT)
            try:
                await write(create)
            finally:
                await other.execute("DROP TRIGGER slow_commit ON tasks")
        assert len(events()) == 1

    async def test_does_not_count_for_the_program(self, database):
        unit = UnitOfWork(database, Viewer(None, Role.ADMIN))
        await sleeps(unit, 1.5)
        await unit.close()
