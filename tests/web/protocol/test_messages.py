"""Messages of WebSockets that are not whole yet take the room of bodies: little of it before their user is known."""

import asyncio
import gc
from pathlib import Path

import pytest

from crm.web.protocol import ClientLimits
from crm.web.protocol.bodies import OWNER
from tests.support.waiting import eventually
from tests.web.protocol.account import HALF, KIB, MOST, SIZE, USUAL, closed, kept
from tests.web.protocol.rude_socket import OPENING, TEXT, close_code, frame


async def listening(scope, receive, send):
    """Knows its user from the opening, or never."""
    await receive()
    user = dict(scope["headers"]).get(b"user")
    if user is not None:
        scope["state"][OWNER] = user
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] != "websocket.disconnect":
        await send({"type": "websocket.send", "text": str(len(message["text"]))})


async def opened(server, user=None):
    connection = await asyncio.open_connection(*server.address)
    name = b"" if user is None else b"User: %s\r\n" % user
    connection[1].write(OPENING.replace(b"\r\n\r\n", b"\r\n" + name + b"\r\n"))
    assert (await connection[0].readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    return connection


def half(size=SIZE):
    return frame(TEXT, b"a" * (size - 100), length=size)


def halves(size=SIZE):
    """The same in pieces."""
    return frame(TEXT, b"a" * (size // 2), last=False) + frame(0, b"a" * (size // 2 - 100), last=False)


def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * KIB for line in lines if line.startswith("RssAnon"))


class TestOfNobodyKnown:
    @pytest.mark.parametrize("data", [frame(TEXT, length=16 * KIB + 1), halves(64 * KIB)], ids=["frame", "pieces"])
    async def test_are_small(self, serve, data):
        """Known from the head of the frame: nothing of it is gathered."""
        async with serve(listening, USUAL) as server:
            connection = await opened(server)
            connection[1].write(data)
            assert await close_code(connection[0]) in (1009, None)
            await closed(server, [connection])

    async def test_may_have_16_kib(self, serve):
        async with serve(listening, USUAL) as server:
            connection = await opened(server)
            connection[1].write(frame(TEXT, b"a" * 16 * KIB))
            assert await connection[0].readexactly(7) == b"\x81\x0516384"
            await closed(server, [connection])

    async def test_that_are_larger_end_before_the_opening_is_answered(self, serve):
        over = asyncio.Event()

        async def slow(_scope, receive, _send):
            await receive()
            assert (await receive())["type"] == "websocket.disconnect"
            over.set()

        async with serve(slow, USUAL) as server:
            connection = await asyncio.open_connection(*server.address)
            connection[1].write(OPENING)
            await eventually(lambda: any(hasattr(one, "conn") for one in server.server_state.connections))
            connection[1].write(half())
            await asyncio.wait_for(over.wait(), 10)
            await closed(server, [connection])


class TestHalfMessages:
    @pytest.mark.parametrize("data", [half(), halves()], ids=["frame", "pieces"])
    async def test_of_one_user_have_half_of_the_room(self, serve, data):
        async with serve(listening, USUAL) as server:
            sockets = []
            for _ in range(40):
                sockets.append(await opened(server, b"greedy"))
                sockets[-1][1].write(data)
                assert kept(server) <= HALF
            for reader, _ in sockets[:32]:  # the oldest
                assert await close_code(reader) in (1013, None)
            assert MOST // 4 < kept(server) <= HALF
            rest = b"a" * 100 if data == half() else frame(0, b"a" * 100)
            for reader, writer in sockets[-6:]:
                writer.write(rest)
                assert await asyncio.wait_for(reader.readexactly(8), 10) == b"\x81\x06262144"
            await closed(server, sockets)

    async def test_of_many_users_have_all_of_it(self, serve):
        async with serve(listening, USUAL) as server:
            sockets = []
            for number in range(40):
                sockets.append(await opened(server, b"%d" % (number % 10)))
                sockets[-1][1].write(half())
            await eventually(lambda: len(server.server_state.connections) <= 17, 20)
            assert kept(server) <= MOST
            honest = await opened(server, b"honest")
            honest[1].write(frame(TEXT, b"a" * SIZE))
            assert await asyncio.wait_for(honest[0].readexactly(8), 10) == b"\x81\x06262144"
            await closed(server, [*sockets, honest])

    async def test_leave_nothing_when_their_socket_is_closed(self, serve):
        """The collector may come much later, and holds everybody up."""

        async def tied(scope, receive, send):
            scope["itself"] = receive  # as a session that knows its socket is
            await listening(scope, receive, send)

        async with serve(tied, ClientLimits(drain_seconds=0)) as server:
            gc.collect()
            gc.disable()
            try:
                for turn in range(5):
                    if turn == 1:
                        before = resident()  # whatever the allocator keeps for the next round is there
                    sockets = [await opened(server, b"%d" % (number % 4)) for number in range(100)]
                    for _, writer in sockets:
                        writer.write(half())
                    await eventually(lambda: kept(server) > 90 * (SIZE - KIB), 20)
                    await closed(server, sockets)
                del sockets
                assert resident() - before < 40 * KIB * KIB  # of 100 MiB
            finally:
                gc.enable()
