"""What stays open keeps the token of its head, and nothing else of it."""

import asyncio

from tests.support.servers import memory

MIB = 1024 * 1024
CONNECTIONS = 400
LINES = "".join(f"X-{number}: {'x' * 1000}\r\n" for number in range(60))
ALL = CONNECTIONS * len(LINES)


async def test_connections_that_were_answered(alone):
    connections = await asyncio.gather(*[opened(alone) for _ in range(CONNECTIONS)])
    for connection in connections:
        await answered(connection, "GET /healthz HTTP/1.1", "")
    before = memory(alone)
    for connection in connections:
        await answered(connection, "GET /healthz HTTP/1.1", LINES)
    assert memory(alone) - before < ALL / 2
    close(connections)


async def test_websockets(alone):
    """Those with large heads take hardly more than those without."""
    grown = []
    for lines in ("", LINES):
        before = memory(alone)
        connections = [await opened(alone) for _ in range(CONNECTIONS)]
        for connection in connections:
            await answered(connection, "GET /graphql HTTP/1.1", OPENING + lines)
        grown.append(memory(alone) - before)
    assert grown[1] - grown[0] < ALL / 2
    close(connections)


async def test_event_streams(alone):
    """As for WebSockets."""
    token = f"Accept: text/event-stream\r\nAuthorization: Bearer {alone.token()}\r\n"
    grown = []
    for lines in ("", LINES):
        before = memory(alone)
        connections = []
        for number in range(CONNECTIONS):
            if number % 100 == 99:
                await asyncio.sleep(0.6)  # the server looks after its connections twice a second
            connections.append(await opened(alone))
            line = "GET /graphql?query=subscription{changes{type}} HTTP/1.1"
            await answered(connections[-1], line, token + lines, until=b":\n\n")
        grown.append(memory(alone) - before)
        close(connections)
    assert grown[1] - grown[0] < ALL / 2


OPENING = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n"
)


async def opened(server):
    return await asyncio.open_connection("127.0.0.1", server.port)


async def answered(connection, line, lines, until=b"}"):
    reader, writer = connection
    writer.write(f"{line}\r\nHost: here\r\n{lines}\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.split()[1] in {b"200", b"101"}, head
    if b"200 OK" in head:
        await reader.readuntil(until)


def close(connections):
    for _, writer in connections:
        writer.close()
