"""What lives or waits for long keeps nothing of its message that it does not need."""

import asyncio
import json
from contextlib import ExitStack, asynccontextmanager

from tests.support.http_client import AsyncClient
from tests.support.servers import memory
from tests.support.websockets import signed_in

MIB = 1024 * 1024
SUBSCRIPTIONS = 40
# 200 KB as text, some 3 MB once it is parsed.
BALLAST = [[] for _ in range(50_000)]


async def test_variables_that_nobody_declared_are_not_kept(alone, db):  # noqa: ARG001
    async with await signed_in(alone.url, alone.token("viewer")) as client:
        for number in range(SUBSCRIPTIONS):
            payload = {"query": "subscription { changes { cursor } }", "variables": {"y": BALLAST}}
            await client.send(json.dumps({"id": str(number), "type": "subscribe", "payload": payload}))
            if number == 4:
                await answered(client)
                before = memory(alone)
        await answered(client)
        assert memory(alone) - before < 40 * MIB  # kept, they were 100 MiB


async def test_documents_of_queries_that_are_answered_are_not_kept(alone, db):  # noqa: ARG001
    """They are read once, and nothing of them is kept before they are asked for again."""
    ids = ",".join(map(str, range(900)))
    lists = " ".join(f"a{number}: tasks(limit: 1, filter: {{id: {{in: [{ids}]}}}}) {{ id }}" for number in range(4))
    async with await signed_in(alone.url, alone.token("viewer")) as client:
        for number in range(30):
            payload = {"query": f"{{ k{number}: leads(limit: 1) {{ {lists} }} }}"}
            await client.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
            for kind in ("next", "complete"):
                async with asyncio.timeout(30):
                    assert json.loads(await client.recv())["type"] == kind
            if number == 4:
                before = memory(alone)
        assert memory(alone) - before < 17 * MIB  # kept, they were 43 MiB


async def answered(client):
    """What was sent so far has been read: messages are taken in their order."""
    await client.send(json.dumps({"type": "ping"}))
    async with asyncio.timeout(30):
        message = json.loads(await client.recv())
        assert message["type"] == "pong", message
    await asyncio.sleep(0.5)


@asynccontextmanager
async def waiting(server, db, role, body, count):
    """Requests that wait for a locked table, the memory that all but five of them take, and what unlocks it."""
    headers = {"Authorization": f"Bearer {server.token(role)}", "Content-Type": "application/json"}
    async with AsyncClient(base_url=server.url, headers=headers, timeout=60) as client, asyncio.TaskGroup() as group:

        def ask(count):
            return [group.create_task(client.post("/graphql", content=body)) for _ in range(count)]

        with ExitStack() as locked:
            locked.enter_context(db.transaction())
            db.execute("LOCK TABLE leads IN ACCESS EXCLUSIVE MODE")
            first = ask(5)
            await asyncio.sleep(1)
            before = memory(server)
            rest = ask(count)
            await asyncio.sleep(2)
            assert not any(one.done() for one in first + rest)
            yield first + rest, memory(server) - before, locked.close


async def test_variables_of_queries_that_wait_are_not_kept(alone, db):
    body = json.dumps({"query": "{ leads(limit: 1) { id } }", "variables": {"y": BALLAST}})
    async with waiting(alone, db, "viewer", body, SUBSCRIPTIONS - 5) as (requests, grown, unlock):
        assert grown < 40 * MIB  # kept, they were 100 MiB
        unlock()
        assert {(await one).status_code for one in requests} == {200}


async def test_declared_variables_that_wait_are_kept_as_text(alone, db):
    """Parsed, they take ten times the memory: no more requests are parsed than there is room for."""
    query = "mutation($leads: [CreateLeadInput!]!) { createLeads(inputs: $leads) { index } }"
    leads = [{"firstName": "A", "lastName": "B", "tags": list("abcdefghijklmnopqrstuvwx")} for _ in range(1000)]
    body = json.dumps({"query": query, "variables": {"leads": leads}})
    async with waiting(alone, db, "member", body, 60) as (requests, grown, _):
        assert grown < 70 * MIB  # parsed at once, they were more than twice that
        for one in requests:
            one.cancel()
        alone.kill()  # before the table is free: nobody needs what they would write
