"""Writers that get in each other's way: PostgreSQL's retry requests are followed, and of equals one wins."""

import asyncio
import json
from uuid import uuid4

import psycopg
import pytest

from crm.core.identity import Role, Viewer
from crm.db.database import Database, retried
from crm.db.unit_of_work import UnitOfWork
from crm.sales.leads.service import LeadService

CREATE = 'mutation($email: String!) { createLead(input: {firstName: "A", lastName: "B", email: $email}) { id } }'
UPDATE = "mutation($id: Int!, $name: String!) { updateLead(id: $id, input: {lastName: $name}) { lastName version } }"


class _Result:
    row = None

    def steps(self, _):
        return []

    async def answer(self, *_):
        return b"{}"


class TestDeadlock:
    async def test_both_writes_succeed_in_the_end(self, database_url, db, make_lead):
        """Two units of work take the same two leads in opposite orders."""
        keys = [make_lead()["id"], make_lead()["id"]]
        viewer = Viewer(db.execute("SELECT id FROM users LIMIT 1").fetchone()["id"], Role.ADMIN)
        database = Database(database_url, size=4)
        attempts = []
        meeting = asyncio.Barrier(2)

        async def rename(order, name):
            async def attempt():
                attempts.append(name)
                unit = UnitOfWork(database, viewer)
                try:
                    service = LeadService(unit)
                    first = await service.update(order[0], {"last_name": name})
                    await unit.flush()
                    if attempts.count(name) == 1:
                        await meeting.wait()
                    await service.update(order[1], {"last_name": name})
                    await unit.commit(first, _Result())
                finally:
                    await unit.close()

            await retried(attempt)

        try:
            await asyncio.gather(rename(keys, "One"), rename(keys[::-1], "Two"))
        finally:
            database.close()
        assert len(attempts) == 3
        rows = db.execute("SELECT last_name, version FROM leads ORDER BY id").fetchall()
        assert {row["last_name"] for row in rows} == {attempts[-1]}
        assert [row["version"] for row in rows] == [3, 3]
        changed = db.execute("SELECT count(*) FROM events WHERE type = 'lead.updated'").fetchone()
        assert changed["count"] == 4

    async def test_a_deadlock_with_another_program_is_not_the_clients_business(self, graphql, database_url, make_lead):
        """Another program holds what a mutation needs, and wants what it holds; PostgreSQL ends the mutation first."""
        lead, key = make_lead(), uuid4().hex
        async with await psycopg.AsyncConnection.connect(database_url) as other:
            await other.execute("SET deadlock_timeout = '30s'")
            await other.execute("LOCK TABLE events IN SHARE MODE")
            writing = asyncio.create_task(graphql(UPDATE, id=lead["id"], name=key))
            await _waits_for_a_lock(database_url)
            await other.execute("UPDATE leads SET location = 'Lund' WHERE id = %s", (lead["id"],))
            await other.commit()
        assert (await writing)["updateLead"]["lastName"] == key

    async def test_a_serialisation_failure_is_tried_again(self, database_url, db, make_lead):
        """As on a database whose default is REPEATABLE READ."""
        lead = make_lead()
        viewer = Viewer(db.execute("SELECT id FROM users LIMIT 1").fetchone()["id"], Role.ADMIN)
        database = Database(f"{database_url}&options=-c%20default_transaction_isolation%3Drepeatable%5C%20read", size=8)

        attempts = []

        async def rename(number):
            async def attempt():
                attempts.append(number)
                unit = UnitOfWork(database, viewer)
                try:
                    found = await LeadService(unit).update(lead["id"], {"last_name": f"Name{number}"})
                    await unit.commit(found, _Result())
                finally:
                    await unit.close()

            await retried(attempt)

        try:
            await asyncio.gather(*(rename(number) for number in range(4)))
        finally:
            database.close()
        assert db.execute("SELECT version FROM leads").fetchone()["version"] == 5
        assert len(attempts) > 4


class TestTheSameAddress:
    @pytest.mark.parametrize("attempt", range(3))
    async def test_one_of_fifty_wins_and_the_others_learn_who(self, graphql, db, events, attempt):
        address = f"race{attempt}@example.com"
        spelled = [address if number % 2 else address.upper() for number in range(50)]
        answers = await asyncio.gather(*(graphql(CREATE, expect_errors=True, email=one) for one in spelled))
        won = [answer["data"]["createLead"]["id"] for answer in answers if not answer.get("errors")]
        lost = [answer["errors"][0]["extensions"] for answer in answers if answer.get("errors")]
        assert len(won) == 1
        assert {one["code"] for one in lost} == {"CONFLICT"}, json.dumps(lost[:3])
        assert {one["existingId"] for one in lost} == {won[0]}, json.dumps(lost[:3])
        assert db.execute("SELECT count(*) FROM leads").fetchone()["count"] == 1
        assert len(events(type="lead.created")) == 1

    async def test_batches_that_overlap_share_the_leads_between_them(self, graphql, db, events):
        many = "mutation($inputs: [CreateLeadInput!]!) { createLeads(inputs: $inputs) { status duplicateOfId } }"
        inputs = [{"firstName": "A", "lastName": "B", "email": f"batch{number}@example.com"} for number in range(20)]
        answers = await asyncio.gather(*(graphql(many, inputs=inputs[::step]) for step in (1, -1, 1, -1)))
        statuses = [one["status"] for answer in answers for one in answer["createLeads"]]
        assert statuses.count("CREATED") == 20
        assert statuses.count("DUPLICATE") == 60
        assert db.execute("SELECT count(*) FROM leads").fetchone()["count"] == 20
        assert len(events(type="lead.created")) == 20


class TestTheSameRecord:
    async def test_updates_follow_one_another(self, graphql, make_lead, db):
        lead = make_lead()
        names = [f"Name{number}" for number in range(40)]
        answers = await asyncio.gather(*(graphql(UPDATE, id=lead["id"], name=name) for name in names))
        versions = sorted(one["updateLead"]["version"] for one in answers)
        assert versions == list(range(2, 42))
        last = max((one["updateLead"] for one in answers), key=lambda found: found["version"])
        row = db.execute("SELECT last_name, version FROM leads").fetchone()
        assert (row["last_name"], row["version"]) == (last["lastName"], 41)

    async def test_of_two_with_the_same_expected_version_one_wins(self, graphql, make_lead):
        lead = make_lead()
        query = (
            "mutation($id: Int!, $name: String!) { "
            "updateLead(id: $id, input: {lastName: $name, expectedVersion: 1}) { version } }"
        )
        answers = await asyncio.gather(
            *(graphql(query, expect_errors=True, id=lead["id"], name=f"N{number}") for number in range(10))
        )
        codes = [one["errors"][0]["extensions"]["code"] for one in answers if one.get("errors")]
        assert codes == ["CONFLICT"] * 9


async def _waits_for_a_lock(database_url):
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        for _ in range(200):
            row = await (
                await connection.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            ).fetchone()
            if row[0]:
                return
            await asyncio.sleep(0.02)
    msg = "nobody waits"
    raise AssertionError(msg)
