"""Bodies of requests that are not answered yet are bounded: those of all connections, and those of each user."""

import asyncio

import pytest

from crm.web.protocol import ClientLimits
from crm.web.protocol.bodies import OWNER
from tests.support.waiting import eventually
from tests.web.protocol.account import HALF, MOST, SIZE, USUAL, closed, kept
from tests.web.protocol.echo import answer


class Reader:
    """Reads bodies, and answers when it is let."""

    def __init__(self):
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.whole = 0
        self.broken_off = 0

    async def __call__(self, scope, receive, send):
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.broken_off += 1
                return
            scope["state"][OWNER] = dict(scope["headers"]).get(b"user")
            body += message["body"]
            more = message["more_body"]
        self.whole += 1
        await self.go_on.wait()
        await answer(send, b"%d" % len(body))


@pytest.fixture
def reader():
    return Reader()


def head(user, size=SIZE):
    return b"POST / HTTP/1.1\r\nHost: here\r\nUser: %s\r\nContent-Length: %d\r\n\r\n" % (user, size)


async def opened(server, user, *, lacking=1):
    """A connection that sent a body, but for its last bytes."""
    connection = await asyncio.open_connection(*server.address)
    connection[1].write(head(user) + bytes(SIZE - lacking))
    return connection


async def status(connection):
    async with asyncio.timeout(20):
        return int((await connection[0].readline()).split()[1])


async def arrived(server, size):
    await eventually(lambda: kept(server) >= size, 20)


class TestHalfBodies:
    async def test_of_one_user_have_half_of_the_room(self, serve, reader):
        async with serve(reader, USUAL) as server:
            half = []
            for _ in range(40):
                half.append(await opened(server, b"greedy"))
                assert kept(server) <= HALF
            await eventually(lambda: reader.broken_off >= 32, 20)
            assert kept(server) <= HALF
            assert [await status(one) for one in half[:32]] == [503] * 32
            for _, writer in half[-6:]:  # the newest are still welcome
                writer.write(b"!")
            assert [await status(one) for one in half[-6:]] == [200] * 6
            await closed(server, half)

    @pytest.mark.parametrize("user", [b"honest", b"greedy"])
    async def test_keep_no_whole_body_out(self, serve, reader, user):
        async with serve(reader, USUAL) as server:
            half = [await opened(server, b"greedy") for _ in range(40)]
            for _ in range(5):
                honest = await opened(server, user, lacking=0)
                assert await status(honest) == 200
                half.append(honest)
            await closed(server, half)

    async def test_of_many_users_have_all_of_the_room(self, serve, reader):
        async with serve(reader, USUAL) as server:
            half = []
            for number in range(40):
                half.append(await opened(server, b"%d" % (number % 10)))
                assert kept(server) <= MOST
            await eventually(lambda: reader.broken_off >= 24, 20)
            assert kept(server) <= MOST
            honest = await opened(server, b"honest", lacking=0)
            assert await status(honest) == 200
            await closed(server, [*half, honest])

    async def test_whose_bytes_stop_give_their_room_back_in_time(self, serve, reader):
        async with serve(reader, ClientLimits(drain_seconds=0, body_bytes=MOST, body_seconds=0.6)) as server:
            half = [await opened(server, b"slow") for _ in range(4)]
            await arrived(server, 4 * SIZE - 4)
            assert [await status(one) for one in half] == [408] * 4
            assert kept(server) == 0
            await closed(server, half)

    async def test_in_chunks_are_counted_too(self, serve, reader):
        async with serve(reader, USUAL) as server:
            half = []
            for _ in range(40):
                connection = await asyncio.open_connection(*server.address)
                chunk = b"%x\r\n%s\r\n" % (SIZE, bytes(SIZE))
                connection[1].write(
                    b"POST / HTTP/1.1\r\nHost: here\r\nUser: greedy\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk
                )
                half.append(connection)
            await eventually(lambda: reader.broken_off >= 31, 20)
            assert kept(server) <= HALF
            await closed(server, half)


class TestWholeBodies:
    async def test_are_counted_until_they_are_answered_and_never_refused(self, serve, reader):
        reader.go_on.clear()
        async with serve(reader, USUAL) as server:
            whole = [await opened(server, b"greedy", lacking=0) for _ in range(6)]
            await eventually(lambda: reader.whole == 6, 20)
            assert kept(server) == 6 * SIZE
            half = [await opened(server, b"greedy") for _ in range(10)]
            await eventually(lambda: reader.broken_off >= 8, 20)
            assert kept(server) <= HALF
            reader.go_on.set()
            assert [await status(one) for one in whole] == [200] * 6
            await eventually(lambda: kept(server) <= 2 * SIZE, 20)
            await closed(server, whole + half)

    async def test_that_are_alone_may_be_larger_than_the_room(self, serve, reader):
        async with serve(reader, ClientLimits(drain_seconds=0, body_bytes=SIZE // 4)) as server:
            alone = await opened(server, b"alone", lacking=0)
            assert await status(alone) == 200
            await closed(server, [alone])

    async def test_of_one_connection_in_a_line_are_counted_each(self, serve, reader):
        async with serve(reader, USUAL) as server:
            connection = await asyncio.open_connection(*server.address)
            for _ in range(20):
                connection[1].write(head(b"busy") + bytes(SIZE))
            for _ in range(20):
                assert await status(connection) == 200
                await connection[0].readuntil(b"\r\n\r\n%d" % SIZE)
            assert kept(server) == 0
            await closed(server, [connection])


class TestHalfHeads:
    async def test_are_counted_and_the_oldest_is_refused(self, serve, reader):
        lines = b"".join(b"x-a: %s\r\n" % (b"b" * 1000) for _ in range(60))
        size = 60 * 1000
        async with serve(reader, USUAL) as server:
            connections = []
            for _ in range(2 * HALF // size):
                connections.append(await asyncio.open_connection(*server.address))
                connections[-1][1].write(b"GET / HTTP/1.1\r\nHost: here\r\n" + lines)
            assert await status(connections[0]) == 503
            await eventually(lambda: MOST // 2 - 2 * size < kept(server) <= HALF)
            connections[-1][1].write(b"\r\n")
            assert await status(connections[-1]) == 200
            await closed(server, connections)


class TestUnparsed:
    async def test_heads_that_come_at_once_are_counted_before_they_are_parsed(self, serve, reader):
        """All of them are received in one turn of the loop, and parsed in many."""
        lines = b"x-a: " + b"b" * 60_000
        async with serve(reader, USUAL) as server:
            most, count = 0, 3 * HALF // len(lines)
            connections = [await asyncio.open_connection(*server.address) for _ in range(count)]
            for _, writer in connections:
                writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n" + lines)
            for _ in range(200):
                await asyncio.sleep(0)
                most = max(most, sum(len(one._unparsed) for one in server.server_state.connections))  # noqa: SLF001
            assert 0 < most <= HALF
            assert await status(connections[0]) == 503
            await closed(server, connections)
