"""Subscriptions that differ take memory: so much of it for one user, so much for all, and none when they have ended."""

import asyncio
import gc
import json
import weakref
from contextlib import AsyncExitStack, suppress
from uuid import uuid4

import pytest
from websockets.asyncio.client import connect

from crm.core import errors
from crm.core.identity import Role, Viewer
from crm.graph.live.memory import SubscriptionMemory, estimate
from crm.graph.run.engine import Request
from tests.support.probed import Probed
from tests.support.waiting import eventually
from tests.support.websockets import GRAPHQL_WS

MIB = 1024 * 1024
IDS = ",".join(map(str, range(900)))
# Let in, and counted as 3 MB.
LARGE = "subscription { changes { cursor k%d: lead { %s } } }"
LISTS = " ".join(f"a{number}: tasks(limit: 1, filter: {{id: {{in: [{IDS}]}}}}) {{ id }}" for number in range(4))


@pytest.fixture
def small(database_url, tmp_path):
    """A server with room for two large subscriptions of one user, and for four of all."""
    running = Probed(database_url, tmp_path / "log", CRM_MAX_SUBSCRIPTION_BYTES=str(13 * MIB)).start()
    yield running
    running.stop()


@pytest.fixture
async def opened(small):
    async with AsyncExitStack() as stack:

        async def open_(role="viewer"):
            url = f"ws://127.0.0.1:{small.port}/graphql"
            client = await stack.enter_async_context(connect(url, subprotocols=[GRAPHQL_WS]))
            token = {"Authorization": f"Bearer {small.token(role)}"}
            await client.send(json.dumps({"type": "connection_init", "payload": token}))
            assert json.loads(await client.recv())["type"] == "connection_ack"
            return client

        yield open_


@pytest.fixture
def refused(small):
    async def run(client, *numbers):
        """The codes of those of these subscriptions that are not let in: each is refused, or gets its place."""
        before, found = small.followers(), []
        reading = asyncio.create_task(_read_errors(client, found))
        for number in numbers:
            payload = {"query": LARGE % (number, LISTS)}
            await client.send(json.dumps({"id": str(number), "type": "subscribe", "payload": payload}))
        await eventually(lambda: len(found) + small.followers() - before == len(numbers), 40)
        await asyncio.sleep(0.3)  # one too many would come now
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading
        return found

    return run


async def _read_errors(client, found):
    async for message in client:
        said = json.loads(message)
        assert said["type"] == "error", said
        found.append(said["payload"][0]["extensions"]["code"])


async def test_of_one_user_is_half_of_all(small, opened, refused, db):  # noqa: ARG001
    client = await opened()
    assert await refused(client, 1, 2, 3) == ["TOO_COMPLEX"]
    assert await refused(await opened(), 4) == ["TOO_COMPLEX"]
    assert await refused(await opened("member"), 4, 5) == []
    assert await refused(await opened("admin"), 6) == ["UNAVAILABLE"]
    await client.close()
    await small.followed_by(2)
    again = await opened()
    assert await refused(again, 7, 8) == []


async def test_of_the_same_counts_once(small, opened, db):  # noqa: ARG001
    client = await opened()
    for number in range(10):  # of two there is room
        payload = {"query": LARGE % (1, LISTS)}
        await client.send(json.dumps({"id": str(number), "type": "subscribe", "payload": payload}))
    await small.followed_by(10)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            pytest.fail(await client.recv())


async def test_is_counted_until_the_last_follower_leaves(small, opened, refused, db):  # noqa: ARG001
    first, second = await opened(), await opened()
    assert await refused(first, 1, 2) == []
    assert await refused(second, 1, 2) == []
    await first.close()
    await small.followed_by(2)
    assert await refused(second, 3) == ["TOO_COMPLEX"]
    await second.close()
    await small.followed_by(0)
    assert await refused(await opened(), 3, 4) == []


async def test_is_free_when_a_subscription_has_ended(engine, viewers):
    """Without waiting for the garbage collector, which comes to what is old when there is a quarter more."""
    request, viewer = Request(LARGE % (1, LISTS)), viewers[Role.VIEWER]
    operation = await engine.opened(request, viewer)  # kept by the cache
    known = weakref.ref(operation)
    del operation
    try:
        running = asyncio.create_task(anext(engine.subscribe(request, viewer)))
        await eventually(lambda: any(one.task for one in engine.subscriptions._channels.values()))  # noqa: SLF001
        gc.collect()
        gc.disable()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await asyncio.sleep(0.1)
        assert gc.collect() < 100  # they were 11,000
        engine.documents = type(engine.documents)(0)
        gc.collect()
        assert known() is None  # only the cache had it
    finally:
        gc.enable()
        await engine.subscriptions.stop()


def test_that_was_given_back_can_be_taken_again():
    one, other = (Viewer(uuid4(), Role.VIEWER) for _ in range(2))
    memory = SubscriptionMemory(100)
    memory.take(one, 50)
    with pytest.raises(errors.TooComplex):
        memory.take(one, 1)
    memory.take(other, 50)
    memory.give_back(one, 50)
    memory.take(one, 20)
    third = Viewer(uuid4(), Role.VIEWER)
    with pytest.raises(errors.Unavailable):
        memory.take(third, 31)
    memory.take(third, 30)


def test_two_thousand_usual_ones_fit_into_half_of_the_default(engine):
    usual = "subscription Lead($id: ID!) { changes(leadId: $id) { cursor type entityId } }"
    assert 2000 * estimate(usual, b'{"id":123456}') < engine.settings.max_subscription_bytes // 2
