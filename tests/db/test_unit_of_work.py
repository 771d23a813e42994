import asyncio

import psycopg
import pytest

from crm.core import errors
from crm.core.identity import Role, Viewer
from crm.db.database import Database, retried
from crm.db.unit_of_work import UnitOfWork
from crm.sales.leads.model import Lead, LeadStatus
from crm.sales.tasks.model import Task


class Nothing:
    """A projection that shows nothing."""

    row = None

    def steps(self, _result):
        return []

    async def answer(self, _result, _rows):
        return b"null"


@pytest.fixture
async def database(database_url):
    found = Database(database_url, size=10)
    yield found
    found.close()


@pytest.fixture
def viewer(make_user):
    return Viewer(make_user()["id"], Role.MEMBER)


@pytest.fixture
def write(database, viewer):
    """Run a piece of work as one write, re-run as mutations are."""

    async def run(work):
        async def attempt():
            unit = UnitOfWork(database, viewer)
            try:
                await unit.commit(await work(unit), Nothing())
            finally:
                await unit.close()

        await retried(attempt)

    return run


class TestGet:
    async def test_gives_enums_as_enums(self, database, viewer, make_lead):
        unit = UnitOfWork(database, viewer)
        lead = await unit.get(Lead, make_lead(status="won")["id"])
        assert lead.status is LeadStatus.WON
        await unit.close()

    async def test_does_not_see_the_deleted_unless_asked(self, database, viewer, make_lead):
        unit = UnitOfWork(database, viewer)
        key = make_lead(deleted=True)["id"]
        with pytest.raises(errors.NotFound):
            await unit.get(Lead, key)
        assert (await unit.get(Lead, key, deleted=True)).id == key
        await unit.close()


class TestCommit:
    async def test_saves_all_changes_with_an_event_each(self, write, viewer, make_lead, make_task, db, events):
        lead, task = make_lead(), make_task()

        async def work(unit):
            (await unit.get(Lead, lead["id"])).company = "Saab"
            (await unit.get(Task, task["id"])).title = "New"
            return unit.add(Task(title="Added", lead_id=lead["id"]), within=Lead)

        await write(work)
        assert sorted(event["type"] for event in events()) == ["lead.updated", "task.created", "task.updated"]
        assert {event["actor_id"] for event in events()} == {viewer.id}
        assert len({event["xid"] for event in events()}) == 1
        assert {event["via"] for event in events()} == {"program"}
        assert sorted(event["version"] for event in events()) == [1, 2, 2]
        versions = db.execute("SELECT version FROM leads WHERE id = %s", (lead["id"],)).fetchone()
        assert versions == {"version": 2}

    async def test_writes_nothing_when_nothing_changed(self, write, make_lead, events):
        key = make_lead(status="won", tags=["a"])["id"]

        async def work(unit):
            lead = await unit.get(Lead, key)
            lead.status, lead.tags = LeadStatus.WON, ["a"]
            return lead

        await write(work)
        assert events() == []

    async def test_saves_what_changed_after_a_flush_too(self, write, make_lead, db, events):
        key = make_lead(company="A")["id"]

        async def work(unit):
            lead = await unit.get(Lead, key)
            lead.company = "B"
            await unit.flush()
            lead.company = "C"
            return lead

        await write(work)
        assert db.execute("SELECT company, version FROM leads").fetchone() == {"company": "C", "version": 3}
        assert [event["fields"][0]["before"] for event in events()] == ["A", "B"]

    async def test_derived_columns_bump_no_version(self, write, make_lead, db):
        key = make_lead()["id"]

        async def work(unit):
            lead = await unit.get(Lead, key)
            lead.activity_score = 50
            return lead

        await write(work)
        assert db.execute("SELECT activity_score, version FROM leads").fetchone() == {
            "activity_score": 50,
            "version": 1,
        }


class TestFailure:
    async def test_undoes_everything_and_gives_the_connection_back(self, database, viewer, make_lead, db, events):
        key = make_lead(company="A")["id"]
        for _ in range(25):
            unit = UnitOfWork(database, viewer)
            (await unit.get(Lead, key)).company = "B"
            await unit.flush()
            unit.add(Lead(first_name="x"))
            with pytest.raises(psycopg.errors.NotNullViolation):
                await unit.flush()
            await unit.close()
        assert db.execute("SELECT company FROM leads").fetchall() == [{"company": "A"}]
        assert events() == []

    async def test_a_cancelled_write_leaves_nothing(self, database, viewer, make_lead, db, events):
        key = make_lead(company="A")["id"]
        with psycopg.connect(database.url) as blocker:
            blocker.execute("SELECT 1 FROM leads WHERE id = %s FOR UPDATE", (key,))
            unit = UnitOfWork(database, viewer)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await unit.get(Lead, key)
            await unit.close()
            waiting = "SELECT count(*) AS count FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            for _ in range(500):
                if not db.execute(waiting).fetchone()["count"]:
                    break
                await asyncio.sleep(0.01)
            assert db.execute(waiting).fetchone()["count"] == 0
        assert events() == []


class TestRetried:
    async def test_runs_both_when_two_lock_each_other_out(self, write, make_lead, db, events):
        one, two = make_lead()["id"], make_lead()["id"]
        runs = []
        meeting = asyncio.Barrier(2)

        def crosswise(first, second, name):
            async def work(unit):
                runs.append(name)
                lead = await unit.get(Lead, first)
                if runs.count(name) == 1:
                    await meeting.wait()
                other = await unit.get(Lead, second)
                lead.company = other.company = name
                return lead

            return work

        await asyncio.gather(write(crosswise(one, two, "A")), write(crosswise(two, one, "B")))
        assert len(runs) == 3
        companies = {row["company"] for row in db.execute("SELECT company FROM leads").fetchall()}
        assert companies in ({"A"}, {"B"})
        assert len(events()) == 4

    async def test_gives_up_with_a_conflict(self):
        attempts = []

        async def attempt():
            attempts.append(1)
            raise psycopg.errors.SerializationFailure

        with pytest.raises(errors.Conflict):
            await retried(attempt)
        assert 3 < len(attempts) < 10

    async def test_does_not_run_a_taken_value_for_ever(self):
        attempts = []

        async def attempt():
            attempts.append(1)
            raise psycopg.errors.UniqueViolation

        with pytest.raises(psycopg.errors.UniqueViolation):
            await retried(attempt)
        assert len(attempts) == 4
