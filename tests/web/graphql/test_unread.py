"""A client that asks for much and reads nothing costs the memory of some answers, not of all that it asked for."""

import asyncio
import json
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed

from tests.support.servers import Server, memory
from tests.support.websockets import narrow, signed_in

MIB = 1024 * 1024
OPERATIONS = 20
ONE = 7 * MIB
STREAMS = 7
FOLLOW = """subscription($after: String, $lead: ID) {
  changes(after: $after, leadId: $lead) { lead { interactions(limit: 40) { notes } } }
}"""
RENAME = "mutation($id: Int!, $company: String) { updateLead(id: $id, input: {company: $company}) { id } }"
QUERY = '{{ a{number}: interactions(filter: {{notes: {{startsWith: "unread "}}}}, limit: {limit}) {{ notes }} }}'


@pytest.fixture
def large(db, make_lead):
    db.execute(
        "INSERT INTO interactions (type, notes, occurred_at, lead_id)"
        " SELECT 'note', 'unread ' || repeat('abc å ', %s), now(), %s FROM generate_series(1, 40)",
        (ONE // 40 // 7, make_lead()["id"]),
    )


async def test_many_queries_on_one_socket(server, large):  # noqa: ARG001
    client = await signed_in(server.url, server.token(), max_size=None, max_queue=1)
    before = most = memory(server)
    for number in range(OPERATIONS):
        await ask(client, QUERY.format(number=number, limit=40), number)
    for _ in range(30):
        await asyncio.sleep(0.1)
        most = max(most, memory(server))
    assert most - before < OPERATIONS * ONE
    ended = set()
    async with asyncio.timeout(60):
        while len(ended) < OPERATIONS:
            message = json.loads(await client.recv())
            if message["type"] == "next":
                [rows] = message["payload"]["data"].values()
                assert len(rows) == 40
            else:
                assert message["type"] == "complete", message
                ended.add(message["id"])
    await client.close()


async def test_errors_that_wait_behind_an_unread_answer(database_url, large, tmp_path):  # noqa: ARG001
    """Each is short, but whoever waits to send it takes 10 KiB."""
    room = str(20 * MIB)
    server = Server(
        database_url, tmp_path / "log", fork=False, CRM_MAX_UNREAD_BYTES=room, CRM_WEBSOCKET_OPERATIONS="3000"
    ).start()
    try:
        before = memory(server)
        for _ in range(4):
            client = await signed_in(server.url, server.token(), sock=narrow(server.port), max_queue=1)
            await ask(client, QUERY.format(number=0, limit=40), 0)
            with suppress(ConnectionClosed):
                for number in range(1, 2900):
                    await ask(client, "{ me { id }", number)
        await asyncio.sleep(1)
        assert memory(server) - before < 60 * MIB  # counted by their length, it was 113
    finally:
        server.kill()


async def test_changes_behind_one_that_is_unread(database_url, large, graphql, tmp_path):  # noqa: ARG001
    """A stream takes its next change once the client has read most of the one before."""
    key, start = (await graphql("{ leads(limit: 1) { id } changeStream { cursor } }")).values()
    for company in ("A", "B", "C"):
        await graphql(RENAME, id=int(key[0]["id"]), company=company)
    server = Server(database_url, tmp_path / "log", fork=False).start()
    body = json.dumps({"query": FOLLOW, "variables": {"after": start["cursor"], "lead": key[0]["id"]}})
    head = f"POST /graphql HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {server.token()}\r\n"
    head += f"Content-Type: application/json\r\nAccept: text/event-stream\r\nContent-Length: {len(body)}\r\n\r\n"
    streams = []
    try:
        before = memory(server)
        for _ in range(STREAMS):
            _, writer = await asyncio.open_connection(sock=narrow(server.port), limit=4096)
            writer.write((head + body).encode())
            streams.append(writer)
        most = 0
        for _ in range(60):
            await asyncio.sleep(0.1)
            most = max(most, memory(server) - before)
        assert most > STREAMS * ONE  # they have their first change, and keep it
        assert most < 2 * STREAMS * ONE  # with the second one behind it: 3 to 4 times as much
    finally:
        for writer in streams:
            writer.transport.abort()
        server.kill()


async def ask(client, query, number):
    await client.send(json.dumps({"id": str(number), "type": "subscribe", "payload": {"query": query}}))
