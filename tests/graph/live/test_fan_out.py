"""One change that many follow: one copy of what is shown, handed out bit by bit, and all of it to everybody."""

import asyncio
import json
import socket
import time
import urllib.request
from contextlib import AsyncExitStack
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.support.probed import Probed
from tests.support.servers import memory
from tests.support.websockets import GRAPHQL_WS

pytestmark = pytest.mark.waits(30)

MIB = 1024 * 1024
ONE = 3 * MIB
MANY = 50
LARGE = "subscription { changes(leadId: %d) { lead { interactions(limit: 30) { notes } } } }"
SMALL = "subscription { changes(leadId: %d) { type } }"
EVENT = "INSERT INTO events (type, entity, entity_id, lead_id) VALUES ('lead.updated', 'lead', %s::text, %s)"
# What is usual is some 10 ms; it was some 10 ms for each of them.
MOST_SECONDS = 0.25


@pytest.fixture(scope="module")
def probed(database_url, tmp_path_factory):
    server = Probed(database_url, tmp_path_factory.mktemp("probed") / "log").start()
    yield server
    server.stop()


@pytest.fixture
def lead(db, make_lead):
    found = make_lead()["id"]
    db.execute(
        "INSERT INTO interactions (type, notes, occurred_at, lead_id)"
        " SELECT 'note', repeat('abc å ', %s), now(), %s FROM generate_series(1, 30)",
        (ONE // 30 // 7, found),
    )
    return found


async def opened(stack, server):
    """A client that reads when it is asked to, and has little room for the rest."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", server.port))
    raw.setblocking(False)
    url = server.url.replace("http", "ws") + "/graphql"
    options: dict[str, Any] = {
        "sock": raw,
        "compression": None,
        "max_size": None,
        "max_queue": 1,
        "ping_interval": None,
        "close_timeout": 0.1,
    }
    client = await stack.enter_async_context(connect(url, subprotocols=[GRAPHQL_WS], **options))
    await client.send(json.dumps({"type": "connection_init", "payload": {"Authorization": f"Bearer {server.token()}"}}))
    assert json.loads(await client.recv())["type"] == "connection_ack"
    return client


async def follow(stack, server, query, sockets, each):
    clients = [await opened(stack, server) for _ in range(sockets)]
    for client in clients:
        for number in range(each):
            await client.send(json.dumps({"id": str(number), "type": "subscribe", "payload": {"query": query}}))
    await server.followed_by(sockets * each)
    await asyncio.sleep(0.3)
    server.held()
    return clients


async def watched(server, seconds):
    """The most memory that the server had, and the longest that others waited."""
    most, longest = 0, 0.0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.monotonic()
        await asyncio.to_thread(held_up, server)
        longest = max(longest, time.monotonic() - began)
        most = max(most, memory(server))
        await asyncio.sleep(0.02)
    return most, longest


def held_up(server):
    with urllib.request.urlopen(f"{server.url}/healthz", timeout=30) as answer:
        answer.read()


async def shown(client, count):
    """So many messages, by the id of their subscription; from now on there is room for them."""
    client.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MIB)
    found = {}
    async with asyncio.timeout(60):
        for _ in range(count):
            message = json.loads(await client.recv())
            assert message["type"] == "next", message
            found[message["id"]] = message["payload"]["data"]["changes"]
    return found


@pytest.mark.parametrize(("sockets", "each"), [(MANY, 1), (1, MANY), (10, MANY)])
async def test_a_large_change_is_kept_once(probed, lead, db, sockets, each):
    async with AsyncExitStack() as stack:
        clients = await follow(stack, probed, LARGE % lead, sockets, each)
        before = memory(probed)
        db.execute(EVENT, (lead, lead))
        most, longest = await watched(probed, 2)
        assert most - before < 20 * ONE  # it was 50 of them at least
        assert probed.held() < MOST_SECONDS
        assert longest < 2
        for client in clients[:2]:
            found = await shown(client, min(each, 20))
            assert len(found) == min(each, 20)
            for change in found.values():
                assert len(change["lead"]["interactions"]) == 30


async def test_a_small_change_goes_to_some_hundred_in_a_turn(probed, lead, db):
    async with AsyncExitStack() as stack:
        clients = await follow(stack, probed, SMALL % lead, 60, 100)
        with db.transaction():
            for _ in range(5):
                db.execute(EVENT, (lead, lead))
        _, longest = await watched(probed, 2)
        assert probed.held() < MOST_SECONDS
        assert longest < 2
        for client in clients[::6]:
            assert len(await shown(client, 500)) == 100


async def test_different_ones_on_one_socket_wait_for_room(probed, lead, db):
    """Each has an answer of its own: those whose turn has not come hold nothing."""
    async with AsyncExitStack() as stack:
        client = await opened(stack, probed)
        for number in range(60):
            query = (LARGE % lead).replace("interactions", f"a{number}: interactions")
            await client.send(json.dumps({"id": str(number), "type": "subscribe", "payload": {"query": query}}))
            await probed.followed_by(number + 1)
        before = memory(probed)
        db.execute(EVENT, (lead, lead))
        most, _ = await watched(probed, 5)
        assert most - before < 150 * MIB  # 64 MiB are remembered, 4 answers are under way
        found = await shown(client, 60)
        assert {key: next(iter(change["lead"])) for key, change in found.items()} == {
            str(number): f"a{number}" for number in range(60)
        }
