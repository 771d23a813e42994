"""Following one task over GraphQL: how it is now, then what becomes of it; and the queue of a frozen PostgreSQL."""

import asyncio
import json
import time
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from websockets.asyncio.client import connect

from tests.support.rest_client import Live
from tests.support.servers import Server
from tests.support.websockets import signed_in

pytestmark = pytest.mark.waits(15)

QUEUE = "subscription { aiTaskQueueUpdated { queued } }"
FOLLOW = "subscription($id: ID) { aiTaskUpdated(id: $id) { id status version attempts { number } lead { id } } }"


class TestFollowingOne:
    async def test_begins_with_how_it_is(self, create, reaches, start_worker, subscribe):
        start_worker()
        task = await create()
        await reaches(task["id"], "COMPLETED")
        async with subscribe(FOLLOW, id=task["id"]) as following:
            assert (await following())["status"] == "COMPLETED"

    async def test_goes_on_with_what_becomes_of_it(self, create, start_worker, subscribe):
        other, task = await create(), await create(priority="URGENT")
        async with subscribe(FOLLOW, id=task["id"].upper()) as following:
            assert (await following())["status"] == "QUEUED"
            start_worker()
            seen = [await following(10)]
            while seen[-1]["status"] != "COMPLETED":
                seen.append(await following(10))
            assert {one["id"] for one in seen} == {task["id"]}
            assert other["id"] not in str(seen)

    async def test_of_what_is_not_there_or_anothers_is_refused(self, create, server, db):  # noqa: ARG002
        theirs = await create()
        for key, role in ((str(uuid4()), "admin"), (theirs["id"], "member")):
            async with await signed_in(server.url, server.token(role)) as raw:
                message = {"id": "1", "type": "subscribe", "payload": {"query": FOLLOW, "variables": {"id": key}}}
                await raw.send(json.dumps(message))
                answer = json.loads(await raw.recv())
            assert answer["type"] == "error"
            assert answer["payload"][0]["extensions"]["code"] == "NOT_FOUND"

    async def test_by_another_spelling_of_its_id_is_refused(self, create, graphql):
        task = await create()
        for spelling in (task["id"].replace("-", ""), f"urn:uuid:{task['id']}", f"{{{task['id']}}}"):
            answer = await graphql("query($id: ID!) { aiTask(id: $id) { id } }", id=spelling, expect_errors=True)
            assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


@pytest.fixture
async def behind(proxy, tmp_path, db):  # noqa: ARG001
    """A server behind the proxy, whose reads may take a second."""
    running = Server(proxy.url, tmp_path / "behind", CRM_READ_TIMEOUT_SECONDS="1")
    await asyncio.to_thread(running.start)
    yield running
    running.kill()


@asynccontextmanager
async def queue_over_graphql(url, token):
    async with await signed_in(url, token) as raw:
        await raw.send(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": QUEUE}}))
        yield Live(raw)


@asynccontextmanager
async def queue_over_ai_tasks(url, token):
    headers = {"Authorization": f"Bearer {token}"}
    async with connect(url.replace("http", "ws") + "/ws/ai-tasks", additional_headers=headers) as raw:
        client = Live(raw)
        await client.subscribe("queue")
        yield client


class TestTheQueueOfAFrozenPostgres:
    async def test_waits_until_it_thaws_and_goes_on(self, proxy, behind, server):
        """A read that a frozen PostgreSQL did not answer was taken for one that lasts too long, and ended it."""
        token = server.token()
        async with queue_over_graphql(behind.url, token) as first, queue_over_ai_tasks(behind.url, token) as second:
            await first.until("next")
            started = time.monotonic()
            await second.until("queue.status")
            await asyncio.sleep(started + 4.5 - time.monotonic())
            proxy.freeze()
            await asyncio.sleep(5)  # a read begins at 5 s, its time is up at 6, and that of its cancellation at 8
            proxy.thaw()
            thawed = time.monotonic()
            for client, kind in (first, "next"), (second, "queue.status"):
                for _ in range(2):
                    message = await client.receive()
                    assert message["type"] == kind, message
            assert time.monotonic() - thawed < 8
