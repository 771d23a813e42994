"""However a client sends, a turn of the loop parses some thousand pieces, and closes some hundred connections."""

import asyncio
from contextlib import suppress

import pytest

from crm.web.protocol import ClientLimits
from crm.web.protocol.bodies import OWNER
from crm.web.protocol.intake import IntakeTurns
from tests.web.protocol.echo import answer
from tests.web.protocol.rude_socket import OPENING, TEXT, frame

MIB = 1024 * 1024
HEAD = b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = b"1\r\nx\r\n"
# Some of the largest pieces are half as much again.
MOST_PIECES = 10_000
MOST_CLOSED = 300
KIB = 1024
MOST_BYTES = 512 * KIB


class Turns:
    """The most that a number grew in one turn of the loop."""

    def __init__(self, number):
        self.most = 0
        self._number = number
        self._task = asyncio.create_task(self._watch())

    async def _watch(self):
        before = self._number()
        while True:
            await asyncio.sleep(0)
            now = self._number()
            self.most = max(self.most, now - before)
            before = now

    def end(self):
        self._task.cancel()
        return self.most


async def hasty(_scope, _receive, send):
    await answer(send, b"no")


async def thorough(_scope, receive, send):
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await answer(send, str(size).encode())


def pieces(server):
    return lambda: sum(getattr(one, "_progress", 0) for one in server.server_state.connections)


@pytest.mark.parametrize("app", [hasty, thorough])
async def test_a_body_in_tiny_chunks_is_parsed_bit_by_bit(serve, app):
    count = 20_000 if app is thorough else 8_000
    async with serve(app, ClientLimits(drain_seconds=0)) as server:
        clients = [await asyncio.open_connection(*server.address) for _ in range(5)]
        turns = Turns(pieces(server))
        for _, writer in clients:
            writer.write(HEAD + CHUNK * count + b"0\r\n\r\n")
            writer.write(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        for reader, writer in clients:
            said = await asyncio.wait_for(reader.read(), 20)
            assert said.count(b"HTTP/1.1 200 ") == 2
            if app is thorough:
                assert str(count).encode() in said
            writer.close()
        assert 0 < turns.end() <= MOST_PIECES


async def test_a_body_that_nobody_wants_is_cut_off(serve):
    """Its client is given the time to read its answer."""
    async with serve(hasty, ClientLimits(drain_seconds=0)) as server:
        reader, writer = await asyncio.open_connection(*server.address)
        turns = Turns(pieces(server))
        writer.write(HEAD)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        sent, blob = 0, CHUNK * 20_000
        async with asyncio.timeout(20):
            with suppress(ConnectionError):
                while True:
                    writer.write(blob)
                    await writer.drain()
                    sent += len(blob)
        assert sent < 24 * MIB
        assert turns.end() <= MOST_PIECES
        writer.close()


async def test_a_large_head_that_comes_at_once_is_one(serve):
    async with serve(hasty, ClientLimits(drain_seconds=0)) as server:
        reader, writer = await asyncio.open_connection(*server.address)
        head = b"GET / HTTP/1.1\r\nHost: here\r\n" + b"".join(b"X: %s\r\n" % (b"a" * 500) for _ in range(100)) + b"\r\n"
        writer.write(head * 3)
        for _ in range(3):
            assert (await reader.readuntil(b"\r\n\r\nno")).startswith(b"HTTP/1.1 200 ")
        writer.close()


async def test_connections_that_are_late_are_closed_some_at_a_time(serve):
    async with serve(hasty, ClientLimits(head_seconds=3, drain_seconds=0)) as server:
        clients = [await asyncio.open_connection(*server.address) for _ in range(700)]
        connections = server.server_state.connections
        turns = Turns(lambda: -len(connections))
        async with asyncio.timeout(20):
            while connections:
                await asyncio.sleep(0.01)
        assert 0 < turns.end() <= MOST_CLOSED
        for _, writer in clients:
            writer.close()


async def test_messages_that_come_at_once_are_parsed_bit_by_bit(serve):
    size, count = 250 * KIB, 40

    async def listening(scope, receive, send):
        await receive()
        scope["state"][OWNER] = "somebody"
        await send({"type": "websocket.accept"})
        message = await receive()
        await send({"type": "websocket.send", "text": str(len(message["text"]))})
        await receive()

    def gathered():
        sockets = [one for one in server.server_state.connections if hasattr(one, "conn")]
        return sum(len(one.conn.reader.buffer) for one in sockets)

    async with serve(listening, ClientLimits(drain_seconds=0)) as server:
        clients = [await asyncio.open_connection(*server.address) for _ in range(count)]
        for reader, writer in clients:
            writer.write(OPENING)
            await reader.readuntil(b"\r\n\r\n")
        turns = Turns(gathered)
        for _, writer in clients:
            writer.write(frame(TEXT, b"a" * size))
        for reader, writer in clients:
            assert await asyncio.wait_for(reader.readexactly(8), 20) == b"\x81\x06256000"
            writer.close()
        assert 0 < turns.end() <= MOST_BYTES


class Fed:
    """A connection with bytes for some turns."""

    def __init__(self, turns, error=None):
        self.turns = turns
        self.dropped = False
        self._error = error

    def feed_on(self):
        if self._error is not None:
            raise self._error
        self.turns -= 1
        return 1

    def waits(self):
        return self.turns > 0

    def drop(self):
        self.dropped = True


async def test_one_that_fails_keeps_nobody_from_their_turns():
    turns = IntakeTurns()
    broken, whole = Fed(3, ValueError("broken")), Fed(3)
    turns.take(broken)
    turns.take(whole)
    await asyncio.sleep(0.01)
    late = Fed(2)
    turns.take(late)
    await asyncio.sleep(0.01)
    assert (broken.dropped, whole.turns, late.turns) == (True, 0, 0)


async def test_floods_of_clients_that_leave_keep_nobody_from_their_turns(serve):
    async def refusing(_scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        for _ in range(3):
            if (await receive())["type"] == "websocket.disconnect":
                return
        await send({"type": "websocket.close", "code": 1008})

    async def app(scope, receive, send):
        await (thorough if scope["type"] == "http" else refusing)(scope, receive, send)

    async with serve(app, ClientLimits(drain_seconds=0)) as server:
        for _ in range(30):
            reader, writer = await asyncio.open_connection(*server.address)
            writer.write(OPENING)
            await reader.readuntil(b"\r\n\r\n")
            writer.write(frame(TEXT) * 20_000)
            writer.close()
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 30000\r\n\r\n" + b"a" * 30_000)
        async with asyncio.timeout(10):
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        writer.close()
