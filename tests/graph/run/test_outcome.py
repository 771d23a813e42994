"""What a client is told of a write whose outcome nobody reported: that it may be saved, so that no retry doubles it."""

import asyncio

import pytest

from tests.support.http_client import AsyncClient
from tests.support.locks import waiting
from tests.support.servers import Server
from tests.support.waiting import eventually

pytestmark = pytest.mark.waits(15)

# By how they are committed.
UPDATE = 'mutation($lead: Int!) { updateLead(id: $lead, input: {company: "X"}) { id } }'
WRITES = {
    "within its only statement": 'mutation($lead: Int!) { createTask(input: {leadId: $lead, title: "Call"}) { id } }',
    "with its last statement": UPDATE,
    "by itself": 'mutation { createLead(input: {firstName: "A", lastName: "B", email: "a@example.com"}) { id } }',
}
BOTH = """
mutation($one: Int!, $two: Int!) {
  one: updateLead(id: $one, input: {company: "X"}) { id }
  two: updateLead(id: $two, input: {company: "X"}) { id }
}"""


@pytest.fixture
async def ask(proxy, database_url, tmp_path, db):  # noqa: ARG001
    """Ask a server that reaches PostgreSQL by the proxy; it has connections already."""
    server = await asyncio.to_thread(Server(proxy.url, tmp_path / "log", CRM_REQUEST_TIMEOUT_SECONDS="2").start)
    server.database_url = database_url
    headers = {"Authorization": f"Bearer {server.token('member')}"}

    async with AsyncClient(base_url=server.url, headers=headers, timeout=20) as client:

        async def run(query, **variables):
            return (await client.post("/graphql", json={"query": query, "variables": variables})).json()

        await asyncio.gather(*(run("{ leads { id } }") for _ in range(5)))
        yield run
    proxy.thaw()
    server.kill()


def error_of(answer):
    [error] = answer["errors"]
    return error


@pytest.fixture(params=WRITES)
async def asked(request, proxy, ask, db, make_lead):
    """A mutation that has been saved, and the answer to its commit is held back."""
    query, lead = WRITES[request.param], make_lead()["id"]
    proxy.hold_answers(after=b"" if "createTask" in query else b"COMMIT")
    task = asyncio.create_task(ask(query, lead=lead) if "$lead" in query else ask(query))
    await eventually(lambda: events(db) == 1)
    yield task
    await task


class TestSaved:
    async def test_once_the_requests_time_is_up(self, asked):
        error = error_of(await asked)
        assert (error["extensions"]["code"], error["extensions"]["outcome"]) == ("TIMEOUT", "UNKNOWN")
        assert "may have been saved" in error["message"]

    async def test_once_the_connection_broke(self, asked, proxy):
        proxy.cut()
        error = error_of(await asked)
        assert (error["extensions"]["code"], error["extensions"]["outcome"]) == ("UNAVAILABLE", "UNKNOWN")
        assert "may have been saved" in error["message"]


async def test_a_create_with_a_key_is_sent_again(proxy, ask, db):
    query = """mutation {
      createLead(input: {firstName: "A", lastName: "B", email: "a@example.com"}, idempotencyKey: "one") { id }
    }"""
    proxy.hold_answers(after=b"COMMIT")
    asked = asyncio.create_task(ask(query))
    await eventually(lambda: events(db) == 1)
    assert error_of(await asked)["extensions"]["outcome"] == "UNKNOWN"
    proxy.thaw()
    saved = db.execute("SELECT id FROM leads").fetchone()["id"]
    assert await ask(query) == {"data": {"createLead": {"id": str(saved)}}}
    assert events(db) == 1


class TestNotSaved:
    """Nothing was written, and no retry doubles it."""

    async def test_by_a_mutation_that_waits_for_others(self, ask, make_lead, db):
        lead = make_lead()["id"]
        with db.transaction():
            db.execute("SELECT FROM leads WHERE id = %s FOR UPDATE", [lead])
            error = error_of(await ask(UPDATE, lead=lead))
        assert error["extensions"] == {"code": "TIMEOUT"}

    async def test_by_a_mutation_whose_connection_breaks(self, ask, make_lead, db, proxy):
        lead = make_lead()["id"]
        with db.transaction():
            db.execute("SELECT FROM leads WHERE id = %s FOR UPDATE", [lead])
            asked = asyncio.create_task(ask(UPDATE, lead=lead))
            await eventually(lambda: waiting(db))
            proxy.cut()
            error = error_of(await asked)
        assert error["extensions"] == {"code": "UNAVAILABLE"}

    async def test_but_by_an_earlier_field(self, ask, make_lead, db):
        """It is a transaction of its own, and stays."""
        one, two = make_lead(company=None)["id"], make_lead()["id"]
        with db.transaction():
            db.execute("SELECT FROM leads WHERE id = %s FOR UPDATE", [two])
            error = error_of(await ask(BOTH, one=one, two=two))
        assert error["extensions"] == {"code": "TIMEOUT", "outcome": "UNKNOWN"}
        assert db.execute("SELECT company FROM leads WHERE id = %s", [one]).fetchone()["company"] == "X"


def events(db):
    return db.execute("SELECT count(*) AS count FROM events").fetchone()["count"]
