"""Writes that come in together share a commit, and each gets its own answer."""

import asyncio
from typing import Any

import psycopg
import pytest

from crm.core import errors
from crm.db.connection import ConnectionLost
from crm.db.database import Database
from crm.db.lanes import PROGRAM
from crm.db.statement import Statement, encode

INSERT = Statement("INSERT INTO tasks (lead_id, title) VALUES ($1::integer, $2::text) RETURNING id, xmin::text")
MANY = 30


@pytest.fixture
async def database(database_url, db):  # noqa: ARG001
    found = Database(database_url)
    yield found
    found.close()


@pytest.fixture
def insert_task(database):
    async def run(lead_id, title="Call back", owner=PROGRAM):
        result = await database.group_commit.execute(INSERT, [encode(lead_id), encode(title)], owner)
        return int(result.get_value(0, 0)), result.get_value(0, 1)

    return run


class TestSharedCommits:
    async def test_many_at_once_need_few_transactions(self, insert_task, make_lead, db):
        lead = make_lead()
        found = await asyncio.gather(*(insert_task(lead["id"]) for _ in range(MANY)))
        assert len({key for key, _ in found}) == MANY
        assert len({transaction for _, transaction in found}) < MANY / 3
        assert db.execute("SELECT count(*) FROM tasks").fetchone()["count"] == MANY

    async def test_each_gets_its_own_answer(self, insert_task, make_lead, db):
        leads = [make_lead()["id"] for _ in range(MANY)]
        found = await asyncio.gather(*(insert_task(lead, f"For {lead}") for lead in leads))
        rows = {row["id"]: row for row in db.execute("SELECT id, lead_id, title FROM tasks").fetchall()}
        assert [rows[key]["title"] for key, _ in found] == [f"For {lead}" for lead in leads]

    async def test_one_that_fails_fails_alone(self, insert_task, make_lead, db):
        lead = make_lead()["id"]
        asked = [insert_task(lead if number % 5 else 10_000) for number in range(MANY)]
        found = await asyncio.gather(*asked, return_exceptions=True)
        failed = [number for number, one in enumerate(found) if isinstance(one, psycopg.errors.ForeignKeyViolation)]
        assert failed == list(range(0, MANY, 5))
        assert db.execute("SELECT count(*) FROM tasks").fetchone()["count"] == MANY - len(failed)

    async def test_one_that_waits_for_a_lock_waits_alone(self, insert_task, make_lead, database_url):
        locked, free = make_lead()["id"], make_lead()["id"]
        async with await psycopg.AsyncConnection.connect(database_url) as other:
            await other.execute("SELECT FROM leads WHERE id = %s FOR UPDATE", [locked])
            waiting = [asyncio.create_task(insert_task(locked)) for _ in range(3)]
            await asyncio.gather(*(asyncio.wait_for(insert_task(free), 5) for _ in range(6)))
            assert not any(task.done() for task in waiting)
            await other.commit()
        assert len({key for key, _ in await asyncio.gather(*waiting)}) == 3

    @pytest.mark.parametrize("count", [1, 5])
    async def test_a_viewers_waits_for_a_lock_only_briefly(self, insert_task, make_lead, db, count):
        """Its caller waits in a transaction that may be stopped, which a statement with its commit never is."""
        lead = make_lead()["id"]
        with db.transaction():
            db.execute("LOCK TABLE tasks IN EXCLUSIVE MODE")
            async with asyncio.timeout(10):
                asked = (insert_task(lead, owner=1) for _ in range(count))
                found = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(one) for one in found] == [psycopg.errors.LockNotAvailable] * count
        assert db.execute("SELECT count(*) FROM tasks").fetchone()["count"] == 0
        await insert_task(lead, owner=1)

    async def test_one_that_gives_up_takes_nobody_along(self, insert_task, make_lead, db):
        lead = make_lead()["id"]
        tasks = [asyncio.create_task(insert_task(lead)) for _ in range(MANY)]
        await asyncio.sleep(0)
        tasks[-1].cancel()
        found: list[Any] = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(found[-1], asyncio.CancelledError)
        kept = {row["id"] for row in db.execute("SELECT id FROM tasks").fetchall()}
        assert kept >= {key for key, _ in found[:-1]}

    async def test_a_connection_that_dies_fails_those_on_it_and_nobody_else(self, insert_task, make_lead, db):
        lead = make_lead()["id"]
        await asyncio.gather(*(insert_task(lead) for _ in range(MANY)))
        asked = [asyncio.create_task(insert_task(lead)) for _ in range(MANY)]
        await asyncio.sleep(0)
        db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(one, tuple | ConnectionLost | errors.Unavailable) for one in found)
        kept = {row["id"] for row in db.execute("SELECT id FROM tasks").fetchall()}
        assert kept >= {one[0] for one in found if isinstance(one, tuple)}
        await insert_task(lead)

    async def test_without_a_server_everybody_is_told(self):
        database = Database("postgresql://nobody@127.0.0.1:1/crm", timeout=2)
        asked = [database.group_commit.execute(INSERT, [b"1", b"x"]) for _ in range(5)]
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(one, errors.Unavailable) for one in found)


class TestMutationsAtOnce:
    async def test_one_without_a_lead_does_not_stop_the_others(self, graphql, make_lead, db):
        lead, create = make_lead(), 'mutation($id: Int!) { createTask(input: {leadId: $id, title: "A"}) { id } }'
        keys = [lead["id"] if number % 4 else 2_000_000 for number in range(24)]
        answers = await asyncio.gather(*(graphql(create, id=key, expect_errors=True) for key in keys))
        codes = [answer["errors"][0]["extensions"]["code"] if answer.get("errors") else None for answer in answers]
        assert codes == ["NOT_FOUND" if key == 2_000_000 else None for key in keys]
        assert db.execute("SELECT count(*) FROM tasks").fetchone()["count"] == 18
        assert db.execute("SELECT count(*) FROM events").fetchone()["count"] == 18
