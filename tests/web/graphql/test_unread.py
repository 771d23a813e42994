"""A client that asks for much and reads nothing costs the memory of some answers, not of all that it asked for."""

import asyncio
import json

import pytest
from websockets.asyncio.client import connect

from tests.support.servers import memory
from tests.support.websockets import GRAPHQL_WS

MIB = 1024 * 1024
OPERATIONS = 20
ONE = 7 * MIB
QUERY = '{{ a{number}: interactions(filter: {{notes: {{startsWith: "unread "}}}}, limit: 40) {{ notes }} }}'


@pytest.fixture
def large(db, make_lead):
    db.execute(
        "INSERT INTO interactions (type, notes, occurred_at, lead_id)"
        " SELECT 'note', 'unread ' || repeat('abc å ', %s), now(), %s FROM generate_series(1, 40)",
        (ONE // 40 // 7, make_lead()["id"]),
    )


async def opened(server):
    url = server.url.replace("http", "ws") + "/graphql"
    socket = await connect(url, subprotocols=[GRAPHQL_WS], max_size=None, max_queue=1)
    await socket.send(json.dumps({"type": "connection_init", "payload": {"Authorization": f"Bearer {server.token()}"}}))
    assert json.loads(await socket.recv())["type"] == "connection_ack"
    return socket


async def test_many_queries_on_one_socket(server, large):  # noqa: ARG001
    socket = await opened(server)
    before = most = memory(server)
    for number in range(OPERATIONS):
        payload = {"query": QUERY.format(number=number)}
        await socket.send(json.dumps({"id": str(number), "type": "subscribe", "payload": payload}))
    for _ in range(30):
        await asyncio.sleep(0.1)
        most = max(most, memory(server))
    assert most - before < OPERATIONS * ONE
    ended = set()
    async with asyncio.timeout(60):
        while len(ended) < OPERATIONS:
            message = json.loads(await socket.recv())
            if message["type"] == "next":
                [rows] = message["payload"]["data"].values()
                assert len(rows) == 40
            else:
                assert message["type"] == "complete", message
                ended.add(message["id"])
    await socket.close()
