"""Many half-sent bodies cost the memory of some, which comes back; a whole one beside them is answered."""

import asyncio
import json

import pytest

from tests.support.servers import memory
from tests.support.waiting import eventually

MIB = 1024 * 1024
SIZE = 1_990_000
CONNECTIONS = 100
MESSAGE = 255_000
OPENING = (
    b"GET /graphql HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
)
CREATE = "mutation($inputs: [CreateLeadInput!]!) { createLeads(inputs: $inputs) { index } }"


def body_of(inputs):
    return json.dumps({"query": CREATE, "variables": {"inputs": inputs}}).encode().ljust(SIZE)


async def sent(server, role, body, *, lacking=0):
    connection = await asyncio.open_connection("127.0.0.1", server.port)
    head = (
        "POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
        f"Authorization: Bearer {server.token(role)}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection[1].write(head.encode() + body[: len(body) - lacking])
    return connection


async def answer(connection):
    async with asyncio.timeout(40):
        head, _, body = (await connection[0].read()).partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


async def test_refused_mutations_leave_nothing_behind(alone, db):  # noqa: ARG001
    """A plan is kept, and the error with which it refuses a role; what was sent with each request is not."""
    body = body_of([{"firstName": "Åsa", "lastName": "a" * (SIZE - 200)}])
    for number in range(45):
        _, found = await answer(await sent(alone, "viewer", body))
        assert found["errors"][0]["extensions"]["code"] == "FORBIDDEN"
        if number == 4:
            before = memory(alone)
    assert memory(alone) - before < 40 * MIB  # 76 MiB were sent


async def test_half_bodies(alone, db):  # noqa: ARG001
    whole = body_of([{"firstName": "Åsa", "lastName": "Ek", "company": "a" * 200}] * 1000)
    assert (await answer(await sent(alone, "member", whole)))[1].get("errors") is None
    before = most = memory(alone)
    half = body_of([{"firstName": "Åsa", "lastName": "a" * (SIZE - 200)}])
    connections = [await sent(alone, "viewer", half, lacking=6) for _ in range(CONNECTIONS)]
    for role in ("member", "viewer"):
        status, found = await answer(await sent(alone, role, whole))
        assert status == 200
        code = found["errors"][0]["extensions"]["code"] if "errors" in found else None
        assert code == (None if role == "member" else "FORBIDDEN")
        most = max(most, memory(alone))
    assert most - before < 96 * MIB
    for _, writer in connections:
        writer.close()
    await eventually(lambda: memory(alone) - before < 24 * MIB, 20)


async def half_message(server, token):
    """A socket that sent a message but for its last bytes: after its ack, or without any token."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(OPENING)
    await reader.readuntil(b"\r\n\r\n")
    if token is not None:
        init = {"type": "connection_init", "payload": {"authorization": f"Bearer {token}"}}
        data = json.dumps(init).encode()
        writer.write(b"\x81\xfe" + len(data).to_bytes(2, "big") + bytes(4) + data)
        assert b"connection_ack" in await reader.readuntil(b"}")
    writer.write(b"\x81\xff" + MESSAGE.to_bytes(8, "big") + bytes(4) + b"a" * (MESSAGE - 100))
    return writer


@pytest.mark.parametrize(("role", "most"), [(None, 32 * MIB), ("viewer", 56 * MIB)], ids=["nobody", "viewer"])
async def test_half_messages(alone, db, role, most):  # noqa: ARG001
    token = role and alone.token(role)
    (await half_message(alone, token)).close()
    before = peak = memory(alone)
    sockets = []
    for _ in range(400):  # 97 MiB
        sockets.append(await half_message(alone, token))
        peak = max(peak, memory(alone))
    assert peak - before < most
    for writer in sockets:
        writer.close()
    await eventually(lambda: memory(alone) - before < 24 * MIB, 20)
